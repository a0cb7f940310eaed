package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// dueFor creates a due run without a lease for each of the given merchants.
func (f fixture) dueFor(t *testing.T, merchants ...string) (ids []string) {
	t.Helper()
	for _, m := range merchants {
		n := f.create(t, func(r *saga.Run) { r.Merchant, r.Replica = m, "" })
		ids = append(ids, n.Run.ID)
	}
	return ids
}

func claimTurns(t *testing.T, s fixture) {
	ids := s.dueFor(t, "bulk", "bulk", "bulk", "bulk", "one", "other", "one")
	for _, want := range [][]string{{ids[0]}, {ids[4], ids[5]}, {ids[1], ids[6]}, {ids[2], ids[3]}} {
		if got := s.claim(t, len(want)); !slices.Equal(got, want) {
			t.Errorf("claimed %v; want %v", got, want)
		}
	}
}

func claimUnderWay(t *testing.T, s fixture) {
	for range 3 {
		s.create(t, func(r *saga.Run) { r.Merchant = "bulk" })
	}
	ids := s.dueFor(t, "bulk", "one", "one")
	for _, want := range []string{ids[1], ids[2], ids[0]} {
		if got := s.claim(t, 1); !slices.Equal(got, []string{want}) {
			t.Errorf("claimed %v; want %s", got, want)
		}
	}
}

// claimWoken shows that Claim skips leased runs with actions. There are more such runs than one call of Claim may return. Claim nevertheless
// returns the due runs, and begins with the due run that has an action.
func claimWoken(t *testing.T, s fixture) {
	for range 10 {
		s.ask(t, saga.Action{RunID: s.create(t, nil).Run.ID, Name: saga.Hold})
	}
	ids := s.dueFor(t, "m", "one", "m")
	s.ask(t, saga.Action{RunID: ids[2], Name: saga.Hold})
	for _, want := range []string{ids[2], ids[1], ids[0]} {
		if got := s.claim(t, 1); !slices.Equal(got, []string{want}) {
			t.Errorf("claimed %v; want %s", got, want)
		}
	}
}

func claimUpstreamDown(t *testing.T, s fixture) {
	waiting := func(upstream string) string {
		n := s.create(t, nil)
		cp := checkpoint(n)
		cp.Run.State, cp.Run.Replica, cp.Run.DueAt = saga.Waiting, "", &epoch
		cp.Run.Reason = &saga.Reason{Kind: saga.WaitsForUpstream, Until: &epoch, Failure: saga.Failure{Upstream: upstream}}
		s.commit(t, cp)
		return n.Run.ID
	}
	first, second, other := waiting("keystone/a"), waiting("keystone/a"), waiting("keystone/b")
	s.count(t, 3)
	s.count(t, 1, "keystone/a", "billingstack")
	if got := s.claim(t, 10, "keystone/a", "billingstack"); !slices.Equal(got, []string{other}) {
		t.Errorf("claimed %v; want %s, which waits for an upstream that is not down", got, other)
	}
	s.ask(t, saga.Action{RunID: second, Name: saga.Retry})
	if got := s.claim(t, 10, "keystone/a"); !slices.Equal(got, []string{second}) {
		t.Errorf("claimed %v; want %s, which has an unconsumed action", got, second)
	}
	if got := s.claim(t, 10); !slices.Equal(got, []string{first}) {
		t.Errorf("claimed %v when no upstream is down; want %s", got, first)
	}
}

