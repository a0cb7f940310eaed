package workflowstest

import (
	"reflect"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
)

// adoptedUntouched: what others have made is as they made it, whether a run has adopted it or not.
func adoptedUntouched(v *view, broken report) {
	untouched("project", v.Others.Projects, v.Now.Projects, func(p keystone.Project) string { return p.ID }, broken)
	untouched("role assignment", v.Others.Assignments, v.Now.Assignments, assignmentID, broken)
	untouched("customer", v.Others.Customers, v.Now.Customers, func(c billing.Customer) string { return c.ID }, broken)
	untouched("subscription", v.Others.Subscriptions, v.Now.Subscriptions,
		func(s billing.Subscription) string { return s.ID }, broken)
}

func untouched[T any](kind string, before, now []T, id func(T) string, broken report) {
	for _, b := range before {
		i := slices.IndexFunc(now, func(n T) bool { return id(n) == id(b) })
		switch {
		case i < 0:
			broken("", "somebody else's is gone", kind+" "+id(b))
		case !reflect.DeepEqual(b, now[i]):
			broken("", "somebody else's was changed", kind+" "+id(b))
		}
	}
}

// noOrphan: whatever is not somebody else's belongs to a run, which is where it looks as if it were.
func noOrphan(v *view, broken report) {
	for _, c := range v.Now.Customers {
		theirs := has(v.Others.Customers, func(o billing.Customer) bool { return o.ID == c.ID })
		if !theirs && !has(v.ordered, func(x ordered) bool { return x.madeCustomer(c) && c.MerchantID == x.order.MerchantID }) {
			broken("", "no run has made it", "customer "+c.ID)
		}
	}
	for _, s := range v.Now.Subscriptions {
		theirs := has(v.Others.Subscriptions, func(o billing.Subscription) bool { return o.ID == s.ID })
		if !theirs && !has(v.ordered, func(x ordered) bool {
			return s.ID == x.order.SubscriptionID && s.CustomerID == x.order.CustomerID
		}) {
			broken("", "no run has made it", "subscription "+s.ID)
		}
	}
	for _, p := range v.Now.Projects {
		theirs := has(v.Others.Projects, func(o keystone.Project) bool { return o.ID == p.ID })
		if !theirs && !has(v.ordered, func(x ordered) bool { return x.tenant(p, v.Installation) }) {
			broken("", "no run has made it", "project "+p.ID+" "+p.Name)
		}
	}
}

// tenant reports whether the project is one of the run's two, with the tags of the run, its merchant and the installation.
func (x ordered) tenant(p keystone.Project, installation string) bool {
	if installation != "" && !p.HasTag("tenantry-installation-"+installation) {
		return false
	}
	return p.DomainID == x.order.DomainID && p.HasTag("tenantry") && p.HasTag(x.runTag()) && p.HasTag(x.merchantTag()) &&
		(p.Name == x.customerTenant() || p.Name == x.subscriptionTenant())
}

// noSurpriseRole: every role assignment is somebody else's, or one that a run was ordered to make for its own user.
func noSurpriseRole(v *view, broken report) {
	for _, a := range v.Now.Assignments {
		ordered := has(v.ordered, func(x ordered) bool {
			return has(x.grants(), func(g grant) bool { return g.Assignment == a })
		})
		if !ordered && !slices.Contains(v.Others.Assignments, a) {
			broken("", "no run was to give it", "role assignment "+assignmentID(a))
		}
	}
}
