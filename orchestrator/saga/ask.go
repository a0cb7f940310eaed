package saga

import (
	"context"
	"errors"
	"fmt"
)

// Ask stores a verb; who works on the run consumes it at the next checkpoint. Asking again is harmless. It returns
// RefusedError where the run's state does not allow it, ErrNotFound, or the successor that a retry of a compensated run
// made (nil for all else).
func (e *Engine) Ask(ctx context.Context, v Verb) (successor *Run, err error) {
	run, err := e.Store.Run(ctx, v.RunID)
	if err != nil {
		return nil, err
	}
	if err := run.accepts(v); err != nil {
		return nil, err
	}
	if v.Name == Retry && run.State == Compensated {
		return e.succeed(ctx, run, v)
	}
	return nil, e.hand(ctx, v)
}

// hand stores a verb for whoever works on its run.
func (e *Engine) hand(ctx context.Context, v Verb) error {
	v.At = e.Clock.Now()
	if err := e.Store.AddVerb(ctx, v.At, v); err != nil {
		return fmt.Errorf("storing the verb: %w", err)
	}
	e.poke(v.RunID)
	e.lookForWork()
	return nil
}

// succeed starts the run that repeats a compensated one: the same input under a new id, and the same key, which moves
// to it. The user's token is gone, so a step that wants it is skipped.
func (e *Engine) succeed(ctx context.Context, run *Run, v Verb) (*Run, error) {
	d := e.workflows[run.Workflow]
	if d == nil {
		return nil, &RefusedError{v.Name, "this release knows no workflow " + run.Workflow}
	}
	id := e.NewID()
	input, subject, err := d.renew(run.Input, id)
	if err != nil {
		return nil, err
	}
	successor, err := e.Start(ctx, Request{
		ID: id, Workflow: run.Workflow, Merchant: run.Merchant, Cloud: run.Cloud, Subject: subject,
		User: run.User, Plan: run.Plan, OnFailure: run.OnFailure, Input: input,
		Key: run.Key, Fingerprint: run.Fingerprint, RetryOf: run.ID, Who: v.Who, Why: v.Why,
	})
	if errors.Is(err, ErrRetried) || errors.Is(err, ErrAlreadySucceeded) {
		return nil, &RefusedError{v.Name, err.Error()}
	}
	return successor, err
}
