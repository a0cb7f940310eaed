package simulation

import (
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// beforeProbe is how long before the probes the first orders of the night come.
const beforeProbe = 400 * time.Millisecond

// night lets the probes of compensated runs be made: between them nobody is there, which costs nothing to simulate.
func (w *world) night() {
	w.stopAll()
	for n := 1; n < 50; n++ {
		due := w.nextProbe()
		if due.IsZero() {
			return
		}
		w.until(time.Until(due)-10*time.Second, func() bool { return false })
		w.replicas = []*replica{w.startReplica(0)}
		w.until(time.Until(due)-beforeProbe, func() bool { return false })
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
	w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "a run is probed without end"})
}

// nextProbe is when the next probe is due; zero: none is.
func (w *world) nextProbe() (due time.Time) {
	runs := w.store.Everything().Runs
	for _, r := range runs {
		if r.Probes > 0 && (due.IsZero() || r.DueAt.Before(due)) {
			due = *r.DueAt
		}
	}
	return due
}
