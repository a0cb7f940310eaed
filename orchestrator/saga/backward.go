package saga

import "slices"

// turnBack begins the compensation of the run.
func (t *turn) turnBack(cause Failure) {
	t.run.State, t.run.Reason, t.run.Cause, t.run.WaitsFor = Compensating, nil, &cause, ""
	t.moved = true
	for i := range t.run.Steps {
		if row := &t.run.Steps[i]; row.RetryAt != nil {
			row.RetryAt = nil
			t.changed(row)
		}
	}
	t.tell(Event{Kind: EventCompensating, Step: cause.Step, Failure: &cause})
}

// The method `backward` continues the run's compensation, and undoes the steps that have begun. Each step is undone after all steps
// that depend on it. If the outcome of a call is unknown, the run waits for the end of the call's late window. The call's step is
// then undone again. Finally, the run ends.
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

// undoReady starts the undos that are ready. The first result is the step whose retry is due next, or nil if no step waits for a
// retry. The second result reports whether all undos have finished.
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

// undoFinished reports whether a step has nothing left to undo. A re-check undoes only some of the steps. Every other step counts
// as finished, even if this release has no code for the step.
func (t *turn) undoFinished(row *StepRow) bool {
	if t.run.State == Compensated {
		return row.State != StepUndoing && row.State != StepUndoFailed
	}
	code := t.Def.step(row.Name)
	return !row.Begun() || row.State == StepUndone || t.run.left(row) || code != nil && code.undo == nil
}

// dependentsUndone reports whether all steps that depend on the given step, directly or indirectly, have nothing left to undo.
func (t *turn) dependentsUndone(row *StepRow) bool {
	for i := range t.run.Steps {
		later := &t.run.Steps[i]
		if slices.Contains(later.After, row.Name) && (!t.undoFinished(later) || !t.dependentsUndone(later)) {
			return false
		}
	}
	return true
}

// The method `left` reports whether an operator has skipped the undo of the step, or the undo has kept the step's object. The step's objects
// then remain in the upstream.
func (r *Run) left(row *StepRow) bool {
	return slices.ContainsFunc(r.LeftBehind, func(l LeftBehind) bool { return l.Step == row.Name })
}

// startUndo adds an attempt of Undo to the decision.
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

// The method `stick` sets the run's state to Stuck: an undo was refused permanently, and an operator must act.
func (t *turn) stick(row *StepRow) {
	t.run.State, t.run.Reason = Stuck, &Reason{Kind: WaitsForOperator, Failure: *row.Error}
	t.tell(Event{Kind: EventStuck, Step: row.Name, Failure: row.Error})
	t.releaseAt(nil)
}

// The method `verify` is called when all undos of a compensation have finished. If the outcome of a call is unknown, `verify` waits for
// the end of the call's late window, for two reasons. An undo that began within the late window may have missed the call's effect. If the
// step has no undo, the call's effect must appear before the next run with the same subject begins. After the late window, `verify` repeats
// the undos that may have missed an effect. If no undo must be repeated, `verify` ends the compensation.
func (t *turn) verify() {
	due := t.now
	var late *StepRow
	var again []*StepRow
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		if row.UnknownAt == nil || t.onlyReads(row) {
			continue
		}
		until := row.effectiveUntil(t.Limits.LateWindow)
		if until.After(due) {
			due, late = until, row
		}
		if t.undoable(row) && (row.UndoneAt == nil || row.UndoneAt.Before(until)) {
			again = append(again, row)
		}
	}
	switch {
	case late != nil:
		t.await(Reason{Kind: WaitsForLateWindow, Until: &due, Failure: Failure{
			Code:   "verifying-undo",
			Detail: "the answer to a call was lost, so the call may still take effect; the compensation ends after the late window",
			FixBy:  FixByNobody, Step: late.Name, At: t.now,
		}}, Compensating)
	case len(again) == 0:
		t.compensated()
	default:
		t.redo(again)
		t.backward()
	}
}

func (t *turn) onlyReads(row *StepRow) bool {
	code := t.Def.step(row.Name)
	return code != nil && code.effect.reads()
}

// The method `undoable` reports whether Undo of the step can be called: this release has the code of Undo, no operator has skipped the
// undo, and no earlier undo has kept the step's object.
func (t *turn) undoable(row *StepRow) bool {
	code := t.Def.step(row.Name)
	return !t.run.left(row) && code != nil && code.undo != nil
}

// The method `redo` sets the given steps to StepUndoing, so that they are undone again.
func (t *turn) redo(rows []*StepRow) {
	for _, row := range rows {
		row.State, row.RetryAt = StepUndoing, nil
		t.changed(row)
	}
}
