package saga

import (
	"slices"
	"time"
)

// recheckAfter is when, after its end, a compensated run with an unknown attempt of a Do is re-checked.
var recheckAfter = [...]time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}

// compensated ends the run; with an unknown attempt it will be re-checked.
func (t *turn) compensated() {
	t.end(Compensated, EventCompensated)
	for i := range t.run.Steps {
		if t.uncertain(&t.run.Steps[i]) {
			t.run.Rechecks = len(recheckAfter)
			t.run.DueAt = new(t.now.Add(recheckAfter[0]))
			return
		}
	}
}

// uncertain reports whether a late effect of the step's Do is possible and would have to be removed. A late effect of an
// Undo makes nothing.
func (t *turn) uncertain(row *StepRow) bool { return row.Unknowns > 0 && t.undoable(row) }

// recheck looks once more for late effects of a run that ended compensated: it undoes again what may have come to be.
func (t *turn) recheck() {
	if due := t.run.recheckDue(); due.After(t.now) { // it was claimed for something else
		t.releaseAt(&due)
		return
	}
	if !t.run.Looked {
		t.look()
	}
	t.backward()
}

// look makes the steps of a re-check be undone again. If it has begun already, these are only the steps whose undo was refused.
func (t *turn) look() {
	begun := slices.ContainsFunc(t.run.Steps, func(s StepRow) bool { return s.State == StepUndoing })
	var rows []*StepRow
	for i := range t.run.Steps {
		if row := &t.run.Steps[i]; t.uncertain(row) && (!begun || row.State == StepUndoFailed) {
			rows = append(rows, row)
		}
	}
	t.redo(rows)
	t.run.Looked = true
}

// recheckThrough ends a re-check whose undos are done. While an unanswered call of it can still take effect, the run is released
// until then and checked again. If this release has no code for a step with an unknown attempt, the re-check is made again
// later: another replica may have it.
func (t *turn) recheckThrough() {
	for i := range t.run.Steps {
		if until := t.run.Steps[i].effectiveUntil(t.Limits.LateWindow); until.After(t.now) {
			t.releaseAt(&until)
			return
		}
	}
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		if row.Unknowns > 0 && row.UndoneAt != nil && !t.run.left(row) && t.Def.step(row.Name) == nil {
			t.giveUpRecheck(t.missingStep(row).Failure)
			return
		}
	}
	t.endRecheck("")
}

// giveUpRecheck gives the run up although its re-check could not be made.
func (t *turn) giveUpRecheck(why Failure) {
	t.recheckLater("given up: " + why.Code + ": " + why.Detail)
}

// recheckRefused gives the run up until its re-check is made again: one refusal does not prove that nothing is there, and a
// late effect would stay.
func (t *turn) recheckRefused(row *StepRow) {
	t.recheckLater("given up: undoing step " + row.Name + " was still refused")
}

// recheckLater gives the run up until its re-check is made again, but not for ever.
func (t *turn) recheckLater(givenUp string) {
	if t.now.Sub(t.run.recheckDue()) > t.Limits.GiveUpAfter {
		t.endRecheck(givenUp)
		return
	}
	t.releaseAt(new(t.now.Add(recheckAfter[1])))
}

// endRecheck gives the run up until the next re-check, if there is one.
func (t *turn) endRecheck(why string) {
	t.run.Rechecks--
	t.tell(Event{Kind: EventRechecked, Why: why})
	if t.run.Rechecks == 0 {
		t.releaseAt(nil)
		return
	}
	t.releaseAt(new(t.run.recheckDue()))
}

// recheckDue is when the next re-check is to be made.
func (r *Run) recheckDue() time.Time {
	return r.EndedAt.Add(recheckAfter[len(recheckAfter)-r.Rechecks])
}
