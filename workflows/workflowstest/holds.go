package workflowstest

import "github.com/tenantry/tenantry/orchestrator/saga"

// heldStays: after an operator held a run, no attempt begins before somebody acts on it again, whoever executes it.
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
			case e.Epoch > held.Epoch, e.StartedAt.After(held.At): // of another lease the clock may differ
				broken(r.ID, "an operator held it, and an attempt was begun all the same", e.Step)
			}
		}
	}
}
