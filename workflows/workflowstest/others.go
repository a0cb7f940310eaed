package workflowstest

import (
	"reflect"
	"slices"
	"strings"

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
	for _, t := range v.now {
		if t.kind == roleAssignment || find(v.others, t.kind, t.id) != nil {
			continue
		}
		if !has(v.ordered, func(x ordered) bool { return x.belongs(t, v.Installation) }) {
			broken("", "no run has made it", t.String(), t.name)
		}
	}
}

// noSurpriseRole: every role assignment is somebody else's, or one that a run was ordered to make for its own user.
func noSurpriseRole(v *view, broken report) {
	for _, t := range v.now {
		if t.kind == roleAssignment && find(v.others, t.kind, t.id) == nil &&
			!has(v.ordered, func(x ordered) bool { return x.hasRole(t.id) && strings.Contains(t.id, "/"+x.run.User+"/") }) {
			broken("", "no run was to give it", t.String())
		}
	}
}
