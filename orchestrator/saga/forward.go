package saga

import (
	"encoding/json"
	"slices"
)

// forward continues a run that does not compensate: it starts the steps that are ready. If a step has failed, no step starts; when
// no call is in flight, the run is compensated or held. If all steps are done, the run ends.
func (t *turn) forward() {
	if failed := t.run.failed(); failed != nil {
		switch {
		case t.run.inFlight():
		case t.run.OnFailure == FailureHolds:
			t.hold(Reason{Kind: WaitsForOperator, Failure: *failed.Error})
			t.rest()
		default:
			t.turnBack(*failed.Error)
			t.backward()
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

// ready reports whether all steps in row.After are done.
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

// satisfied reports whether the step can succeed without a call: Do was never called, and the step's Satisfied returns true.
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
		t.State, err = t.run.state()
	}
	return t.State, err
}

// pass records that a satisfied step has succeeded without a call. A satisfied step gets the same row and event as a step whose
// first attempt succeeded.
func (t *turn) pass(row *StepRow) {
	row.State, row.Attempts, row.StartedAt, row.EndedAt = StepSucceeded, 1, new(t.now), new(t.now)
	t.changed(row)
	t.tell(Event{Kind: EventSucceeded, Step: row.Name, Attempt: 1, StartedAt: t.now})
}

// start adds an attempt of Do to the decision.
func (t *turn) start(row *StepRow) {
	t.run.State, t.run.Reason = Running, nil
	row.State = StepRunning
	row.Attempts++
	if row.StartedAt == nil {
		row.StartedAt = new(t.now)
	}
	t.call(row, CallDo)
}

// end sets the final state of the run, and frees the run's subject for the next run.
func (t *turn) end(state RunState, event EventKind) {
	t.run.State, t.run.Reason, t.run.EndedAt, t.run.HoldsSubject = state, nil, new(t.now), false
	t.DropToken = true
	t.tell(Event{Kind: event})
	t.releaseAt(nil)
}
