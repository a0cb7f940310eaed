package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestARunBehindAnotherIsClaimedWhenThatEnds(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		first := leased(func(r *saga.Run) { r.Subject = "m:c" })
		create(t, s, first)
		waiting := func(r *saga.Run) {
			r.Subject, r.State, r.WaitsFor, r.HoldsSubject, r.Replica, r.DueAt = "m:c", saga.Waiting, first.Run.ID, false, "", nil
		}
		second, third := leased(waiting), leased(waiting)
		create(t, s, third)
		create(t, s, second) // ids decide who is older, not who came first
		if got := claim(t, s, 10); len(got) != 0 {
			t.Fatalf("claimed %v while the first runs", got)
		}
		end := checkpoint(first)
		end.Run.State, end.Run.EndedAt, end.Run.HoldsSubject, end.Run.Replica, end.Run.DueAt = saga.Succeeded, &epoch, false, "", nil
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{end}); r[0].Err != nil || !r[0].Successor {
			t.Fatalf("ending the first: %+v; want to hear of a successor", r[0])
		}
		if got := claim(t, s, 10); !slices.Equal(got, []string{second.Run.ID}) {
			t.Fatalf("claimed %v, want the older of those that wait, %s, alone", got, second.Run.ID)
		}
		run := read(t, s, second.Run.ID)
		if !run.HoldsSubject || run.WaitsFor != "" || run.Epoch != 2 {
			t.Errorf("the claimed run: %+v", run)
		}
	})
}

func claim(t *testing.T, s *store.Store, limit int) []string {
	t.Helper()
	ids, err := s.Claim(t.Context(), "r1", epoch, limit)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestOnlyWhatIsDueAndUnleasedIsClaimed(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		later := epoch.Add(time.Minute)
		due := leased(func(r *saga.Run) { r.Replica = "" })
		for _, change := range []func(*saga.Run){
			nil, // leased
			func(r *saga.Run) { r.Replica, r.DueAt = "", &later },
			func(r *saga.Run) { r.Replica, r.DueAt = "", nil },
		} {
			create(t, s, leased(change))
		}
		create(t, s, due)
		if got := claim(t, s, 10); !slices.Equal(got, []string{due.Run.ID}) {
			t.Errorf("claimed %v, want %s alone", got, due.Run.ID)
		}
	})
}

func TestTwoReplicasNeverClaimTheSame(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		if _, err := s.Join(t.Context(), "r2", epoch.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			create(t, s, leased(func(r *saga.Run) { r.Replica = "" }))
		}
		var all sync.WaitGroup
		claimed := make(chan []string, 100)
		for i := range 20 {
			all.Go(func() {
				ids, err := s.Claim(t.Context(), fmt.Sprint("r", 1+i%2), epoch, 10)
				if err != nil {
					t.Error(err)
				}
				claimed <- ids
			})
		}
		all.Wait()
		close(claimed)
		seen := map[string]bool{}
		for ids := range claimed {
			for _, id := range ids {
				if seen[id] {
					t.Errorf("run %s was claimed twice", id)
				}
				seen[id] = true
			}
		}
		for _, id := range claim(t, s, 100) { // what rows locked at that moment were skipped
			seen[id] = true
		}
		if len(seen) != 100 {
			t.Errorf("%d runs were claimed, want 100", len(seen))
		}
	})
}

func TestALeaseThatEndedIsGone(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leasedIn(t, s)
		late := epoch.Add(2 * time.Hour) // r1's lease ended an hour ago
		if _, err := s.Renew(t.Context(), "r1", late, late.Add(time.Hour)); !errors.Is(err, saga.ErrLeaseLost) {
			t.Errorf("renewing a lease that has ended: %v, want ErrLeaseLost", err)
		}
		if _, err := s.Join(t.Context(), "r2", late.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for _, freed := range []bool{true, false} {
			renewal, err := s.Renew(t.Context(), "r2", late, late.Add(time.Hour))
			if err != nil || renewal.Freed != freed {
				t.Errorf("renewing r2: %+v, %v; want freed %t", renewal, err, freed)
			}
		}
		ids, err := s.Claim(t.Context(), "r2", late, 10)
		if err != nil || !slices.Equal(ids, []string{n.Run.ID}) {
			t.Fatalf("claimed %v, %v; want the dead replica's run", ids, err)
		}
		if r := s.Commit(t.Context(), late, []saga.Checkpoint{checkpoint(n)}); !errors.Is(r[0].Err, saga.ErrFenced) {
			t.Errorf("the dead replica wrote: %+v", r[0])
		}
		if err := s.Create(t.Context(), leased(nil)); err == nil {
			t.Error("a run was created leased to a replica that is gone")
		}
	})
}