// claimExpired claims runs while the upstream of all runs is down. A run that goes forward has a
// time limit. After this limit, the run must be claimed, so that it is compensated. A run that compensates has no time limit.
func claimExpired(t *testing.T, s fixture) {
	waiting := func(state saga.RunState, budgetFrom time.Time) string {
		n := s.create(t, nil)
		cp := checkpoint(n)
		cp.Run.State, cp.Run.Replica, cp.Run.DueAt, cp.Run.BudgetFrom = state, "", &epoch, budgetFrom
		cp.Run.Reason = &saga.Reason{Kind: saga.WaitsForUpstream, Until: &epoch, Failure: saga.Failure{Upstream: "keystone/a"}}
		if state == saga.Compensating {
			cp.Run.Cause = &saga.Failure{Code: "x", FixBy: saga.FixByNobody}
		}
		s.commit(t, cp)
		return n.Run.ID
	}
	limit := epoch.Add(-time.Hour)
	expired := waiting(saga.Waiting, limit.Add(-time.Microsecond))
	waiting(saga.Waiting, limit)
	waiting(saga.Compensating, limit.Add(-time.Hour))
	due := saga.Due{Now: epoch, Down: []string{"keystone/a"}, Expired: limit}
	if n, err := s.Due(t.Context(), due); err != nil || n != 1 {
		t.Errorf("counted %d due runs, %v; want 1", n, err)
	}
	ids, err := s.Claim(t.Context(), saga.Claim{Due: due, Replica: "r1", Limit: 10})
	if err != nil || !slices.Equal(ids, []string{expired}) {
		t.Errorf("claimed %v, %v; want only %s, which has expired", ids, err, expired)
	}
}

// claimExpiredBehind claims runs while the predecessor of all runs is live. If the time limit of a run has passed and the run is not
// held, the run must be claimed. The claimed run does not get the subject.
func claimExpiredBehind(t *testing.T, s fixture) {
	limit := epoch.Add(-time.Hour)
	first := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	queued := func(budgetFrom time.Time, hold *saga.Reason) saga.NewRun {
		return s.create(t, func(r *saga.Run) {
			*r = *saga.Queued(r, first.Run.ID)
			r.Subject, r.Replica, r.BudgetFrom, r.Hold = "m:c", "", budgetFrom, hold
		})
	}
	expired := queued(limit.Add(-time.Microsecond), nil)
	queued(limit, nil)
	queued(limit.Add(-time.Hour), &saga.Reason{Kind: saga.WaitsForOperator})
	ids, err := s.Claim(t.Context(), saga.Claim{Due: saga.Due{Now: epoch, Expired: limit}, Replica: "r1", Limit: 10})
	if err != nil || !slices.Equal(ids, []string{expired.Run.ID}) {
		t.Fatalf("claimed %v, %v; want only %s, which has expired and is not held", ids, err, expired.Run.ID)
	}
	if got := s.read(t, expired.Run.ID); got.HoldsSubject || got.WaitsFor != first.Run.ID {
		t.Errorf("the claimed run holds its subject: %t, and waits for %q; want %s", got.HoldsSubject, got.WaitsFor, first.Run.ID)
	}
}

func countsOfRuns(t *testing.T, s fixture) {
	s.dueFor(t, "m", "m", "other")
	s.create(t, nil) // a leased run of merchant m
	later := epoch.Add(time.Minute)
	s.create(t, func(r *saga.Run) { r.Replica, r.DueAt = "", &later })
	s.create(t, func(r *saga.Run) {
		r.State, r.EndedAt, r.HoldsSubject, r.Replica, r.DueAt = saga.Succeeded, &epoch, false, "", nil
	})
	s.create(t, func(r *saga.Run) { r.Key = "" }) // the run of a follow-up
	asks := s.create(t, nil)
	cp := checkpoint(asks)
	cp.Run.State, cp.Run.Replica, cp.Run.DueAt, cp.Run.Reason = saga.Waiting, "", &later, &saga.Reason{Kind: saga.WaitsForPassword}
	s.commit(t, cp)
	s.count(t, 3)
	for merchant, want := range map[string]int{"m": 4, "other": 1, "nobody": 0} {
		if n, err := s.LiveRuns(t.Context(), merchant); err != nil || n != want {
			t.Errorf("counted %d live runs of merchant %s, %v; want %d", n, merchant, err, want)
		}
	}
}

// The method `count` fails the test if the number of due runs is not `want`.
func (f fixture) count(t *testing.T, want int, down ...string) {
	t.Helper()
	if n, err := f.Due(t.Context(), saga.Due{Now: epoch, Down: down}); err != nil || n != want {
		t.Errorf("counted %d due runs while the upstreams %v are down, %v; want %d", n, down, err, want)
	}
}
