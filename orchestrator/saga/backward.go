package saga

import "slices"

// turnBack begins the compensation.
func (t *turn) turnBack(cause Failure) {
	t.run.State, t.run.Reason, t.run.Cause = Compensating, nil, &cause
	for i := range t.run.Steps {
		if row := &t.run.Steps[i]; row.RetryAt != nil {
			row.RetryAt = nil
			t.changed(row)
		}
	}
	t.tell(Event{Kind: EventCompensating, Step: cause.Step, Failure: &cause})
}

// backward undoes what was begun, each step after all that came After it; verifies, once the late window is over, the undo
// of calls whose outcome was never learnt; and ends the run.
func (t *turn) backward() {
	if slices.ContainsFunc(t.run.Steps, func(s StepRow) bool { return s.State == StepRunning }) {
		return // a Do is still in flight
	}
	soonest, through := t.undoReady()
	var refused *StepRow
	for i := range t.run.Steps {
		if t.run.Steps[i].State == StepUndoFailed {
			refused = &t.run.Steps[i]
		}
	}
	switch {
	case t.Release, t.run.Hold != nil:
	case t.run.inFlight():
		if soonest != nil {
			t.Wake = soonest.RetryAt
		}
	case soonest != nil:
		t.awaitRetry(soonest, Compensating)
	case refused != nil && t.run.State == Compensated:
		t.recheckRefused(refused)
	case refused != nil:
		t.stick(refused)
	case through && t.run.State == Compensated:
		t.recheckThrough()
	case through:
		t.verify()
	}
}

// undoReady starts the undos whose turn it is. It returns the one that waits for the earliest retry, and reports whether
// all are through.
func (t *turn) undoReady() (soonest *StepRow, through bool) {
	through = true
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		if t.undoFinished(row) {
			continue
		}
		through = false
		switch {
		case row.InFlight != "", row.State == StepUndoFailed, !t.dependentsUndone(row):
		case t.Def.step(row.Name) == nil:
			t.hold(t.missingStep(row))
			t.rest()
			return nil, false
		case row.RetryAt != nil && row.RetryAt.After(t.now):
			if soonest == nil || row.RetryAt.Before(*soonest.RetryAt) {
				soonest = row
			}
		default:
			t.startUndo(row)
		}
	}
	return soonest, through
}

// undoFinished reports whether there is nothing left to undo of a step. In a re-check that is so of every step that it did not
// choose, whether there is code for it or not.
func (t *turn) undoFinished(row *StepRow) bool {
	if t.run.State == Compensated {
		return row.State != StepUndoing && row.State != StepUndoFailed
	}
	code := t.Def.step(row.Name)
	return !row.Begun() || row.State == StepUndone || t.run.left(row) || code != nil && code.undo == nil
}

// dependentsUndone reports whether there is nothing left to undo of all that came After the step, however far.
func (t *turn) dependentsUndone(row *StepRow) bool {
	for i := range t.run.Steps {
		later := &t.run.Steps[i]
		if slices.Contains(later.After, row.Name) && (!t.undoFinished(later) || !t.dependentsUndone(later)) {
			return false
		}
	}
	return true
}

// left reports whether an operator decided to leave behind what the step made.
func (r *Run) left(row *StepRow) bool {
	return slices.ContainsFunc(r.LeftBehind, func(l LeftBehind) bool { return l.Step == row.Name })
}

// startUndo asks for an attempt of Undo.
func (t *turn) startUndo(row *StepRow) {
	kind := CallRecheck
	if t.run.State != Compensated {
		t.run.State, t.run.Reason = Compensating, nil
		kind = CallUndo
		if row.UndoneAt != nil {
			kind = CallVerify
		}
	}
	row.State = StepUndoing
	row.Undos++
	t.call(row, kind)
}

// stick makes the run wait for an operator with an undo that was refused for good.
func (t *turn) stick(row *StepRow) {
	t.run.State, t.run.Reason = Stuck, &Reason{Kind: WaitsForOperator, Failure: *row.Error}
	t.tell(Event{Kind: EventStuck, Step: row.Name, Failure: row.Error})
	t.releaseAt(nil)
}

// verify ends a compensation whose undos are through, but not before every undo of a call with an unknown outcome was
// repeated at least LateWindow after that call can have been sent.
func (t *turn) verify() {
	due := t.now
	var again []*StepRow
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		if row.UnknownAt == nil || !t.undoable(row) {
			continue
		}
		until := row.effectiveUntil(t.Limits.LateWindow)
		if row.UndoneAt == nil || row.UndoneAt.Before(until) {
			again = append(again, row)
			if until.After(due) {
				due = until
			}
		}
	}
	switch {
	case len(again) == 0:
		t.compensated()
	case due.After(t.now):
		t.await(Reason{Kind: WaitsForLateWindow, Until: &due, Failure: Failure{
			Code:   "verifying-undo",
			Detail: "a call whose answer was lost may still take effect; its undo is verified then",
			FixBy:  FixByNobody, Step: again[0].Name, At: t.now,
		}}, Compensating)
	default:
		t.redo(again)
		t.backward()
	}
}

// undoable reports whether there is an Undo that is to remove what the step makes.
func (t *turn) undoable(row *StepRow) bool {
	code := t.Def.step(row.Name)
	return !t.run.left(row) && code != nil && code.undo != nil
}

// redo makes undos that are through be run once more.
func (t *turn) redo(rows []*StepRow) {
	for _, row := range rows {
		row.State, row.RetryAt = StepUndoing, nil
		t.changed(row)
	}
}
