package audit

import (
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/explain"
)

func TestAdviceIsWhatToType(t *testing.T) {
	run := "01900001-0000-7000-8000-000000000000"
	for _, c := range []struct {
		damage func(*house)
		advice string
	}{
		{func(h *house) { h.p("p-m1-c0-s0").Name = "old" }, "openstack project set --name bs-subscription-m1-c0-s0 p-m1-c0-s0"},
		{func(h *house) { h.p("p-m1-c0-s0").Enabled = false }, "openstack project set --enable p-m1-c0-s0"},
		{func(h *house) { h.p("p-m1-c0-s0").grants = nil }, "openstack role add --project p-m1-c0-s0 --user u-m1-c0 r-member"},
		{
			func(h *house) { h.give("p-m1-c0-s0", "u'; rm -rf /", "r-reader") },
			explain.Needless + `openstack role remove --project p-m1-c0-s0 --user 'u'\''; rm -rf /' r-reader`,
		},
		{
			func(h *house) {
				h.cloud("default").addGrant(keystone.Granted{DomainID: domain, GroupID: "$(g)", RoleID: "r-reader", Inherited: true})
			},
			explain.Needless + "openstack role remove --domain d1 --group '$(g)' --inherited r-reader",
		},
		{
			func(h *house) {
				h.p("p-m1-c0-s0").Tags = []string{"tenantry", keystone.RunTag(run), keystone.MerchantTag("m2")}
			},
			"openstack project set --tag tenantry-merchant-m1 --tag tenantry-installation-" + theInstallation +
				" --remove-tag tenantry-merchant-m2 p-m1-c0-s0",
		},
		{
			func(h *house) { h.s("m1-c0-s0").resource = "pending:x" },
			"set the resource_id of subscription m1-c0-s0 in BillingStack to p-m1-c0-s0",
		},
	} {
		h := newHouse()
		c.damage(h)
		found := h.compare()
		if len(found) != 1 || found[0].Repair.Advice != c.advice {
			t.Errorf("want %s, got %+v", c.advice, found)
		}
	}
}
