package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Act stores an action. For a retry of a compensated run, Act starts a successor instead: see [saga.Actions].
func (e *Engine) Act(ctx context.Context, v saga.Action) (successor *saga.Run, err error) {
	run, err := e.Store.Run(ctx, v.RunID)
	if err != nil {
		return nil, err
	}
	if v.IfVersion != 0 && run.Version != v.IfVersion {
		return nil, saga.ErrChanged
	}
	if err := run.Accepts(v); err != nil {
		return nil, err
	}
	if v.Name == saga.Retry && run.State == saga.Compensated {
		return e.startRetry(ctx, run, v)
	}
	return nil, e.storeAction(ctx, v)
}

// storeAction stores an action and wakes the executor of its run.
func (e *Engine) storeAction(ctx context.Context, v saga.Action) error {
	v.At = e.Clock.Now()
	if err := e.Store.AddAction(ctx, v.At, v); err != nil {
		return fmt.Errorf("storing the action: %w", err)
	}
	e.poke(v.RunID)
	e.lookForWork()
	return nil
}

// startRetry starts a new run with the order of a compensated run. The new run has a new id and takes over the idempotency key. The
// user's token was deleted, so steps that need the token are skipped.
func (e *Engine) startRetry(ctx context.Context, run *saga.Run, v saga.Action) (*saga.Run, error) {
	if e.NoRestart != "" {
		return nil, &saga.RefusedError{Action: v.Name, Why: e.NoRestart}
	}
	d := e.workflows[run.Workflow]
	if d == nil {
		return nil, &saga.RefusedError{Action: v.Name, Why: "this release has no code for workflow " + run.Workflow}
	}
	q, err := d.Retry(ctx, run, e.NewID())
	if err != nil {
		return nil, err
	}
	q.Who, q.Why = v.Who, v.Why
	successor, err := e.Start(ctx, q)
	if errors.Is(err, saga.ErrRetried) {
		return nil, &saga.RefusedError{Action: v.Name, Why: saga.ErrRetried.Error()}
	}
	if later, ok := errors.AsType[*saga.AlreadySucceededError](err); ok {
		return nil, &saga.RefusedError{Action: v.Name, Why: later.Error()}
	}
	return successor, err
}
