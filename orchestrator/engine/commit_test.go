package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// slowStore is a store in which each commit takes a minute. slowStore counts the checkpoints that the engine commits.
type slowStore struct {
	saga.Store
	given, cut int
}

func (s *slowStore) Commit(ctx context.Context, _ time.Time, cps []saga.Checkpoint) []saga.CommitResult {
	s.given += len(cps)
	results := make([]saga.CommitResult, len(cps))
	select {
	case <-ctx.Done():
		s.cut += len(cps)
		for i := range results {
			results[i].Err = ctx.Err()
		}
	case <-time.After(time.Minute):
	}
	return results
}

func TestCheckpointsOfALostLeaseAreNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, clock := &slowStore{}, NewClock(time.Now)
		lost := newLease(time.Hour, clock, time.Now())
		c := newCommitter(store, lost)
		write := func(want error) {
			go func() {
				if got := c.write(saga.Checkpoint{Run: &saga.Run{}}); !errors.Is(got.Err, want) {
					t.Errorf("got %v, want %v", got.Err, want)
				}
			}()
			synctest.Wait()
		}
		write(saga.ErrLeaseLost) // this checkpoint is being committed when the lease ends
		write(saga.ErrLeaseLost) // this checkpoint waits until the commit of the first checkpoint has ended
		lost.drop()
		synctest.Wait()
		write(saga.ErrLeaseLost) // this checkpoint arrives after the end of the lease
		if store.given != 1 || store.cut != 1 {
			t.Errorf("%d checkpoints were passed to the store, and %d were interrupted; want 1, which was interrupted", store.given, store.cut)
		}
		next := newLease(time.Hour, clock, time.Now())
		defer next.drop()
		c = newCommitter(store, next)
		write(nil)
		time.Sleep(2 * time.Minute)
		if store.given != 2 || store.cut != 1 {
			t.Errorf("%d checkpoints were passed to the store, and %d were interrupted; want 2, of which 1 was interrupted", store.given, store.cut)
		}
	})
}