func TestVerbsAreSeenByTheHolderAndMakeARestingRunDue(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leasedIn(t, s)
		verb := saga.Verb{RunID: n.Run.ID, Name: saga.Hold, Who: "op", Why: "nul \x00 and ü", At: epoch}
		for range 2 {
			if err := s.AddVerb(t.Context(), epoch, verb); err != nil {
				t.Fatal(err)
			}
		}
		r := s.Commit(t.Context(), epoch, []saga.Checkpoint{checkpoint(n)})
		verbs, err := s.Verbs(t.Context(), n.Run.ID)
		if err != nil || len(verbs) != 2 || !r[0].Verbs {
			t.Fatalf("the checkpoint told %+v; verbs %v, %v", r[0], verbs, err)
		}
		rest := checkpoint(n)
		rest.Run.Version, rest.Run.Replica, rest.Run.DueAt = 2, "", nil
		rest.Events[0].Seq, rest.Consumed = 3, []int64{verbs[0].ID, verbs[1].ID}
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{rest}); r[0] != (saga.CommitResult{}) {
			t.Errorf("consuming them: %+v", r[0])
		}
		if got := claim(t, s, 10); len(got) != 0 {
			t.Errorf("claimed %v although it rests", got)
		}
		if err := s.AddVerb(t.Context(), epoch, verb); err != nil {
			t.Fatal(err)
		}
		if got := claim(t, s, 10); len(got) != 1 {
			t.Errorf("claimed %v, want the run that a verb waits for", got)
		}
		if err := s.AddVerb(t.Context(), epoch, saga.Verb{RunID: newID()}); !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("a verb for no run: %v", err)
		}
	})
}

func TestHandingBackAndLeaving(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		working, stray := leasedIn(t, s), leasedIn(t, s)
		later := epoch.Add(time.Minute)
		if err := s.HandBack(t.Context(), "r1", later, later, []string{working.Run.ID}); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, stray.Run.ID).Replica + read(t, s, working.Run.ID).Replica; got != "r1" {
			t.Errorf("replicas of both: %q, want the stray one's empty", got)
		}
		if err := s.Leave(t.Context(), "r1", later); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, working.Run.ID); got.Replica != "" || !got.DueAt.Equal(later) {
			t.Errorf("after leaving: %q, due %v", got.Replica, got.DueAt)
		}
	})
}

func TestThreeReplicasMigrateAtOnce(t *testing.T) {
	url := storetest.PostgreSQL(t)
	var all sync.WaitGroup
	ran := make(chan int, 3)
	for range 3 {
		s := open(t, url, secret)
		all.Go(func() {
			n, err := s.Migrate(context.Background())
			if err != nil {
				t.Error(err)
			}
			ran <- n
		})
	}
	all.Wait()
	close(ran)
	var counts []int
	for n := range ran {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	if counts[0] != 0 || counts[1] != 0 || counts[2] == 0 {
		t.Errorf("migrations run by each: %v, want all by one", counts)
	}
}

func TestAnotherReplicaHearsOfVerbs(t *testing.T) {
	url := storetest.PostgreSQL(t)
	here, there := open(t, url, secret), open(t, url, secret)
	if _, err := here.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Join(t.Context(), "r1", epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan saga.Wake, 10), make(chan struct{})
	go func() { defer close(done); _ = there.Listen(ctx, func(w saga.Wake) { heard <- w }) }()
	<-heard // it listens
	n := leasedIn(t, here)
	if err := here.AddVerb(t.Context(), epoch, saga.Verb{RunID: n.Run.ID, Name: saga.Hold}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if want := (saga.Wake{Kind: saga.WakeVerb, RunID: n.Run.ID}); got != want {
			t.Errorf("heard %v, want %v", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Error("heard nothing")
	}
	cancel()
	<-done
}
