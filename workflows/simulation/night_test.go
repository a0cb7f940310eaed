package simulation

import (
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// beforeRecheck is how long before the re-checks the first orders of the night come.
const beforeRecheck = 400 * time.Millisecond

// night lets the re-checks of compensated runs be made: between them nobody is there, which costs nothing to simulate.
func (w *world) night() {
	w.stopAll()
	for n := 1; n < 50; n++ {
		due := w.nextRecheck()
		if due.IsZero() {
			return
		}
		w.until(time.Until(due)-10*time.Second, func() bool { return false })
		w.replicas = []*replica{w.startReplica(0)}
		w.until(time.Until(due)-beforeRecheck, func() bool { return false })
		for i, o := range w.plan.Orders {
			if o.Night == n {
				w.expect(i, o)
			}
		}
		w.until(time.Until(due), func() bool { return false })
		w.replicas = append(w.replicas, w.startReplica(0)) // it claims as soon as it has joined
		w.until(2*time.Minute, func() bool { return false })
		w.rest()
		w.stopAll()
	}
	w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "a run is rechecked without end"})
}

// nextRecheck is when the next re-check is due; zero: none is.
func (w *world) nextRecheck() (due time.Time) {
	runs := w.store.Everything().Runs
	for _, r := range runs {
		if r.Rechecks > 0 && (due.IsZero() || r.DueAt.Before(due)) {
			due = *r.DueAt
		}
	}
	return due
}
