package saga

import "time"

// recheckAfter is when, after its end, a compensated run with an unknown attempt of a Do is looked at again.
var recheckAfter = [...]time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}

// compensated ends the run; with an unknown attempt it will be re-checked.
func (w *executor) compensated(now time.Time) {
	w.end(Compensated, EventCompensated, now)
	for i := range w.run.Steps {
		if w.uncertain(&w.run.Steps[i]) {
			w.run.Rechecks = len(recheckAfter)
			due := now.Add(recheckAfter[0])
			w.run.DueAt = &due
			return
		}
	}
}

// uncertain tells whether a late effect of the step's Do is possible and would have to be removed. That an undo comes
// late makes nothing.
func (w *executor) uncertain(row *StepRow) bool { return row.Unknowns > 0 && w.undoable(row) }

// recheck looks once more for late effects of a run that ended compensated: it undoes again what may have come to be.
func (w *executor) recheck(now time.Time) {
	if w.run.Rechecks == 0 {
		w.releaseAt(nil)
		return
	}
	if due := w.recheckDue(); due.After(now) { // it was claimed for something else
		w.releaseAt(&due)
		return
	}
	begun := false
	for i := range w.run.Steps {
		begun = begun || w.run.Steps[i].State == StepUndoing
	}
	if !w.rechecked {
		var rows []*StepRow
		for i := range w.run.Steps { // of a re-check that has begun, what was refused
			if row := &w.run.Steps[i]; w.uncertain(row) && (!begun || row.State == StepUndoFailed) {
				rows = append(rows, row)
			}
		}
		w.redo(rows)
	}
	w.rechecked = true
	w.backward(now)
}

// recheckDone ends a re-check whose undos are through. It is not over, and is made again, before a call of its own that was
// not answered can have no late effect any more.
func (w *executor) recheckDone(now time.Time) {
	for i := range w.run.Steps {
		if until := w.run.Steps[i].effectiveUntil(w.engine.LateWindow); until.After(now) {
			w.releaseAt(&until)
			return
		}
	}
	w.endRecheck("")
}

// recheckRefused releases a run until its re-check is made again, which is not for ever: what comes late would stay if one
// refusal were taken for a re-check that found nothing.
func (w *executor) recheckRefused(row *StepRow, now time.Time) {
	if now.Sub(w.recheckDue()) > w.engine.GiveUpAfter {
		w.endRecheck("given up: to undo step " + row.Name + " was refused to the last")
		return
	}
	later := now.Add(recheckAfter[1])
	w.releaseAt(&later)
}

// endRecheck releases the run until the next re-check, if there is one.
func (w *executor) endRecheck(why string) {
	w.run.Rechecks--
	w.tell(Event{Kind: EventRechecked, Why: why})
	if w.run.Rechecks == 0 {
		w.releaseAt(nil)
		return
	}
	due := w.recheckDue()
	w.releaseAt(&due)
}

// recheckDue is when the next re-check is to be made.
func (w *executor) recheckDue() time.Time {
	return w.run.EndedAt.Add(recheckAfter[len(recheckAfter)-w.run.Rechecks])
}
