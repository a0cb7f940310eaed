package workflowstest

import (
	"reflect"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
)

// adoptedUntouched: objects that no run made are unchanged, whether a run has adopted them or not.
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
			broken("", "an object that no run made is gone", kind+" "+id(b))
		case !reflect.DeepEqual(b, now[i]):
			broken("", "an object that no run made was changed", kind+" "+id(b))
		}
	}
}

// noOrphan: every object that a run made is one that its run expects.
func noOrphan(v *view, broken report) {
	for _, t := range v.now {
		if t.kind == roleAssignment || find(v.others, t.kind, t.id) != nil {
			continue
		}
		if !has(v.ordered, func(x ordered) bool { return x.belongs(t, v.Installation) }) {
			broken("", "no run expects it", t.String(), t.name)
		}
	}
}

// noSurpriseRole: every role assignment that runs made was ordered by a run for its own user.
func noSurpriseRole(v *view, broken report) {
	for _, t := range v.now {
		if t.kind == roleAssignment && find(v.others, t.kind, t.id) == nil &&
			!has(v.ordered, func(x ordered) bool { return x.hasRole(t.id) && strings.Contains(t.id, "/"+x.run.User+"/") }) {
			broken("", "no run was to assign it", t.String())
		}
	}
}
