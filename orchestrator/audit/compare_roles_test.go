package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// A repair that creates a tenant again does not assign some of the roles. The finding names these roles.
func TestAFindingNamesTheRolesThatAreNotAssignedAgain(t *testing.T) {
	lost := func(roles ...string) *house {
		h := newHouse()
		var all []saga.Expected
		for _, r := range roles {
			id, name, _ := strings.Cut(r, "=")
			all = append(all, expected(kindAssignment, id, name, saga.Own, nil))
		}
		h.run("m1", "m1-c0", saga.Succeeded, all)
		h.cloud("default").users["gone"] = userGone
		h.cloud("default").dropProject("p-m1-c0")
		h.cloud("default").dropProject("p-m1-c0-s0")
		return h
	}
	for _, c := range []struct {
		h    *house
		want []string
	}{
		{lost(), []string{
			"the customer's tenant bs-customer-m1-c0 does not exist",
			"the subscription's tenant bs-subscription-m1-c0-s0 does not exist",
		}},
		{lost("p-m1-c0/u2/r-boss=boss", "p-m1-c0/u1/r-reader=a/reader", "p-m1-c0/u3/r-reader=reader", "p-m1-c0/gone/r-reader=reader", "p-m1-c0-s0/u1/r-boss=boss"), []string{
			"the customer's tenant bs-customer-m1-c0 does not exist; a repair that creates the tenant again does not assign these roles: a/reader of user u1, boss of user u2",
			"the subscription's tenant bs-subscription-m1-c0-s0 does not exist; a repair that creates the tenant again does not assign these roles: boss of user u1",
		}},
	} {
		var got []string
		for _, f := range c.h.compare() {
			if f.Repair.Action == CreateTenant {
				got = append(got, f.Detail)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
	var many []string
	for i := range maxOmitted + 3 {
		many = append(many, fmt.Sprintf("p-m1-c0/u%02d/r-boss=boss", i))
	}
	h := lost(many...)
	for _, f := range h.compare() {
		if !strings.HasSuffix(f.Detail, ", boss of user u09 and 3 more") && f.Code == CustomerWithoutTenant {
			t.Errorf("got %s", f.Detail)
		}
	}
	h.allowAdmin = true
	for _, f := range h.compare() {
		if strings.Contains(f.Detail, "not assigned") {
			t.Errorf("with role admin allowed: %s", f.Detail)
		}
	}
}

// replaceTenant adds two runs. The first run gives user u2 a role on the tenant of customer m1-c0. The second run makes or adopts another
// project as this tenant, and gives user u-m1-c0 a role on it.
func (h *house) replaceTenant(origin saga.Origin, more ...saga.Expected) {
	h.cloud("default").users["u2"] = userEnabled
	name, fields := keystone.CustomerTenant("m1-c0"), map[string]string{"domain_id": domain, "enabled": "true"}
	run := h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{
		expected(kindProject, "p-m1-c0", name, saga.Adopted, fields), expected(kindAssignment, "p-m1-c0/u2/r-member", "member", saga.Own, nil),
	})
	if p := h.p("p-m1-c0"); p != nil {
		h.give(p.ID, "u2", "r-member")
	}
	h.run("m1", "m1-c0", saga.Succeeded, slices.Concat([]saga.Expected{expected(kindProject, "p-new", name, origin, fields)}, more, []saga.Expected{
		expected(kindAssignment, "p-new/u-m1-c0/r-member", "member", saga.Own, nil),
	}))
	h.makeProject("p-new", name, keystone.TenantTags(run, "m1", theInstallation))
	h.give("p-new", "u-m1-c0", "r-member")
}

// The newest run decides which project is the tenant, and who has roles on it.
func TestATenantIsReplacedAgain(t *testing.T) {
	tenant := func(id string) saga.Expected {
		return expected(kindProject, id, keystone.CustomerTenant("m1-c0"), saga.Adopted, map[string]string{"domain_id": domain, "enabled": "true"})
	}
	for name, c := range map[string]struct {
		runs func(h *house)
		want []Code
	}{
		"the role is given on the new tenant": {func(h *house) {
			h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{tenant("p-new"), expected(kindAssignment, "p-new/u2/r-member", "member", saga.Own, nil)})
			h.give("p-new", "u2", "r-member")
		}, nil},
		"the role is revoked on the new tenant": {func(h *house) {
			h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{gone(kindAssignment, "p-new/u2/r-member")})
		}, nil},
		"the new tenant is lost, too": {func(h *house) {
			h.cloud("default").dropProject("p-new")
			h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{tenant("p-third")})
			h.makeProject("p-third", keystone.CustomerTenant("m1-c0"), nil)
		}, []Code{RoleMissing, RoleMissing}},
		"the first one is adopted again": {func(h *house) {
			h.cloud("default").dropProject("p-new")
			h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{tenant("p-m1-c0")})
			h.makeProject("p-m1-c0", keystone.CustomerTenant("m1-c0"), nil)
			h.give("p-m1-c0", "u-m1-c0", "r-member")
		}, []Code{RoleMissing}},
		"a run removes the new tenant": {func(h *house) {
			h.cloud("default").dropProject("p-new")
			h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{gone(kindProject, "p-new")})
		}, nil},
		"the new tenant is in another domain": {func(h *house) {
			e := tenant("p-far")
			e.Fields["domain_id"] = "d2"
			h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{e})
			h.cloud("default").domains["d2"] = true
			h.cloud("default").addProject(keystone.Project{ID: "p-far", Name: e.Name, DomainID: "d2", Enabled: true})
		}, []Code{RoleMissing}},
	} {
		h := newHouse()
		h.cloud("default").dropProject("p-m1-c0")
		h.replaceTenant(saga.Own)
		c.runs(h)
		for range 5 {
			if got := h.codes(); !slices.Equal(got, wanted(c.want)) {
				t.Fatalf("%s: got %v, want %v", name, got, c.want)
			}
		}
	}
}

