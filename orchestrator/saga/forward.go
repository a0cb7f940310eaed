package saga

import (
	"slices"
	"time"
)

// decide says what is next for the run as it stands: it changes the run, gathers the next write, and names the calls
// to make once that is stored. If there is nothing to call and nothing under way, the run is released or sleepUntil set.
func (w *executor) decide() {
	w.sleepUntil = nil
	now := w.engine.Clock.Now()
	switch {
	case w.run.State == Succeeded: // claimed for an action that came too late
		w.releaseAt(nil)
	case w.def == nil:
		w.park(w.missing("workflow-unknown", "this release knows no workflow "+w.run.Workflow))
		w.rest(now)
	case w.parked != nil, w.leaving():
		w.rest(now)
	case w.run.WaitsFor != "":
		w.releaseAt(nil)
	case w.run.State == Compensated:
		w.recheck(now)
	case w.run.Cause != nil:
		w.backward(now)
	default:
		w.forward(now)
	}
}

// forward starts the steps that are ready, ends the run, or turns it back.
func (w *executor) forward(now time.Time) {
	if failed := w.failed(); failed != nil {
		switch {
		case w.inFlight():
			return
		case w.run.OnFailure == FailureHolds:
			w.park(Reason{Kind: WaitsForOperator, Failure: *failed.Error})
			w.rest(now)
		default:
			w.turnBack(*failed.Error)
			w.backward(now)
		}
		return
	}
	var soonest *StepRow
	open := false
	for i := range w.run.Steps {
		row := &w.run.Steps[i]
		switch {
		case row.Done(), row.State == StepRunning:
		case !w.ready(row):
			open = true
		case w.def.step(row.Name) == nil:
			w.park(w.missing("step-unknown", "this release has no code for step "+row.Name))
			w.rest(now)
			return
		case row.RetryAt != nil && row.RetryAt.After(now):
			if soonest == nil || row.RetryAt.Before(*soonest.RetryAt) {
				soonest = row
			}
		case w.satisfied(row):
			w.pass(row, now)
		default:
			w.start(row, now)
		}
	}
	switch {
	case w.inFlight():
		if soonest != nil {
			w.sleepUntil = soonest.RetryAt
		}
	case soonest != nil:
		w.awaitRetry(soonest, now, Waiting)
	case !open:
		w.end(Succeeded, EventRunSucceeded, now)
	}
}

// ready tells whether all that the step is After is done.
func (w *executor) ready(row *StepRow) bool {
	return !slices.ContainsFunc(row.After, func(name string) bool {
		before := w.run.Step(name)
		return before == nil || !before.Done()
	})
}

func (w *executor) failed() *StepRow {
	for i := range w.run.Steps {
		if w.run.Steps[i].State == StepFailed {
			return &w.run.Steps[i]
		}
	}
	return nil
}

// inFlight tells whether a call is under way or about to be made.
func (w *executor) inFlight() bool { return len(w.flying)+len(w.calls) > 0 }

// satisfied tells whether a step that has not begun has nothing to do.
func (w *executor) satisfied(row *StepRow) bool {
	code := w.def.step(row.Name)
	if row.Begun() || code.satisfied == nil {
		return false
	}
	state, err := w.currentState()
	return err == nil && code.satisfied(state)
}

// pass lets a satisfied step succeed. It reads as if it had been tried.
func (w *executor) pass(row *StepRow, now time.Time) {
	row.State, row.Attempts, row.StartedAt, row.EndedAt = StepSucceeded, 1, &now, &now
	w.changed(row)
	w.tell(Event{Kind: EventSucceeded, Step: row.Name, Attempt: 1, StartedAt: now})
}

// start puts the intent of a Do into the next write.
func (w *executor) start(row *StepRow, now time.Time) {
	w.run.State, w.run.Reason = Running, nil
	row.State, row.RetryAt = StepRunning, nil
	row.Attempts++
	if row.StartedAt == nil {
		row.StartedAt = &now
	}
	w.changed(row)
	w.calls = append(w.calls, row.Name)
}

// awaitRetry makes the run wait, visibly, for the next attempt of a step; if that is far off, it is released.
func (w *executor) awaitRetry(row *StepRow, now time.Time, state RunState) {
	if w.run.State == Compensated { // a re-check does not change how the run ended
		w.sleepUntil = row.RetryAt
		if row.RetryAt.Sub(now) > shortWait {
			w.releaseAt(row.RetryAt)
		}
		return
	}
	kind := WaitsForRetry
	if row.Error.Unavailable {
		kind = WaitsForUpstream
	}
	w.await(Reason{Kind: kind, Failure: *row.Error, Until: row.RetryAt}, now, state)
}

// await makes the run wait until a time.
func (w *executor) await(reason Reason, now time.Time, state RunState) {
	until := *reason.Until
	if w.run.State != state || w.run.Reason == nil || w.run.Reason.Kind != reason.Kind || w.run.Reason.Code != reason.Code {
		w.tell(Event{Kind: EventWaiting, Step: reason.Step, Why: string(reason.Kind), Failure: &reason.Failure})
	}
	w.run.State, w.run.Reason = state, &reason
	w.dirty = true
	if until.Sub(now) > shortWait {
		w.releaseAt(&until)
		return
	}
	w.sleepUntil = &until
}

// rest lets the calls under way end, and then gives the run up: to an operator, or to the other replicas.
func (w *executor) rest(now time.Time) {
	switch {
	case w.inFlight():
	case w.parked == nil: // this replica is leaving
		w.releaseAt(&now)
	case w.run.State == Stuck:
		w.releaseAt(nil)
	case w.run.State == Compensated: // its re-check cannot be made; it stays due
		later := now.Add(recheckAfter[1])
		w.releaseAt(&later)
	default:
		if !w.run.held() {
			w.tell(Event{Kind: EventWaiting, Step: w.parked.Step, Why: string(w.parked.Kind), Failure: &w.parked.Failure})
		}
		w.run.State, w.run.Reason = Waiting, w.parked
		w.releaseAt(nil)
	}
}

// releaseAt gives up the lease of the run with the next write; it is due at the given time, or when it is woken.
func (w *executor) releaseAt(due *time.Time) {
	w.run.Replica, w.run.DueAt = "", due
	w.released, w.dirty = true, true
}

// end brings the run to its end and lets the next about its subject go.
func (w *executor) end(state RunState, event EventKind, now time.Time) {
	w.run.State, w.run.Reason, w.run.EndedAt, w.run.HoldsSubject = state, nil, &now, false
	w.next.DropToken = true
	w.tell(Event{Kind: event})
	w.releaseAt(nil)
}

// leaving tells whether the replica hands its runs back.
func (w *executor) leaving() bool {
	w.engine.mu.Lock()
	defer w.engine.mu.Unlock()
	return w.engine.stopping
}

func (w *executor) missing(code, detail string) Reason {
	return Reason{Kind: WaitsForOperator, Failure: Failure{
		Code: code, Detail: detail + "; run a release that does", FixBy: FixByOperator, At: w.engine.Clock.Now(),
	}}
}
