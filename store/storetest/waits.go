package storetest

import (
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// runAfterPredecessor shows that WaitsFor names the newest live predecessor of a waiting run. When the predecessor ends, WaitsFor
// changes to the next live predecessor.
func runAfterPredecessor(t *testing.T, s fixture) {
	queued := func(before string) saga.NewRun {
		return s.create(t, func(r *saga.Run) {
			r.Subject, r.State, r.HoldsSubject = "m:c", saga.Waiting, false
			r.Reason = &saga.Reason{Kind: saga.WaitsForPredecessor, Failure: saga.Failure{Code: "subject-busy"}}
			r.WaitBehind(before)
		})
	}
	first := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	second := queued(first.Run.ID)
	third := queued(second.Run.ID)
	waits := func(when, want string) {
		t.Helper()
		r := s.read(t, third.Run.ID)
		if r.WaitsFor != want || !strings.Contains(r.Reason.Detail, want) {
			t.Errorf("%s: the third run waits for %q (%q); want %s", when, r.WaitsFor, r.Reason.Detail, want)
		}
	}
	waits("with two live predecessors", second.Run.ID)
	cancelled := checkpoint(second)
	cancelled.Run.State, cancelled.Run.EndedAt, cancelled.Run.WaitsFor = saga.Compensated, &epoch, ""
	s.commit(t, cancelled)
	waits("after the second run has ended", first.Run.ID)
}
