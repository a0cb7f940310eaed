package workflowstest

import (
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// outcomeOfDo reports whether the event records the outcome of a step's Do.
func outcomeOfDo(e saga.Event) bool {
	return e.Kind == saga.EventSucceeded || e.Kind == saga.EventSkipped ||
		e.Kind == saga.EventAttempt || e.Kind == saga.EventUnknown
}

// ofUndo reports whether the event records the outcome of a step's Undo.
func ofUndo(e saga.Event) bool {
	return e.Kind == saga.EventUndone || e.Kind == saga.EventUndoAttempt || e.Kind == saga.EventLateEffect
}

// The function `done` reports whether the event completes its step. Steps that depend on the completed step may then start.
func done(e saga.Event) bool {
	return e.Kind == saga.EventSucceeded || e.Kind == saga.EventSkipped ||
		e.Kind == saga.EventAction && e.Action == string(saga.SkipStep) && e.Failure == nil
}

// closedUnderAfter checks when steps begin. All steps in a step's field After must be done before the step begins. When a step is done,
// no other attempt of this step may begin.
func closedUnderAfter(v *view, broken report) {
	for _, r := range v.Runs {
		doneAt := map[string]time.Time{}
		for _, e := range v.Events[r.ID] {
			if _, already := doneAt[e.Step]; already && outcomeOfDo(e) {
				broken(r.ID, fmt.Sprintf("attempt %d was made although the step was already done", e.Attempt), e.Step)
			}
			if _, already := doneAt[e.Step]; !already && done(e) {
				doneAt[e.Step] = e.At
			}
		}
		for _, s := range r.Steps {
			if s.Done() && !has(v.Events[r.ID], func(e saga.Event) bool { return e.Step == s.Name && done(e) }) {
				broken(r.ID, fmt.Sprintf("a step is %s, but no event records that the step is done", s.State), s.Name)
			}
			if !s.Begun() {
				continue
			}
			for _, before := range s.After {
				at, is := doneAt[before]
				if !is || s.StartedAt == nil || s.StartedAt.Before(at.Add(-v.Skew)) {
					broken(r.ID, "a step began before its predecessor was done", s.Name, before)
				}
			}
		}
	}
}

// noDoAfterUndo checks that no Do begins while a run compensates, and that the last Do has ended before the first Undo.
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
					broken(r.ID, "a step was undone although the run was not compensating", e.Step)
				}
				undone = true
			case outcomeOfDo(e) && undone:
				broken(r.ID, fmt.Sprintf("attempt %d of a Do ended after the first undo of the run", e.Attempt), e.Step)
			case outcomeOfDo(e) && turned != nil && e.StartedAt.After(turned.At.Add(v.Skew)):
				broken(r.ID, fmt.Sprintf("attempt %d of a Do began while the run was compensating", e.Attempt), e.Step)
			}
		}
	}
}

// oneOutcome checks that every attempt of a Do was stored, and has exactly one outcome.
func oneOutcome(v *view, broken report) {
	for _, r := range v.Runs {
		outcomes := map[string]int{}
		for _, e := range v.Events[r.ID] {
			if !outcomeOfDo(e) {
				continue
			}
			outcomes[e.Step]++
			if e.Attempt != outcomes[e.Step] {
				broken(r.ID, fmt.Sprintf("outcome %[1]d of a step belongs to attempt %[2]d instead of attempt %[1]d",
					outcomes[e.Step], e.Attempt), e.Step)
			}
		}
		for _, s := range r.Steps {
			want := s.Attempts
			if s.State == saga.StepRunning {
				want--
			}
			if outcomes[s.Name] != want {
				broken(r.ID, fmt.Sprintf("%d attempts of a step have ended, but the events contain %d outcomes", want, outcomes[s.Name]), s.Name)
			}
		}
	}
}

// The function `epochs` checks that the events of a run are numbered without a gap, and that a replica writes no event after it has
// lost the run's lease.
func epochs(v *view, broken report) {
	for _, r := range v.Runs {
		var seq, epoch int64
		for _, e := range v.Events[r.ID] {
			seq++
			if e.Seq != seq || e.RunID != r.ID {
				broken(r.ID, fmt.Sprintf("expected event %d of the run, but read event %d of run %s", seq, e.Seq, e.RunID))
			}
			if e.Epoch < epoch {
				broken(r.ID, fmt.Sprintf("event %d has epoch %d, but an earlier event has epoch %d", e.Seq, e.Epoch, epoch))
			}
			epoch = max(epoch, e.Epoch)
		}
		if r.Seq != seq || r.Epoch < epoch {
			broken(r.ID, fmt.Sprintf("the run has seq %d and epoch %d, but its events end with seq %d and epoch %d",
				r.Seq, r.Epoch, seq, epoch))
		}
	}
}
