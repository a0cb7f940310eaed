package saga

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The method `forward` continues a run that does not compensate, and starts the steps that are ready. If a step has failed or the
// run has expired, no step starts. When all calls in flight have ended, such a run is compensated or held. If all steps are done,
// the run ends.
func (t *turn) forward() {
	failed := t.run.failed()
	if failed != nil || t.expired() && t.run.open() {
		switch {
		case t.run.inFlight():
		case failed != nil:
			t.fail(*failed.Error)
		default:
			t.fail(t.expiry())
		}
		return
	}
	var soonest *StepRow
	open := false
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		switch {
		case row.Done(), row.InFlight != "":
		case !t.run.ready(row):
			open = true
		case t.Def.step(row.Name) == nil:
			t.hold(t.missingStep(row))
			t.rest()
			return
		case row.RetryAt != nil && row.RetryAt.After(t.now):
			if soonest == nil || row.RetryAt.Before(*soonest.RetryAt) {
				soonest = row
			}
		case t.satisfied(row):
			t.pass(row)
		default:
			t.start(row)
		}
	}
	switch {
	case t.run.inFlight():
		if soonest != nil {
			t.Wake = soonest.RetryAt
		}
	case soonest != nil:
		t.awaitRetry(soonest, Waiting)
	case !open:
		t.end(Succeeded, EventRunSucceeded)
	}
}

// stayQueued makes the replica give up its lease of a run that waits for its predecessor. The run stays queued. If the run has expired, it is
// compensated or held instead.
func (t *turn) stayQueued() {
	if !t.expired() {
		t.releaseAt(nil)
		return
	}
	why := Failure{FixBy: FixByOperator, At: t.now}
	if t.run.Reason != nil {
		why.Detail = t.run.Reason.Detail
	}
	t.fail(late(why, t.giveUpLimit()))
}

// The method `fail` compensates or holds the run because of a failure. If the pivot of the run has begun, the run cannot be compensated.
// The run is then held, and the failure needs an operator. If no pivot has begun, there are two cases in which no operator could help: only
// the user can fix the failure, such as a refused password, or the password is missing. In these two cases, the run is compensated. In all
// other cases, OnFailure decides.
func (t *turn) fail(why Failure) {
	if t.run.pivot() != nil {
		why.FixBy = FixByOperator
	}
	helps := why.FixBy != FixByUser && !why.AwaitsPassword
	if t.run.OnFailure == FailureHolds && helps || t.run.pivot() != nil {
		t.hold(Reason{Kind: WaitsForOperator, Failure: why})
		t.rest()
		return
	}
	t.turnBack(why)
	t.backward()
}

// The method `expired` reports whether the run is older than GiveUpAfter. The age includes the time in which no replica executed
// the run, and the time in which the run waited for its predecessor.
func (t *turn) expired() bool { return t.now.Sub(t.run.BudgetFrom) > t.Limits.GiveUpAfter }

// The method `expiry` returns the failure of a run that has expired: the time limit, and the newest failure of a step that is not
// done.
func (t *turn) expiry() Failure {
	why := Failure{FixBy: FixByOperator}
	for i := range t.run.Steps {
		if row := &t.run.Steps[i]; !row.Done() && row.Error != nil && row.Error.At.After(why.At) {
			why = *row.Error
		}
	}
	why.At = t.now
	return late(why, t.giveUpLimit())
}

// giveUpLimit describes the time limit that an expired run has exceeded.
func (t *turn) giveUpLimit() string {
	return fmt.Sprintf("the run was not finished within %s", t.Limits.GiveUpAfter)
}

// The function `late` returns the failure of a run that has exceeded a time limit because of an earlier failure.
func late(why Failure, limit string) Failure {
	why.Code = "deadline-exceeded"
	if why.Detail != "" {
		limit += ": " + why.Detail
	}
	why.Detail = upstream.Clean(limit)
	if why.FixBy == FixByNobody { // the failure should have ended by itself, but did not
		why.FixBy = FixByOperator
	}
	return why
}

// The method `open` reports whether a step of the run is not done.
func (r *Run) open() bool {
	return slices.ContainsFunc(r.Steps, func(s StepRow) bool { return !s.Done() })
}

// The method `ready` reports whether all steps in row.After are done.
func (r *Run) ready(row *StepRow) bool {
	return !slices.ContainsFunc(row.After, func(name string) bool {
		before := r.Step(name)
		return before == nil || !before.Done()
	})
}

func (r *Run) failed() *StepRow {
	for i := range r.Steps {
		if r.Steps[i].State == StepFailed {
			return &r.Steps[i]
		}
	}
	return nil
}

// inFlight reports whether a call of the run has no outcome yet.
func (r *Run) inFlight() bool {
	return slices.ContainsFunc(r.Steps, func(s StepRow) bool { return s.InFlight != "" })
}

// The method `satisfied` reports whether the step can succeed without a call: Do was never called, and the step's Satisfied returns
// true.
func (t *turn) satisfied(row *StepRow) bool {
	code := t.Def.step(row.Name)
	if row.Begun() || code.satisfied == nil {
		return false
	}
	state, err := t.currentState()
	return err == nil && code.satisfied(state, t.now)
}

// currentState returns the run's input merged with the outputs of its steps.
func (t *turn) currentState() (state json.RawMessage, err error) {
	if t.State == nil {
		t.State, err = t.run.Data()
	}
	return t.State, err
}

// The method `pass` records that a satisfied step has succeeded without a call. A satisfied step gets the same row and event as a
// step whose first attempt succeeded.
func (t *turn) pass(row *StepRow) {
	row.State, row.Attempts, row.StartedAt, row.EndedAt = StepSucceeded, 1, new(t.now), new(t.now)
	t.changed(row)
	t.tell(Event{Kind: EventSucceeded, Step: row.Name, Attempt: 1, StartedAt: t.now})
}

// The method `start` adds an attempt of Do to the decision.
func (t *turn) start(row *StepRow) {
	t.run.State, t.run.Reason = Running, nil
	row.State = StepRunning
	row.Attempts++
	if row.StartedAt == nil {
		row.StartedAt = new(t.now)
	}
	t.call(row, CallDo)
}

// The method `end` sets the final state of the run, and frees the run's subject for the next run. If the follow-ups of the run
// cannot be computed, the run does not end: see `follow`.
func (t *turn) end(state RunState, event EventKind) {
	if !t.follow() {
		return
	}
	t.run.State, t.run.Reason, t.run.EndedAt, t.run.HoldsSubject = state, nil, new(t.now), false
	t.DropToken = true
	t.tell(Event{Kind: event})
	t.releaseAt(nil)
}
