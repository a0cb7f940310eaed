package workflowstest

import "github.com/tenantry/tenantry/orchestrator/saga"

// heldStays checks that no attempt of a run begins between the action `hold` and the next action of an operator on this run.
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
			case e.Epoch > held.Epoch, e.StartedAt.After(held.At): // compare epochs, because the clocks of replicas may differ
				broken(r.ID, "an attempt began while an operator held the run", e.Step)
			}
		}
	}
}