// A repair that creates a tenant again determines the roles on the new tenant. An audit does not report other roles of the old
// tenant as missing.
func TestARepairThatReplacesATenantDecidesAboutTheRoles(t *testing.T) {
	h := newHouse()
	h.cloud("default").dropProject("p-m1-c0")
	h.replaceTenant(saga.Own, gone(kindProject, "p-m1-c0"))
	if got := h.codes(); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// The finding about a user with roles on several tenants is the same in every audit.
func TestAFindingAboutAUserIsAlwaysTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 40 {
		h := newHouse()
		h.cloud("default").users["u-m1-c0"] = userDisabled
		h.give("p-m1-c0-s1", "u-m1-c0", "r-reader")
		for _, f := range h.compare() {
			if f.Code == RoleOfDisabledUser {
				seen[fmt.Sprint(f.Detail, f.RunID, f.Objects)] = true
			}
		}
	}
	if len(seen) != 1 {
		t.Errorf("got %d: %v", len(seen), seen)
	}
}

// Somebody has deleted a role in Keystone, and has created a role with the same name. Runs look up roles by their names, so the users should
// have the new role.
func TestARoleThatWasMadeAgain(t *testing.T) {
	again := func(h *house) {
		c := h.cloud("default")
		delete(c.roles, "r-member")
		c.roles["r-member-2"] = "member"
		for _, p := range c.projects {
			p.grants = slices.DeleteFunc(p.grants, func(g given) bool { return g.role == "r-member" })
		}
	}
	giveAll := func(h *house) {
		for at, ten := range h.tenants {
			for _, r := range ten.roles {
				h.give(at.id, r.user, "r-member-2")
			}
		}
	}
	for name, c := range map[string]struct {
		damage func(h *house)
		want   map[string]int // findings by code, action and role
	}{
		"nobody has the new role":  {again, map[string]int{"role-missing assign-role r-member-2": 18}},
		"somebody has assigned it": {func(h *house) { again(h); giveAll(h) }, map[string]int{}},
		"a run has revoked it": {func(h *house) {
			again(h)
			giveAll(h)
			h.run("m1", "m1-c0", saga.Succeeded, []saga.Expected{gone(kindAssignment, "p-m1-c0/u-m1-c0/r-member-2")})
		}, map[string]int{"role-extra-user revoke-role r-member-2": 1}},
		"there is no new role": {func(h *house) {
			again(h)
			delete(h.cloud("default").roles, "r-member-2")
		}, map[string]int{"role-missing  ": 18}},
		"the tenant is lost, too": {func(h *house) {
			again(h)
			giveAll(h)
			h.cloud("default").dropProject("p-m1-c0")
		}, map[string]int{"customer-without-tenant create-tenant u-m1-c0/r-member-2/member": 1}},
	} {
		h := newHouse()
		c.damage(h)
		got := map[string]int{}
		for _, f := range h.compare() {
			v := f.Repair.Values
			got[string(f.Code)+" "+string(f.Repair.Action)+" "+v["role_id"]+v[RoleValue+"001"]]++
			if f.Code == RoleMissing && f.Repair.Action != "" && !strings.Contains(f.Detail, "assigned role r-member, which was deleted") {
				t.Errorf("%s: the finding does not tell that the role was deleted: %s", name, f.Detail)
			}
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
