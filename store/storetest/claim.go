package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func behind(t *testing.T, s fixture) {
	first := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	waiting := func(r *saga.Run) {
		r.Subject, r.State, r.WaitsFor, r.HoldsSubject, r.Replica, r.DueAt = "m:c", saga.Waiting, first.Run.ID, false, "", nil
	}
	second, third := leased(waiting), leased(waiting)
	s.insert(t, third)
	s.insert(t, second) // ids decide who is older, not who came first
	if got := s.claim(t, 10); len(got) != 0 {
		t.Fatalf("claimed %v while the first runs", got)
	}
	end := checkpoint(first)
	end.Run.State, end.Run.EndedAt, end.Run.HoldsSubject, end.Run.Replica, end.Run.DueAt = saga.Succeeded, &epoch, false, "", nil
	if result := s.commit(t, end); !result.Successor {
		t.Fatalf("ending the first: %+v; want to hear of a successor", result)
	}
	if got := s.claim(t, 10); !slices.Equal(got, []string{second.Run.ID}) {
		t.Fatalf("claimed %v, want the older of those that wait, %s, alone", got, second.Run.ID)
	}
	run := s.read(t, second.Run.ID)
	if !run.HoldsSubject || run.WaitsFor != "" || run.Epoch != 2 {
		t.Errorf("the claimed run: %+v", run)
	}
}

func onlyDue(t *testing.T, s fixture) {
	later := epoch.Add(time.Minute)
	due := leased(idle)
	for _, change := range []func(*saga.Run){
		nil, // leased
		func(r *saga.Run) { r.Replica, r.DueAt = "", &later },
		func(r *saga.Run) { r.Replica, r.DueAt = "", nil },
	} {
		s.create(t, change)
	}
	s.insert(t, due)
	if got := s.claim(t, 10); !slices.Equal(got, []string{due.Run.ID}) {
		t.Errorf("claimed %v, want %s alone", got, due.Run.ID)
	}
}

func claimedOnce(t *testing.T, s fixture) {
	s.join(t, "r2", epoch.Add(time.Hour))
	for range 100 {
		s.create(t, idle)
	}
	var all sync.WaitGroup
	claimed := make([][]string, 20)
	for i := range claimed {
		all.Go(func() {
			ids, err := s.Claim(t.Context(), fmt.Sprint("r", 1+i%2), epoch, 10)
			if err != nil {
				t.Error(err)
			}
			claimed[i] = ids
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, id := range slices.Concat(claimed...) {
		if seen[id] {
			t.Errorf("run %s was claimed twice", id)
		}
		seen[id] = true
	}
	for _, id := range s.claim(t, 100) { // what rows locked at that moment were skipped
		seen[id] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d runs were claimed, want 100", len(seen))
	}
}
