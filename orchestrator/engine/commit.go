package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/groupcommit"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// maxGroup limits the number of checkpoints that one statement writes.
const maxGroup = 128

// The type `committer` writes the checkpoints of all runs that this replica executes under one lease. Checkpoints that arrive while
// a group is being committed form the next group. Each lease has its own committer, so that a checkpoint of one lease is never
// written under the next lease.
type committer struct {
	store saga.Store
	lease *lease
	group groupcommit.Group[saga.Checkpoint, saga.CommitResult]
	fault func(error) // is called with the error of a failed commit if the previous commit has not failed

	mu      sync.Mutex
	failing error // the error of the last commit; nil if the last commit has succeeded
}

func newCommitter(store saga.Store, l *lease, fault func(error)) *committer {
	c := &committer{store: store, lease: l, fault: fault}
	c.group.Commit, c.group.Max = c.commit, maxGroup
	c.group.Yield = func() { l.clock.yield("committer") }
	return c
}

// The method `write` commits one checkpoint, and repeats the commit until the outcome is known. If the answer to a COMMIT is lost,
// the method `write` reads the run's version, and repeats the checkpoint only if the version has not changed. Within one epoch,
// only the holder of the lease raises the run's version. Therefore, if the epoch is unchanged and the version has increased by one,
// this checkpoint was committed. The error in the result is ErrFenced, ErrBadRow, or the cause of the lease's end.
func (c *committer) write(cp saga.Checkpoint) saga.CommitResult {
	ctx := c.lease.ctx
	unsure := false
	for n := 1; ; n++ {
		result, err := c.group.Do(ctx, cp)
		if err != nil { // the lease has ended, or the commit panicked
			result.Err = err
		}
		switch {
		case result.Err == nil, errors.Is(result.Err, saga.ErrBadRow):
			c.note(nil)
			return result
		case errors.Is(result.Err, saga.ErrFenced) && !unsure:
			return result
		}
		unsure = true
		if ctx.Err() != nil {
			return saga.CommitResult{Err: context.Cause(ctx)}
		}
		c.note(fmt.Errorf("storing run %s: %w", cp.Run.ID, result.Err))
		epoch, version, err := c.tip(cp.Run.ID)
		switch {
		case err == nil && epoch == cp.Run.Epoch && version == cp.Run.Version+1:
			// The commit's result was lost. Actions and a successor may be waiting.
			return saga.CommitResult{Actions: true, Successor: true}
		case err == nil && (epoch != cp.Run.Epoch || version != cp.Run.Version):
			return saga.CommitResult{Err: saga.ErrFenced}
		}
		// The version is unchanged, or could not be read. Repeating the commit is safe, because the store checks the version.
		c.lease.clock.pause(ctx, saga.Delay(cp.Run.ID, n, 50*time.Millisecond, 2*time.Second))
		if ctx.Err() != nil {
			return saga.CommitResult{Err: context.Cause(ctx)}
		}
	}
}

// The method `note` stores the error of the last commit, or nil if the commit has succeeded. While commits fail, only the first error is
// reported, because `write` repeats the commit.
func (c *committer) note(err error) {
	c.mu.Lock()
	first := err != nil && c.failing == nil
	c.failing = err
	c.mu.Unlock()
	if first {
		c.fault(err)
	}
}

func (c *committer) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failing
}

// The method `commit` writes a group of checkpoints. All checkpoints of a group share the lease's context.
func (c *committer) commit(_ context.Context, checkpoints []saga.Checkpoint) []saga.CommitResult {
	ctx, cancel := context.WithTimeout(c.lease.ctx, c.lease.length)
	defer cancel()
	return c.store.Commit(ctx, c.lease.clock.Now(), checkpoints)
}

func (c *committer) tip(runID string) (epoch, version int64, err error) {
	ctx, cancel := context.WithTimeout(c.lease.ctx, c.lease.length)
	defer cancel()
	return c.store.Tip(ctx, runID)
}
