package saga

import "time"

// probeAfter is when, after its end, a compensated run with an unknown attempt of a Do is looked at again.
var probeAfter = [...]time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}

// compensated ends the run; with an unknown attempt it will be probed.
func (w *worker) compensated(now time.Time) {
	w.end(Compensated, EventCompensated, now)
	for i := range w.run.Steps {
		if w.uncertain(&w.run.Steps[i]) {
			w.run.Probes = len(probeAfter)
			due := now.Add(probeAfter[0])
			w.run.DueAt = &due
			return
		}
	}
}

// uncertain tells whether a late effect of the step's Do is possible and would have to be removed. That an undo comes
// late makes nothing.
func (w *worker) uncertain(row *StepRow) bool { return row.Unknowns > 0 && w.undoable(row) }

// probe looks once more for late effects of a run that ended compensated: it undoes again what may have come to be.
func (w *worker) probe(now time.Time) {
	if w.run.Probes == 0 {
		w.releaseAt(nil)
		return
	}
	if due := w.probeDue(); due.After(now) { // it was claimed for something else
		w.releaseAt(&due)
		return
	}
	begun := false
	for i := range w.run.Steps {
		begun = begun || w.run.Steps[i].State == StepUndoing
	}
	if !w.probed {
		var rows []*StepRow
		for i := range w.run.Steps { // of a probe that has begun, what was refused
			if row := &w.run.Steps[i]; w.uncertain(row) && (!begun || row.State == StepUndoFailed) {
				rows = append(rows, row)
			}
		}
		w.redo(rows)
	}
	w.probed = true
	w.backward(now)
}

// probeThrough ends a probe whose undos are through. It is not over, and is made again, before a call of its own that was
// not answered has settled.
func (w *worker) probeThrough(now time.Time) {
	for i := range w.run.Steps {
		if settled := w.run.Steps[i].settledAt(w.engine.Settle); settled.After(now) {
			w.releaseAt(&settled)
			return
		}
	}
	w.endProbe("")
}

// probeRefused releases a run until its probe is made again, which is not for ever: what comes late would stay if one
// refusal were taken for a probe that found nothing.
func (w *worker) probeRefused(row *StepRow, now time.Time) {
	if now.Sub(w.probeDue()) > w.engine.GiveUpAfter {
		w.endProbe("given up: to undo step " + row.Name + " was refused to the last")
		return
	}
	later := now.Add(probeAfter[1])
	w.releaseAt(&later)
}

// endProbe releases the run until the next probe, if there is one.
func (w *worker) endProbe(why string) {
	w.run.Probes--
	w.tell(Event{Kind: EventProbed, Why: why})
	if w.run.Probes == 0 {
		w.releaseAt(nil)
		return
	}
	due := w.probeDue()
	w.releaseAt(&due)
}

// probeDue is when the next probe is to be made.
func (w *worker) probeDue() time.Time {
	return w.run.EndedAt.Add(probeAfter[len(probeAfter)-w.run.Probes])
}
