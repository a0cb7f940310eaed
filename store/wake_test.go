package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestAFencedCheckpointConsumesNoVerb(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leasedIn(t, s)
		if err := s.AddVerb(t.Context(), epoch, saga.Verb{RunID: n.Run.ID, Name: saga.Hold, At: epoch}); err != nil {
			t.Fatal(err)
		}
		before, err := s.Verbs(t.Context(), n.Run.ID)
		if err != nil || len(before) != 1 {
			t.Fatalf("verbs %v, %v; want one", before, err)
		}
		stale := checkpoint(n)
		stale.Run.Epoch, stale.Consumed = 7, []int64{before[0].ID}
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{stale}); !errors.Is(r[0].Err, saga.ErrFenced) {
			t.Fatalf("committing: %v, want ErrFenced", r[0].Err)
		}
		if after, err := s.Verbs(t.Context(), n.Run.ID); err != nil || len(after) != 1 {
			t.Errorf("verbs %v, %v; want the one that nobody obeyed", after, err)
		}
	})
}

func TestAnotherReplicaHearsOfAnEnd(t *testing.T) {
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
	ended := checkpoint(n)
	ended.Run.State, ended.Run.EndedAt = saga.Succeeded, &epoch
	ended.Run.UpdatedAt = epoch.Add(time.Microsecond) // the clock goes on between deciding and writing
	if r := here.Commit(t.Context(), epoch, []saga.Checkpoint{ended}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	select {
	case got := <-heard:
		if want := (saga.Wake{Kind: saga.WakeEnded, RunID: n.Run.ID}); got != want {
			t.Errorf("heard %v, want %v", got, want)
		}
	case <-time.After(5 * time.Second):
		t.Error("heard nothing")
	}
	probed := checkpoint(n)
	probed.Run.Version, probed.Run.EndedAt, probed.Events = 2, &epoch, nil
	if r := here.Commit(t.Context(), epoch, []saga.Checkpoint{probed}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	if err := here.AddVerb(t.Context(), epoch, saga.Verb{RunID: n.Run.ID, Name: saga.Hold}); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got.Kind != saga.WakeVerb {
		t.Errorf("heard %v, want the verb: a run ends once", got)
	}
	cancel()
	<-done
}
