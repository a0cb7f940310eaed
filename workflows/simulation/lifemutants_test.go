package simulation

import (
	"context"
	"maps"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// The function `altered` returns a mutation that changes one step of a workflow.
func altered[S any](workflow func(workflows.Deps) saga.Workflow[S], name string, change func(*saga.Step[S], workflows.Deps)) mutations {
	return mutations{define: func(d workflows.Deps) (*saga.Definition, error) {
		w := workflow(d)
		for i := range w.Steps {
			if w.Steps[i].Name == name {
				change(&w.Steps[i], d)
			}
		}
		return saga.Define(w)
	}}
}

// lifeMutants are the mutants of the workflows that end, restore and remove subscriptions. One mutant is missing: a workflow `remove`
// that does not read the subscription again. The checker would rarely notice this mutant, because a restore is rarely in progress when
// the removal becomes due. A test of package api covers this case.
var lifeMutants = map[string]mutations{
	"no undo of revoke-role": altered(workflows.Unsubscribe, "revoke-role", func(s *saga.Step[workflows.Unsubscription], _ workflows.Deps) {
		s.Undo = func(context.Context, *workflows.Unsubscription) error { return nil }
	}),
	"no undo of assign-role": altered(workflows.Restore, "assign-role", func(s *saga.Step[workflows.Restoration], _ workflows.Deps) {
		s.Undo = func(context.Context, *workflows.Restoration) error { return nil }
	}),
	"removing a tenant is no pivot": altered(workflows.Remove, "delete-tenant", func(s *saga.Step[workflows.Removal], _ workflows.Deps) {
		s.Pivot, s.NoUndo = "", "it cannot be undone"
	}),
	"removing a subscription is no pivot": altered(workflows.Close, "delete-subscription", func(s *saga.Step[workflows.Closure], _ workflows.Deps) {
		s.Pivot, s.NoUndo = "", "it cannot be undone"
	}),
	"close removes every customer": altered(workflows.Close, "check-customer", func(s *saga.Step[workflows.Closure], _ workflows.Deps) {
		s.Do = func(context.Context, *workflows.Closure) error { return nil }
	}),
}

func init() {
	maps.Copy(mutants, lifeMutants)
}
