package engine

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// maxGroup is how many checkpoints one statement carries at most.
const maxGroup = 128

// committer gathers the checkpoints of all runs of the replica: those that come while one group is being committed
// make up the next.
type committer struct {
	store    saga.Store
	clock    *Clock
	patience time.Duration      // with the database
	queue    chan commitRequest // unbuffered: who gives up leaves nothing behind
}

type commitRequest struct {
	checkpoint saga.Checkpoint
	done       chan saga.CommitResult
}

func newCommitter(store saga.Store, clock *Clock, patience time.Duration) *committer {
	return &committer{store: store, clock: clock, patience: patience, queue: make(chan commitRequest)}
}

// run commits groups until ctx ends; it is called once a lease.
func (c *committer) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case first := <-c.queue:
			c.clock.yield("committer")
			c.commit(ctx, c.gather(first))
		}
	}
}

func (c *committer) gather(first commitRequest) []commitRequest {
	group := []commitRequest{first}
	for len(group) < maxGroup {
		select {
		case next := <-c.queue:
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

func (c *committer) commit(ctx context.Context, group []commitRequest) {
	checkpoints := make([]saga.Checkpoint, len(group))
	for i, r := range group {
		checkpoints[i] = r.checkpoint
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	results := c.store.Commit(ctx, c.clock.Now(), checkpoints)
	for i, r := range group {
		r.done <- results[i]
	}
}

// submit hands in a checkpoint and waits for its result.
func (c *committer) submit(ctx context.Context, cp saga.Checkpoint) saga.CommitResult {
	request := commitRequest{cp, make(chan saga.CommitResult, 1)}
	select {
	case c.queue <- request:
	case <-ctx.Done():
		return saga.CommitResult{Err: context.Cause(ctx)}
	}
	select {
	case result := <-request.done:
		return result
	case <-ctx.Done():
		return saga.CommitResult{Err: context.Cause(ctx)}
	}
}

// write commits one checkpoint for sure. A COMMIT whose answer was lost is unknown like any other call: the version
// is read again, and the checkpoint is repeated only where it is still the old one. Only the lease's holder raises the
// version under its epoch, so the next version under the same epoch can only be this checkpoint's. It returns
// ErrFenced, ErrBadRow, or the lease's end.
func (c *committer) write(ctx context.Context, cp saga.Checkpoint) saga.CommitResult {
	unsure := false
	for n := 1; ; n++ {
		result := c.submit(ctx, cp)
		switch {
		case result.Err == nil, errors.Is(result.Err, saga.ErrBadRow):
			return result
		case errors.Is(result.Err, saga.ErrFenced) && !unsure:
			return result
		}
		unsure = true
		if ctx.Err() != nil {
			return saga.CommitResult{Err: context.Cause(ctx)}
		}
		epoch, version, err := c.tip(ctx, cp.Run.ID)
		switch {
		case err == nil && epoch == cp.Run.Epoch && version == cp.Run.Version+1:
			return saga.CommitResult{Actions: true, Successor: true} // committed after all; what else it told is lost: look
		case err == nil && (epoch != cp.Run.Epoch || version != cp.Run.Version):
			return saga.CommitResult{Err: saga.ErrFenced}
		}
		// Still the old version, or not to be learnt yet: repeating is safe, the fence decides.
		c.clock.pause(ctx, saga.Delay(cp.Run.ID, n, 50*time.Millisecond, 2*time.Second))
		if ctx.Err() != nil {
			return saga.CommitResult{Err: context.Cause(ctx)}
		}
	}
}

func (c *committer) tip(ctx context.Context, runID string) (epoch, version int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	return c.store.Tip(ctx, runID)
}
