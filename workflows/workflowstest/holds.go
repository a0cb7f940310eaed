package workflowstest

import "github.com/tenantry/tenantry/orchestrator/saga"

// heldStays: after an operator has held a run, no attempt begins until an operator acts on it again, even on another replica.
func heldStays(v *view, broken report) {
	for _, r := range v.Runs {
		var held *saga.Event
		for i := range v.Events[r.ID] {
			e := &v.Events[r.ID][i]
			switch {
			case e.Kind == saga.EventAction && e.Failure == nil:
				if held = nil; saga.ActionName(e.Action) == saga.Hold {
					held = e
				}
			case held == nil || e.StartedAt.IsZero():
			case e.Epoch > held.Epoch, e.StartedAt.After(held.At): // the clock of another replica may differ, so the epoch decides
				broken(r.ID, "an attempt began although an operator holds the run", e.Step)
			}
		}
	}
}
