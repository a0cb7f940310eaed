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
		c := newCommitter(store, lost, nil)
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
		c = newCommitter(store, next, nil)
		write(nil)
		time.Sleep(2 * time.Minute)
		if store.given != 2 || store.cut != 1 {
			t.Errorf("%d checkpoints were passed to the store, and %d were interrupted; want 2, of which 1 was interrupted", store.given, store.cut)
		}
	})
}

// stubbornStore is a store whose commits fail a number of times.
type stubbornStore struct {
	saga.Store
	fails int
}

var errFull = errors.New("the disk is full")

func (s *stubbornStore) Commit(_ context.Context, _ time.Time, cps []saga.Checkpoint) []saga.CommitResult {
	results := make([]saga.CommitResult, len(cps))
	if s.fails > 0 {
		s.fails--
		results[0].Err = errFull
	}
	return results
}

func (s *stubbornStore) Tip(context.Context, string) (epoch, version int64, err error) {
	return 0, 0, nil
}

// The first failed commit is reported at once, although the commit is repeated until the lease ends.
func TestAFailedCommitIsReportedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, l := &stubbornStore{fails: 3}, newLease(time.Hour, NewClock(time.Now), time.Now())
		defer l.drop()
		var told []error
		c := newCommitter(store, l, func(err error) { told = append(told, err) })
		for n := range 2 { // the second checkpoint fails once, after the first was stored
			store.fails = 3 - 2*n
			go c.write(saga.Checkpoint{Run: &saga.Run{ID: "r"}})
			synctest.Wait()
			if !errors.Is(c.lastError(), errFull) || len(told) != n+1 || !errors.Is(told[n], errFull) {
				t.Errorf("checkpoint %d: reported %v, and the last error is %v", n, told, c.lastError())
			}
			time.Sleep(time.Minute)
			if c.lastError() != nil || len(told) != n+1 {
				t.Errorf("checkpoint %d is stored: reported %v, and the last error is %v", n, told, c.lastError())
			}
		}
	})
}
