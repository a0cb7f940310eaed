package storetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func claimBehind(t *testing.T, s fixture) {
	first := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	waiting := func(r *saga.Run) {
		r.Subject, r.State, r.WaitsFor, r.HoldsSubject, r.Replica, r.DueAt = "m:c", saga.Waiting, first.Run.ID, false, "", nil
	}
	second, third := leased(waiting), leased(waiting)
	s.insert(t, third)
	s.insert(t, second) // the ids decide which run is older, and not the times of insertion
	if got := s.claim(t, 10); len(got) != 0 {
		t.Fatalf("claimed %v while the first run is leased; want no run", got)
	}
	end := checkpoint(first)
	end.Run.State, end.Run.EndedAt, end.Run.HoldsSubject, end.Run.Replica, end.Run.DueAt = saga.Succeeded, &epoch, false, "", nil
	if result := s.commit(t, end); !result.Successor {
		t.Fatalf("ending the first run returned %+v; want Successor to be true", result)
	}
	if got := s.claim(t, 10); !slices.Equal(got, []string{second.Run.ID}) {
		t.Fatalf("claimed %v; want only %s, the older of the two waiting runs", got, second.Run.ID)
	}
	run := s.read(t, second.Run.ID)
	if !run.HoldsSubject || run.WaitsFor != "" || run.Epoch != 2 || run.DueAt == nil || !run.DueAt.Equal(epoch) {
		t.Errorf("the claimed run: %+v; want epoch 2, the subject, no WaitsFor, and due at %v", run, epoch)
	}
}

func claimNotDue(t *testing.T, s fixture) {
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
		t.Errorf("claimed %v; want only %s", got, due.Run.ID)
	}
}

