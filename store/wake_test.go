package store_test

import (
	"errors"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
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
