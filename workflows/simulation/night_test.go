package simulation

import (
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// beforeRecheck is the time before a re-check at which the earliest order near this re-check may be placed.
const beforeRecheck = 400 * time.Millisecond

// The method `night` executes the re-checks of compensated runs, and the runs that follow-ups start. Until the next re-check or
// follow-up is due, all replicas are shut down. This makes the simulation faster. `night` also places the orders whose field Night is
// set.
func (w *world) night(orders []orderPlan) {
	w.stopAll()
	n, began := 0, time.Now() // n: number of re-checks so far
	for range 100 {
		due, follows := w.nextRecheck(), w.nextFollowUp(began)
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
		for i, o := range orders {
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
	w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "new re-checks or follow-ups become due without end"})
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

// nightEnds is the longest time for which the simulation waits for a follow-up.
const nightEnds = 100 * time.Hour

// nextFollowUp returns the time at which the next follow-up is due. If no follow-up is due within nightEnds, the result is the zero
// time. If the vandal has damaged an object, the run of a follow-up may be refused every day. Therefore nextFollowUp ignores a refused
// follow-up that is due more than 30 hours after the beginning of the night.
func (w *world) nextFollowUp(nightBegan time.Time) (due time.Time) {
	for _, f := range w.store.Everything().FollowUps {
		soon := time.Until(f.DueAt) < nightEnds
		refused := w.findings != nil && f.Reason != nil && f.DueAt.Sub(nightBegan) > 30*time.Hour
		if soon && !refused && (due.IsZero() || f.DueAt.Before(due)) {
			due = f.DueAt
		}
	}
	return due
}