func claimAtOnce(t *testing.T, s fixture) {
	s.join(t, "r2", epoch.Add(time.Hour))
	for range 100 {
		s.create(t, idle)
	}
	var all sync.WaitGroup
	claimed := make([][]string, 20)
	for i := range claimed {
		all.Go(func() {
			ids, err := s.Claim(t.Context(), saga.Claim{Due: saga.Due{Now: epoch}, Replica: fmt.Sprint("r", 1+i%2), Limit: 10})
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
	for _, id := range s.claim(t, 100) { // take the remaining runs, because Claim skips the runs that another call has locked
		seen[id] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d runs were claimed; want 100", len(seen))
	}
}

// claimOldest shows that Claim with a limit takes the runs that were accepted first, even if other runs were due before them.
func claimOldest(t *testing.T, s fixture) {
	dueAt := func(d time.Duration) string {
		at := epoch.Add(d)
		return s.create(t, func(r *saga.Run) { r.Replica, r.DueAt = "", &at }).Run.ID
	}
	ids := []string{dueAt(-time.Second), dueAt(0), dueAt(-time.Minute)}
	if got := s.claim(t, 0); len(got) != 0 {
		t.Errorf("claimed %v with limit 0; want no run", got)
	}
	for _, want := range ids {
		if got := s.claim(t, 1); !slices.Equal(got, []string{want}) {
			t.Errorf("claimed %v; want %s", got, want)
		}
	}
}

// claimCounted shows that Claim changes only four fields of a run: the replica, the epoch, the version and the number of take-overs.
func claimCounted(t *testing.T, s fixture) {
	want := s.create(t, func(r *saga.Run) { r.Replica, r.Epoch, r.Version, r.TakeOvers = "", 3, 5, 2 }).Run
	if _, err := s.Claim(t.Context(), saga.Claim{Due: saga.Due{Now: epoch.Add(time.Second)}, Replica: "r1", Limit: 1}); err != nil {
		t.Fatal(err)
	}
	want.Replica, want.Epoch, want.Version, want.TakeOvers = "r1", 4, 6, 3
	if got := s.read(t, want.ID); show(t, got) != show(t, want) {
		t.Errorf("the claimed run:\n got %s\nwant %s", show(t, got), show(t, want))
	}
}

// takeOne shows that Take changes the due time, the number of hand-overs, and the four fields that Claim changes. Take does not take a leased
// run or a run with another version.
func takeOne(t *testing.T, s fixture) {
	later := epoch.Add(time.Hour)
	want := s.create(t, func(r *saga.Run) { r.Replica, r.Epoch, r.Version, r.TakeOvers, r.DueAt = "", 3, 5, 2, &later }).Run
	for _, version := range []int64{4, 6} {
		if taken, err := s.Take(t.Context(), saga.Take{Replica: "r1", RunID: want.ID, Version: version, Now: epoch, Handed: true}); taken || err != nil {
			t.Errorf("version %d: taken %t, %v", version, taken, err)
		}
	}
	if taken, err := s.Take(t.Context(), saga.Take{Replica: "nobody", RunID: want.ID, Version: 5, Now: epoch, Handed: true}); taken || err == nil {
		t.Errorf("a replica that has not joined has taken the run: %t, %v", taken, err)
	}
	if taken, err := s.Take(t.Context(), saga.Take{Replica: "r1", RunID: newID(), Version: 5, Now: epoch, Handed: true}); taken || err != nil {
		t.Errorf("a run that does not exist: taken %t, %v", taken, err)
	}
	if taken, err := s.Take(t.Context(), saga.Take{Replica: "r1", RunID: want.ID, Version: 5, Now: epoch, Handed: true}); !taken || err != nil {
		t.Fatalf("taken %t, %v", taken, err)
	}
	want.Replica, want.Epoch, want.Version, want.TakeOvers, want.Handed, want.DueAt = "r1", 4, 6, 3, 1, &epoch
	if got := s.read(t, want.ID); show(t, got) != show(t, want) {
		t.Errorf("the taken run:\n got %s\nwant %s", show(t, got), show(t, want))
	}
	if taken, err := s.Take(t.Context(), saga.Take{Replica: "r1", RunID: want.ID, Version: 6, Now: epoch, Handed: true}); taken || err != nil {
		t.Errorf("a leased run: taken %t, %v", taken, err)
	}
}

func takeOneAtOnce(t *testing.T, s fixture) {
	s.join(t, "r2", epoch.Add(time.Hour))
	run := s.create(t, idle).Run
	var all sync.WaitGroup
	var taken atomic.Int32
	for i := range 20 {
		all.Go(func() {
			took, err := s.Take(t.Context(), saga.Take{Replica: fmt.Sprint("r", 1+i%2), RunID: run.ID, Version: run.Version, Now: epoch, Handed: true})
			if err != nil {
				t.Error(err)
			}
			if took {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("the run was taken %d times", taken.Load())
	}
}

// claimActionBehind shows that Claim takes a run with an action, even while the run waits for another run. Claim does not give the subject
// to the run.
func claimActionBehind(t *testing.T, s fixture) {
	holder := s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	n := s.create(t, func(r *saga.Run) {
		r.Subject, r.WaitsFor, r.HoldsSubject, r.Replica, r.DueAt = "m:c", holder.Run.ID, false, "", nil
	})
	s.ask(t, saga.Action{RunID: n.Run.ID, Name: saga.Cancel})
	if got := s.claim(t, 10); !slices.Equal(got, []string{n.Run.ID}) {
		t.Fatalf("claimed %v; want %s", got, n.Run.ID)
	}
	if got := s.read(t, n.Run.ID); got.HoldsSubject || got.WaitsFor != holder.Run.ID || !got.DueAt.Equal(epoch) {
		t.Errorf("the claimed run: %+v; want no subject, WaitsFor %s, and due at %v", got, holder.Run.ID, epoch)
	}
}

// claimYoungHolder shows that Claim does not take an older run while a younger run holds the subject.
func claimYoungHolder(t *testing.T, s fixture) {
	old := leased(func(r *saga.Run) {
		r.Subject, r.WaitsFor, r.HoldsSubject, r.Replica, r.DueAt = "m:c", newID(), false, "", nil
	})
	s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	s.insert(t, old)
	if got := s.claim(t, 10); len(got) != 0 {
		t.Errorf("claimed %v while a younger run holds the subject; want no run", got)
	}
}

// claimEnded shows that Claim can take a run that has ended. Claim does not change the holder of the subject.
func claimEnded(t *testing.T, s fixture) {
	n := s.create(t, func(r *saga.Run) { r.State, r.EndedAt, r.HoldsSubject, r.Replica = saga.Compensated, &epoch, false, "" })
	if got := s.claim(t, 10); !slices.Equal(got, []string{n.Run.ID}) {
		t.Fatalf("claimed %v; want %s", got, n.Run.ID)
	}
	if s.read(t, n.Run.ID).HoldsSubject {
		t.Error("the claimed run holds the subject; want no subject, because the run has ended")
	}
}

// claimNotJoined shows that Claim fails and changes nothing for a replica that has not joined.
func claimNotJoined(t *testing.T, s fixture) {
	n := s.create(t, idle)
	if ids, err := s.Claim(t.Context(), saga.Claim{Due: saga.Due{Now: epoch}, Replica: "r9", Limit: 10}); err == nil {
		t.Errorf("a replica that never joined claimed %v; want an error", ids)
	}
	if got := s.claim(t, 10); !slices.Equal(got, []string{n.Run.ID}) {
		t.Errorf("claimed %v; want %s", got, n.Run.ID)
	}
}
