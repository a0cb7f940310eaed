package workflowstest

import (
	"slices"
	"strings"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The tags and names are written out here once more: a checker that asked the steps for them would believe whatever
// they do.

func (x ordered) runTag() string      { return "tenantry-run-" + x.run.ID }
func (x ordered) merchantTag() string { return "tenantry-merchant-" + x.order.MerchantID }

func (x ordered) customerTenant() string     { return "bs-customer-" + x.order.CustomerID }
func (x ordered) subscriptionTenant() string { return "bs-subscription-" + x.order.SubscriptionID }

// thing is something upstream that a run has made.
type thing struct{ kind, id, step string }

func (t thing) String() string { return t.kind + " " + t.id }

// made finds what bears the tag of the run, or an id that it chose.
func (v *view) made(x ordered) (things []thing) {
	for _, c := range v.Now.Customers {
		if x.madeCustomer(c) {
			things = append(things, thing{"customer", c.ID, "create-customer"})
		}
	}
	for _, s := range v.Now.Subscriptions {
		if x.madeSubscription(s) {
			things = append(things, thing{"subscription", s.ID, "create-subscription"})
		}
	}
	for _, p := range v.Now.Projects {
		if x.madeProject(p) && !has(v.Others.Projects, func(q keystone.Project) bool { return q.ID == p.ID }) {
			things = append(things, thing{"project", p.ID, tenantStep(p.Name)})
		}
	}
	return things
}

func (x ordered) madeCustomer(c billing.Customer) bool {
	return x.order.NewCustomer != nil && c.ID == x.order.CustomerID
}

func (x ordered) madeSubscription(s billing.Subscription) bool {
	return s.ID == x.order.SubscriptionID || s.ResourceID == "pending:"+x.run.ID
}

func (x ordered) madeProject(p keystone.Project) bool {
	return p.HasTag(x.runTag()) || p.Name == x.subscriptionTenant() ||
		x.order.NewCustomer != nil && p.Name == x.customerTenant()
}

// tenantStep is the step that makes a project of this name.
func tenantStep(name string) string {
	if strings.HasPrefix(name, "bs-customer-") {
		return "create-customer-tenant"
	}
	return "create-subscription-tenant"
}

// leftBehind tells whether an operator left the thing upstream. Where the answer that would have told its id was
// lost, the entry names only the step.
func (x ordered) leftBehind(t thing) bool {
	return has(x.run.LeftBehind, func(l saga.LeftBehind) bool {
		return l.Step == t.step && (l.ID == t.id || l.ID == "")
	})
}

// grant is a role assignment that is the work of one step.
type grant struct {
	keystone.Assignment

	step string
}

// grants are the role assignments that the run is to make, as far as the tenants are known.
func (x ordered) grants() (all []grant) {
	add := func(tenantID, step string, roles []keystone.Role) {
		for _, r := range roles {
			if tenantID != "" {
				all = append(all, grant{keystone.Assignment{ProjectID: tenantID, UserID: x.order.UserID, RoleID: r.ID}, step + r.Name})
			}
		}
	}
	add(x.order.CustomerTenantID, "assign-customer-role/", x.order.CustomerRoles)
	add(x.order.SubscriptionTenantID, "assign-subscription-role/", x.order.SubscriptionRoles)
	return all
}

// assignmentID names a role assignment as the objects of a run do.
func assignmentID(a keystone.Assignment) string { return a.ProjectID + "/" + a.UserID + "/" + a.RoleID }

func has[T any](all []T, is func(T) bool) bool { return slices.ContainsFunc(all, is) }
