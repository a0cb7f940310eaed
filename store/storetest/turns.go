package storetest

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// dueFor creates runs that wait to be claimed, one for each merchant named.
func (f fixture) dueFor(t *testing.T, merchants ...string) (ids []string) {
	t.Helper()
	for _, m := range merchants {
		n := f.create(t, func(r *saga.Run) { r.Merchant, r.Replica = m, "" })
		ids = append(ids, n.Run.ID)
	}
	return ids
}

func turns(t *testing.T, s fixture) {
	ids := s.dueFor(t, "bulk", "bulk", "bulk", "bulk", "one", "other", "one")
	for _, want := range [][]string{{ids[0]}, {ids[4], ids[5]}, {ids[1], ids[6]}, {ids[2], ids[3]}} {
		if got := s.claim(t, len(want)); !slices.Equal(got, want) {
			t.Errorf("claimed %v, want %v", got, want)
		}
	}
}

func underWay(t *testing.T, s fixture) {
	for range 3 {
		s.create(t, func(r *saga.Run) { r.Merchant = "bulk" })
	}
	ids := s.dueFor(t, "bulk", "one", "one")
	for _, want := range []string{ids[1], ids[2], ids[0]} {
		if got := s.claim(t, 1); !slices.Equal(got, []string{want}) {
			t.Errorf("claimed %v, want %s", got, want)
		}
	}
}

// wokenFirst has more verbs wait for runs that are worked on than a claim takes: those are not in its way.
func wokenFirst(t *testing.T, s fixture) {
	for range 10 {
		s.ask(t, saga.Verb{RunID: s.create(t, nil).Run.ID, Name: saga.Hold})
	}
	ids := s.dueFor(t, "m", "one", "m")
	s.ask(t, saga.Verb{RunID: ids[2], Name: saga.Hold})
	for _, want := range []string{ids[2], ids[1], ids[0]} {
		if got := s.claim(t, 1); !slices.Equal(got, []string{want}) {
			t.Errorf("claimed %v, want %s", got, want)
		}
	}
}

func leftAlone(t *testing.T, s fixture) {
	waiting := func(upstream string) string {
		n := s.create(t, nil)
		cp := checkpoint(n)
		cp.Run.State, cp.Run.Replica, cp.Run.DueAt = saga.Waiting, "", &epoch
		cp.Run.Reason = &saga.Reason{Kind: saga.WaitsForUpstream, Until: &epoch, Failure: saga.Failure{Upstream: upstream}}
		s.commit(t, cp)
		return n.Run.ID
	}
	first, second, other := waiting("keystone/a"), waiting("keystone/a"), waiting("keystone/b")
	if got := s.claim(t, 10, "keystone/a", "billingstack"); !slices.Equal(got, []string{other}) {
		t.Errorf("claimed %v, want %s, whose upstream is well", got, other)
	}
	s.ask(t, saga.Verb{RunID: second, Name: saga.Retry})
	if got := s.claim(t, 10, "keystone/a"); !slices.Equal(got, []string{second}) {
		t.Errorf("claimed %v, want %s, which an operator woke", got, second)
	}
	if got := s.claim(t, 10); !slices.Equal(got, []string{first}) {
		t.Errorf("claimed %v once the upstream is back, want %s", got, first)
	}
}
