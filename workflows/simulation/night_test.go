package simulation

import (
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// beforeRecheck is the time from the first orders that are placed near a re-check to the re-check itself.
const beforeRecheck = 400 * time.Millisecond

// night runs the re-checks of compensated runs. Between two re-checks, no replica runs. This makes the simulation faster.
func (w *world) night() {
	w.stopAll()
	for n := 1; n < 50; n++ {
		due := w.nextRecheck()
		if due.IsZero() || w.driver.restless != "" {
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
		w.replicas = append(w.replicas, w.startReplica(0)) // a new replica immediately looks for runs to execute
		w.until(2*time.Minute, func() bool { return false })
		w.rest()
		w.stopAll()
	}
	w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "a run is rechecked without end"})
}

// nextRecheck returns the time of the next re-check, or the zero time if no re-check is planned.
func (w *world) nextRecheck() (due time.Time) {
	runs := w.store.Everything().Runs
	for _, r := range runs {
		if r.Rechecks > 0 && (due.IsZero() || r.DueAt.Before(due)) {
			due = *r.DueAt
		}
	}
	return due
}
