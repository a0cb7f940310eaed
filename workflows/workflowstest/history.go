package workflowstest

import (
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// outcomeOfDo tells whether the event is what came of an attempt of a Do.
func outcomeOfDo(e saga.Event) bool {
	return e.Kind == saga.EventSucceeded || e.Kind == saga.EventSkipped ||
		e.Kind == saga.EventAttempt || e.Kind == saga.EventUnknown
}

// ofUndo tells whether the event is what came of an attempt of an Undo.
func ofUndo(e saga.Event) bool {
	return e.Kind == saga.EventUndone || e.Kind == saga.EventUndoAttempt || e.Kind == saga.EventLateEffect
}

// done tells whether what comes After the event's step may start from then on.
func done(e saga.Event) bool {
	return e.Kind == saga.EventSucceeded || e.Kind == saga.EventSkipped ||
		e.Kind == saga.EventAction && e.Action == string(saga.SkipStep) && e.Failure == nil
}

// closedUnderAfter: a step began after all that it is After was done, and what is done is not done again.
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
				broken(r.ID, fmt.Sprintf("a step is %s without an event that says so", s.State), s.Name)
			}
			if !s.Begun() {
				continue
			}
			for _, before := range s.After {
				at, is := doneAt[before]
				if !is || s.StartedAt == nil || s.StartedAt.Before(at.Add(-v.Skew)) {
					broken(r.ID, "a step began before what it is after was done", s.Name, before)
				}
			}
		}
	}
}

// noDoAfterUndo: once a run has turned back no Do begins, and the last of them has ended before the first Undo.
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
					broken(r.ID, "an undo was made of a run that has not turned back", e.Step)
				}
				undone = true
			case outcomeOfDo(e) && undone:
				broken(r.ID, fmt.Sprintf("attempt %d of a Do ended after the first undo", e.Attempt), e.Step)
			case outcomeOfDo(e) && turned != nil && e.StartedAt.After(turned.At.Add(v.Skew)):
				broken(r.ID, fmt.Sprintf("attempt %d of a Do began after the run turned back", e.Attempt), e.Step)
			}
		}
	}
}

// oneOutcome: every attempt of a Do was stored before it was made, and came to one outcome.
func oneOutcome(v *view, broken report) {
	for _, r := range v.Runs {
		outcomes := map[string]int{}
		for _, e := range v.Events[r.ID] {
			if !outcomeOfDo(e) {
				continue
			}
			outcomes[e.Step]++
			if e.Attempt != outcomes[e.Step] {
				broken(r.ID, fmt.Sprintf("outcome %d of a step is that of attempt %d", outcomes[e.Step], e.Attempt), e.Step)
			}
		}
		for _, s := range r.Steps {
			want := s.Attempts
			if s.State == saga.StepRunning {
				want--
			}
			if outcomes[s.Name] != want {
				broken(r.ID, fmt.Sprintf("%d attempts are over, and %d outcomes known", want, outcomes[s.Name]), s.Name)
			}
		}
	}
}

// epochs: the events of a run are numbered without a gap, and whoever has lost the run writes nothing more.
func epochs(v *view, broken report) {
	for _, r := range v.Runs {
		var seq, epoch int64
		for _, e := range v.Events[r.ID] {
			seq++
			if e.Seq != seq || e.RunID != r.ID {
				broken(r.ID, fmt.Sprintf("event %d of run %s stands where event %d should", e.Seq, e.RunID, seq))
			}
			if e.Epoch < epoch {
				broken(r.ID, fmt.Sprintf("event %d is of epoch %d, one before it of epoch %d", e.Seq, e.Epoch, epoch))
			}
			epoch = max(epoch, e.Epoch)
		}
		if r.Seq != seq || r.Epoch < epoch {
			broken(r.ID, fmt.Sprintf("it says seq %d and epoch %d, its events say %d and %d", r.Seq, r.Epoch, seq, epoch))
		}
	}
}
