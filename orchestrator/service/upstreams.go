package service

import (
	"fmt"
	"net/http"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
)

// BillingStack is the name of the upstream BillingStack. The upstream name of a cloud's Keystone is "keystone/CLOUD".
const BillingStack = "billingstack"

// The type `upstreams` holds the clients of the services that Tenantry calls. Each client has its own gate.
type upstreams struct {
	gates       gate.Gates
	clouds      *cloudClients
	billing     *billing.Client
	keystoneURL string // URL of the default cloud's Keystone
}

// newUpstreams returns the clients without sending a request. newUpstreams fails if the default cloud, ResourcesCloud or AuditCloud is
// not configured. The configuration of any other cloud is read when the cloud is first used.
func newUpstreams(o Options, billingURL string, m merchants.Store) (*upstreams, error) {
	defaultCloud, err := o.Cloud(merchants.DefaultCloud)
	if err != nil {
		return nil, err
	}
	for setting, entry := range map[string]string{"resources_cloud": o.ResourcesCloud, "audit_cloud": o.AuditCloud} {
		if entry == "" {
			continue
		}
		if _, err := o.Cloud(entry); err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
	}
	around := o.Around
	if around == nil {
		around = func(_ string, next http.RoundTripper) http.RoundTripper { return next }
	}
	u := &upstreams{gates: gate.Gates{TripsAfter: o.TripsAfter}, keystoneURL: defaultCloud.URL}
	u.clouds = &cloudClients{
		config: o.Cloud, around: around, merchants: m, domain: o.Domain,
		operators: o.AdminRole, allowAdmin: o.AllowCloudAdminRole, gates: &u.gates, connections: o.KeystoneConnections,
	}
	to := u.gates.Of(BillingStack, o.BillingConnections)
	u.billing, err = billing.New(billing.Config{
		URL: billingURL, Connections: o.BillingConnections, Timeout: o.BillingTimeout, Enter: to.Enter,
		UsageTimes: o.BillingURL == "", // the embedded BillingStack
		Wrap:       func(next http.RoundTripper) http.RoundTripper { return gate.Fence(around(BillingStack, next)) },
	})
	if err != nil {
		return nil, err
	}
	to.TryBy(u.billing.Ping)
	return u, nil
}
