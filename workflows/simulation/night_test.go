package simulation

import (
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// beforeRecheck is the time from the first orders that are placed near a re-check to the re-check itself.
const beforeRecheck = 400 * time.Millisecond

// The method `night` runs the re-checks of compensated runs, and the runs that follow-ups start. Between these runs, no replica
// runs, which makes the simulation faster.
func (w *world) night() {
	w.stopAll()
	n := 0 // number of re-checks so far
	for range 100 {
		due, follows := w.nextRecheck(), w.nextFollowUp()
		if !follows.IsZero() && (due.IsZero() || follows.Before(due)) {
			due = follows
		} else {
			n++
		}
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
	w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "runs are rechecked or followed without end"})
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

// nightEnds is the end of the night. The simulation does not wait for follow-ups that are due later.
const nightEnds = 100 * time.Hour

// nextFollowUp returns the time at which the next follow-up is due. If no follow-up is due during the night, the result is the zero
// time.
func (w *world) nextFollowUp() (due time.Time) {
	for _, f := range w.store.Everything().FollowUps {
		if soon := time.Until(f.DueAt) < nightEnds; soon && (due.IsZero() || f.DueAt.Before(due)) {
			due = f.DueAt
		}
	}
	return due
}
