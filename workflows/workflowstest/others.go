package workflowstest

import (
	"reflect"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
)

// adoptedUntouched checks the objects that no run created: each object must be unchanged, even if a run has adopted the object.
func adoptedUntouched(v *view, broken report) {
	untouched("project", v.Others.Projects, v.Now.Projects, func(p keystone.Project) string { return p.ID }, broken)
	untouched("role assignment", v.Others.Assignments, v.Now.Assignments, assignmentID, broken)
	untouched("customer", v.Others.Customers, v.Now.Customers, func(c billing.Customer) string { return c.ID }, broken)
	untouched("subscription", v.Others.Subscriptions, v.Now.Subscriptions,
		func(s billing.Subscription) string { return s.ID }, broken)
	untouched("usage", v.Others.Usage, v.Now.Usage, func(u billing.Usage) string { return u.ID }, broken)
}

func untouched[T any](kind string, before, now []T, id func(T) string, broken report) {
	for _, b := range before {
		i := slices.IndexFunc(now, func(n T) bool { return id(n) == id(b) })
		switch {
		case i < 0:
			broken("", "an object that no run created is missing", kind+" "+id(b))
		case !reflect.DeepEqual(b, now[i]):
			broken("", "an object that no run created was changed", kind+" "+id(b))
		}
	}
}

// noOrphan checks each new object: at least one run must expect the object.
func noOrphan(v *view, broken report) {
	for _, t := range v.now.all {
		if t.kind == roleAssignment || v.others.find(t.kind, t.id) != nil {
			continue
		}
		if !has(v.makers(t), func(x ordered) bool { return v.belongs(x, t) || x.registered(t) }) {
			broken("", "no run expects this object", t.String(), t.name)
		}
	}
}

// noSurpriseRole checks each new role assignment. A run must expect the assignment, and the assignment must be for the user of this
// run. If a repair is for several users, its run has no user.
func noSurpriseRole(v *view, broken report) {
	for _, t := range v.now.all {
		if t.kind == roleAssignment && v.others.find(t.kind, t.id) == nil &&
			!has(v.about(t.id), func(x ordered) bool {
				return x.hasRole(t.id) && (x.run.User == "" || strings.Contains(t.id, "/"+x.run.User+"/"))
			}) {
			broken("", "no run expects this role assignment", t.String())
		}
	}
}
