package saga

import (
	"slices"
	"time"
)

// recheckAfter lists the times of the re-checks, counted from the end of a compensated run. A compensated run is re-checked only if
// the outcome of a Do was unknown.
var recheckAfter = [...]time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}

// The method `compensated` sets the run's state to Compensated, and schedules re-checks if a late effect is possible.
func (t *turn) compensated() {
	t.end(Compensated, EventCompensated)
	if !t.run.State.Ended() {
		return
	}
	for i := range t.run.Steps {
		if t.uncertain(&t.run.Steps[i]) {
			t.run.Rechecks = len(recheckAfter)
			t.run.DueAt = new(t.now.Add(recheckAfter[0]))
			return
		}
	}
}

// The method `uncertain` reports whether Do of the step may have a late effect that a re-check must remove. A late effect of an
// Undo creates nothing, so it needs no re-check.
func (t *turn) uncertain(row *StepRow) bool { return row.Unknowns > 0 && t.undoable(row) }

// The method `recheck` looks for late effects of a compensated run and undoes them.
func (t *turn) recheck() {
	if due := t.run.recheckDue(); due.After(t.now) { // the re-check is not due yet
		t.releaseAt(&due)
		return
	}
	if !t.run.Looked {
		t.look()
	}
	t.backward()
}

// The method `look` chooses the steps that a re-check undoes again. If the re-check began under an earlier lease, its steps are
// already chosen, and `look` only adds the steps whose undo was refused.
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

// recheckThrough ends a re-check whose undos have finished. If a call got no answer and its late window has not ended, the run is
// released until the end of the late window. The re-check is then repeated. The re-check is also repeated if this release has no
// code for a step whose outcome is unknown: another replica may have the code.
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

// giveUpRecheck stops a re-check that cannot be made now, and releases the run. The re-check is repeated.
func (t *turn) giveUpRecheck(why Failure) {
	t.recheckLater("given up: " + string(why.Code) + ": " + why.Detail)
}

// recheckRefused releases the run after an upstream has refused an undo of the re-check. The re-check is repeated, because an
// object may remain upstream.
func (t *turn) recheckRefused(row *StepRow) {
	t.recheckLater("given up: undoing step " + row.Name + " was still refused")
}

// recheckLater releases the run for an hour. The re-check is then repeated. If the re-check has been due for longer than
// GiveUpAfter, recheckLater instead ends the re-check.
func (t *turn) recheckLater(givenUp string) {
	if t.now.Sub(t.run.recheckDue()) > t.Limits.GiveUpAfter {
		t.endRecheck(givenUp)
		return
	}
	t.releaseAt(new(t.now.Add(recheckAfter[1])))
}

// endRecheck ends a re-check, and releases the run until the next re-check, if any.
func (t *turn) endRecheck(why string) {
	t.run.Rechecks--
	t.tell(Event{Kind: EventRechecked, Why: why})
	if t.run.Rechecks == 0 {
		t.releaseAt(nil)
		return
	}
	t.releaseAt(new(t.run.recheckDue()))
}

// recheckDue returns the time at which the next re-check is due.
func (r *Run) recheckDue() time.Time {
	return r.EndedAt.Add(recheckAfter[len(recheckAfter)-r.Rechecks])
}
