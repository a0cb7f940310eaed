package workflowstest

import (
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// outcomeOfDo reports whether the event is the outcome of an attempt of a Do.
func outcomeOfDo(e saga.Event) bool {
	return e.Kind == saga.EventSucceeded || e.Kind == saga.EventSkipped ||
		e.Kind == saga.EventAttempt || e.Kind == saga.EventUnknown
}

// ofUndo reports whether the event is the outcome of an attempt of an Undo.
func ofUndo(e saga.Event) bool {
	return e.Kind == saga.EventUndone || e.Kind == saga.EventUndoAttempt || e.Kind == saga.EventLateEffect
}

// done reports whether the steps that are After the event's step may start from this event on.
func done(e saga.Event) bool {
	return e.Kind == saga.EventSucceeded || e.Kind == saga.EventSkipped ||
		e.Kind == saga.EventAction && e.Action == string(saga.SkipStep) && e.Failure == nil
}

// closedUnderAfter: a step begins only when all steps that it is After are done, and a step that is done is not done again.
func closedUnderAfter(v *view, broken report) {
	for _, r := range v.Runs {
		doneAt := map[string]time.Time{}
		for _, e := range v.Events[r.ID] {
			if _, already := doneAt[e.Step]; already && outcomeOfDo(e) {
				broken(r.ID, fmt.Sprintf("attempt %d was made after the step was done", e.Attempt), e.Step)
			}
			if _, already := doneAt[e.Step]; !already && done(e) {
				doneAt[e.Step] = e.At
			}
		}
		for _, s := range r.Steps {
			if s.Done() && !has(v.Events[r.ID], func(e saga.Event) bool { return e.Step == s.Name && done(e) }) {
				broken(r.ID, fmt.Sprintf("a step is %s, but no event records it", s.State), s.Name)
			}
			if !s.Begun() {
				continue
			}
			for _, before := range s.After {
				at, is := doneAt[before]
				if !is || s.StartedAt == nil || s.StartedAt.Before(at.Add(-v.Skew)) {
					broken(r.ID, "a step began before a step that it is After was done", s.Name, before)
				}
			}
		}
	}
}

// noDoAfterUndo: once a run is compensating, no Do begins, and the last Do has ended before the first Undo.
func noDoAfterUndo(v *view, broken report) {
	for _, r := range v.Runs {
		var turned *saga.Event
		undone := false
		for i, e := range v.Events[r.ID] {
			switch {
			case e.Kind == saga.EventCompensating:
				turned = &v.Events[r.ID][i]
			case ofUndo(e):
				if turned == nil {
					broken(r.ID, "a run that is not compensating made an undo", e.Step)
				}
				undone = true
			case outcomeOfDo(e) && undone:
				broken(r.ID, fmt.Sprintf("attempt %d of a Do ended after the first undo", e.Attempt), e.Step)
			case outcomeOfDo(e) && turned != nil && e.StartedAt.After(turned.At.Add(v.Skew)):
				broken(r.ID, fmt.Sprintf("attempt %d of a Do began while the run was compensating", e.Attempt), e.Step)
			}
		}
	}
}

// oneOutcome: every attempt of a Do was stored before it was made, and has one outcome.
func oneOutcome(v *view, broken report) {
	for _, r := range v.Runs {
		outcomes := map[string]int{}
		for _, e := range v.Events[r.ID] {
			if !outcomeOfDo(e) {
				continue
			}
			outcomes[e.Step]++
			if e.Attempt != outcomes[e.Step] {
				broken(r.ID, fmt.Sprintf("outcome %d of a step has attempt %d", outcomes[e.Step], e.Attempt), e.Step)
			}
		}
		for _, s := range r.Steps {
			want := s.Attempts
			if s.State == saga.StepRunning {
				want--
			}
			if outcomes[s.Name] != want {
				broken(r.ID, fmt.Sprintf("%d attempts are over, but there are %d outcomes", want, outcomes[s.Name]), s.Name)
			}
		}
	}
}

// epochs: the events of a run are numbered without a gap, and a replica that has lost the run writes nothing more.
func epochs(v *view, broken report) {
	for _, r := range v.Runs {
		var seq, epoch int64
		for _, e := range v.Events[r.ID] {
			seq++
			if e.Seq != seq || e.RunID != r.ID {
				broken(r.ID, fmt.Sprintf("event %d of run %s is in the place of event %d", e.Seq, e.RunID, seq))
			}
			if e.Epoch < epoch {
				broken(r.ID, fmt.Sprintf("event %d is of epoch %d, one before it of epoch %d", e.Seq, e.Epoch, epoch))
			}
			epoch = max(epoch, e.Epoch)
		}
		if r.Seq != seq || r.Epoch < epoch {
			broken(r.ID, fmt.Sprintf("the run has seq %d and epoch %d, its events have %d and %d", r.Seq, r.Epoch, seq, epoch))
		}
	}
}
