package saga

import (
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// turnBack begins the compensation.
func (w *executor) turnBack(cause Failure) {
	w.run.State, w.run.Reason, w.run.Cause = Compensating, nil, &cause
	for i := range w.run.Steps {
		if row := &w.run.Steps[i]; row.RetryAt != nil {
			row.RetryAt = nil
			w.changed(row)
		}
	}
	w.tell(Event{Kind: EventCompensating, Step: cause.Step, Failure: &cause})
}

// backward undoes what was begun, each step after all that came After it; verifies, when the late window is over,
// the undo of calls whose outcome was never learnt; and ends the run.
func (w *executor) backward(now time.Time) {
	if slices.ContainsFunc(w.run.Steps, func(s StepRow) bool { return s.State == StepRunning }) {
		return // a Do is still under way
	}
	soonest, finished := w.undoReady(now)
	var refused *StepRow
	for i := range w.run.Steps {
		if w.run.Steps[i].State == StepUndoFailed {
			refused = &w.run.Steps[i]
		}
	}
	switch {
	case w.released, w.parked != nil:
	case w.inFlight():
		if soonest != nil {
			w.sleepUntil = soonest.RetryAt
		}
	case soonest != nil:
		w.awaitRetry(soonest, now, Compensating)
	case refused != nil:
		w.stick(refused, now)
	case finished:
		w.verify(now)
	}
}

// undoReady starts the undos whose turn it is. It returns the one that waits for the earliest retry, and whether all
// are through.
func (w *executor) undoReady(now time.Time) (soonest *StepRow, finished bool) {
	finished = true
	for i := range w.run.Steps {
		row := &w.run.Steps[i]
		if w.undoFinished(row) {
			continue
		}
		finished = false
		switch {
		case w.flying[row.Name], row.State == StepUndoFailed, !w.dependentsUndone(row):
		case w.def.step(row.Name) == nil:
			w.park(w.missing("step-unknown", "this release has no code for step "+row.Name))
			w.rest(now)
			return nil, false
		case row.RetryAt != nil && row.RetryAt.After(now):
			if soonest == nil || row.RetryAt.Before(*soonest.RetryAt) {
				soonest = row
			}
		default:
			w.startUndo(row)
		}
	}
	return soonest, finished
}

// undoFinished tells whether there is nothing left to undo of a step.
func (w *executor) undoFinished(row *StepRow) bool {
	code := w.def.step(row.Name)
	return !row.Begun() || row.State == StepUndone || w.left(row) || code != nil && code.undo == nil
}

// undoTurn tells whether it is the turn of the step's undo.
func (w *executor) undoTurn(row *StepRow) bool { return w.def != nil && w.dependentsUndone(row) }

// dependentsUndone tells whether all that came After the step, however far, is through.
func (w *executor) dependentsUndone(row *StepRow) bool {
	for i := range w.run.Steps {
		later := &w.run.Steps[i]
		if slices.Contains(later.After, row.Name) && (!w.undoFinished(later) || !w.dependentsUndone(later)) {
			return false
		}
	}
	return true
}

// left tells whether an operator decided to leave behind what the step made.
func (w *executor) left(row *StepRow) bool {
	return slices.ContainsFunc(w.run.LeftBehind, func(l LeftBehind) bool { return l.Step == row.Name })
}

// startUndo puts the intent of an Undo into the next write.
func (w *executor) startUndo(row *StepRow) {
	if w.run.State != Compensated { // else it is a re-check
		w.run.State, w.run.Reason = Compensating, nil
	}
	row.State, row.RetryAt = StepUndoing, nil
	row.Undos++
	w.changed(row)
	w.calls = append(w.calls, row.Name)
}

// undone notes what came of an Undo.
func (w *executor) undone(row *StepRow, o outcome, now time.Time) {
	event := Event{Step: row.Name, Attempt: o.call.Attempt, StartedAt: o.startedAt, RequestID: o.call.requestID}
	if o.err == nil {
		again := row.UndoneAt != nil
		row.State, row.Error, row.UndoneAt = StepUndone, nil, &o.startedAt
		event.Kind = EventUndone
		if again && len(o.call.removed) > 0 {
			event.Kind = EventLateEffect
		}
		w.tell(event)
		return
	}
	found := w.classify(o, now)
	row.Error, event.Kind = &found.Failure, EventUndoAttempt
	event.Failure = row.Error
	if w.left(row) { // skipped while this attempt was under way
		w.tell(event)
		return
	}
	if found.MaybeDone {
		row.UnknownAt = &now
	}
	w.tell(event)
	if found.Class == upstream.Permanent || found.Class == upstream.Blocked {
		row.State = StepUndoFailed
		w.tell(Event{Kind: EventUndoFailed, Step: row.Name, Attempt: o.call.Attempt, Failure: row.Error})
		return
	}
	at := now.Add(retryIn(w.run.ID, row.Name, row.Undos, found))
	row.RetryAt = &at
}

// stick makes the run wait for an operator with an undo that was refused for good.
func (w *executor) stick(row *StepRow, now time.Time) {
	if w.run.State == Compensated {
		w.recheckRefused(row, now)
		return
	}
	w.run.State, w.run.Reason = Stuck, &Reason{Kind: WaitsForOperator, Failure: *row.Error}
	w.tell(Event{Kind: EventStuck, Step: row.Name, Failure: row.Error})
	w.releaseAt(nil)
}

// verify ends a compensation whose undos are through, but not before every undo of a call with an unknown outcome was
// repeated at least LateWindow after that call can have been sent.
func (w *executor) verify(now time.Time) {
	if w.run.State == Compensated {
		w.recheckDone(now)
		return
	}
	var due time.Time
	var again []*StepRow
	for i := range w.run.Steps {
		row := &w.run.Steps[i]
		if row.UnknownAt == nil || !w.undoable(row) {
			continue
		}
		until := row.effectiveUntil(w.engine.LateWindow)
		if row.UndoneAt == nil || row.UndoneAt.Before(until) {
			again = append(again, row)
			if until.After(due) {
				due = until
			}
		}
	}
	switch {
	case len(again) == 0:
		w.compensated(now)
	case due.After(now):
		w.await(Reason{Kind: WaitsForLateWindow, Until: &due, Failure: Failure{
			Code:   "verifying-undo",
			Detail: "a call whose answer was lost may still take effect; its undo is verified then",
			FixBy:  FixByNobody, Step: again[0].Name, At: now,
		}}, now, Compensating)
	default:
		w.redo(again)
		w.backward(now)
	}
}

// undoable tells whether there is an Undo that is to take back what the step makes.
func (w *executor) undoable(row *StepRow) bool {
	code := w.def.step(row.Name)
	return !w.left(row) && code != nil && code.undo != nil
}

// redo makes undos that are through be run once more.
func (w *executor) redo(rows []*StepRow) {
	for _, row := range rows {
		row.State, row.RetryAt = StepUndoing, nil
		w.changed(row)
	}
}
