package engine

import (
	"context"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// counting is a store that counts the checkpoints that it is given.
type counting struct {
	saga.Store
	given chan int
}

func (c counting) Commit(_ context.Context, _ time.Time, cps []saga.Checkpoint) []saga.CommitResult {
	c.given <- len(cps)
	return make([]saga.CommitResult, len(cps))
}

func TestACheckpointOfALostLeaseIsNotWrittenUnderTheNext(t *testing.T) {
	store := counting{given: make(chan int, 10)}
	c := newCommitter(store, NewClock(time.Now), time.Minute)
	lost, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if got := c.submit(lost, saga.Checkpoint{Run: &saga.Run{ID: "old"}}); got.Err == nil {
		t.Fatal("committed although nobody commits")
	}
	go c.run(t.Context())
	if got := c.submit(t.Context(), saga.Checkpoint{Run: &saga.Run{ID: "new"}}); got.Err != nil {
		t.Fatal(got.Err)
	}
	close(store.given)
	total := 0
	for n := range store.given {
		total += n
	}
	if total != 1 {
		t.Errorf("%d checkpoints were written, want the new one alone", total)
	}
}
