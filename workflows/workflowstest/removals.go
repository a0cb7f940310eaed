package workflowstest

import (
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// deleteIntended: whatever was removed upstream was a run's own, and that run had stored that it would.
func deleteIntended(v *view, broken report) {
	for _, gone := range v.Removals {
		what := gone.Kind + " " + gone.ID
		if v.theirs(gone) {
			broken(gone.Run, "what others have made was removed", what)
			continue
		}
		owned, intended := false, false
		for _, x := range v.ordered {
			if gone.Run != "" && gone.Run != x.run.ID {
				continue
			}
			steps := x.stepsOf(gone)
			owned = owned || len(steps) > 0
			intended = intended || has(steps, func(name string) bool { return v.undoes(x.run, name, gone) })
		}
		switch {
		case !owned:
			broken(gone.Run, "what was removed was not its own", what)
		case !intended:
			broken(gone.Run, "what was removed no run had stored to remove", what)
		}
	}
}

func (v *view) theirs(gone Removal) bool {
	switch gone.Kind {
	case "customer":
		return has(v.Others.Customers, func(c billing.Customer) bool { return c.ID == gone.ID })
	case "subscription":
		return has(v.Others.Subscriptions, func(s billing.Subscription) bool { return s.ID == gone.ID })
	case "project":
		return has(v.Others.Projects, func(p keystone.Project) bool { return p.ID == gone.ID })
	}
	return has(v.Others.Assignments, func(a keystone.Assignment) bool { return assignmentID(a) == gone.ID })
}

// stepsOf names the steps whose Undo may remove the object; none if it is not the run's own.
func (x ordered) stepsOf(gone Removal) (steps []string) {
	switch gone.Kind {
	case "customer":
		if x.order.NewCustomer != nil && gone.ID == x.order.CustomerID {
			steps = []string{"create-customer"}
		}
	case "subscription":
		if gone.ID == x.order.SubscriptionID {
			steps = []string{"create-subscription", "create-customer"} // a customer goes with the run's subscription
		}
	case "project":
		own := slices.Contains(gone.Tags, x.runTag())
		if gone.Tags == nil { // not known: then what the run has noted has to do
			own = has(x.run.Objects, func(o saga.Object) bool { return o.ID == gone.ID && o.Origin == saga.Own })
		}
		if own {
			steps = []string{"create-customer-tenant", "create-subscription-tenant"}
		}
	case "role-assignment":
		for _, g := range x.grants() {
			own := g.ProjectID == x.order.CustomerTenantID && !x.order.CustomerTenantOwn && slices.Contains(x.order.AbsentRoles, g.RoleID)
			if own && assignmentID(g.Assignment) == gone.ID {
				steps = append(steps, g.step)
			}
		}
	}
	return steps
}

// undoes tells whether the run had stored, by then, that it undoes the step.
func (v *view) undoes(r *saga.Run, name string, gone Removal) bool {
	s := r.Step(name)
	return s != nil && s.Undos > 0 && (gone.Step == "" || gone.Step == name) &&
		has(v.Events[r.ID], func(e saga.Event) bool {
			return e.Kind == saga.EventCompensating && (gone.At.IsZero() || !gone.At.Before(e.At.Add(-v.Skew)))
		})
}
