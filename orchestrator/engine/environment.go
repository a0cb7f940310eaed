package engine

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// environment implements saga.Env for the attempts of a run.
//
// A re-checked run has ended and no longer holds its subject. Another run about the same subject may be executing or may have
// succeeded, and the effect that the re-check finds may be that run's. So a re-check does not remove what another run claims, and a
// run that begins waits for re-checks about its subject. The two cannot miss each other: the re-check's intent and the new run are
// both stored before either looks for the other.
type environment struct {
	engine  *Engine
	subject string
	token   string // of the run's user; if empty, Token reads it from the store
}

// Token implements [saga.Env].
func (v environment) Token(ctx context.Context, runID string) (string, error) {
	if v.token != "" {
		return v.token, nil
	}
	ctx, cancel := v.engine.patiently(ctx)
	defer cancel()
	return v.engine.Tokens.Token(ctx, runID)
}

// Rechecking implements [saga.Env].
func (v environment) Rechecking(ctx context.Context) (by string, err error) {
	now := v.engine.Clock.Now()
	err = v.eachRun(ctx, saga.Filter{Subject: v.subject, AwaitsRecheck: true}, func(r *saga.Run) (bool, error) {
		if r.Rechecking(now, v.engine.LateWindow) {
			by = r.ID
		}
		return by == "", nil
	})
	return by, err
}

// Claimed implements [saga.Env].
func (v environment) Claimed(ctx context.Context, runID, claim string) (by saga.Claimed, err error) {
	err = v.eachRun(ctx, saga.Filter{Subject: v.subject, Live: true}, func(r *saga.Run) (bool, error) {
		if r.ID != runID && v.engine.claims(r, claim) {
			by.Live = r.ID
		}
		return by.Live == "", nil
	})
	if err != nil || by.Live != "" {
		return by, err
	}
	err = v.eachRun(ctx, saga.Filter{Subject: v.subject, State: saga.Succeeded}, func(r *saga.Run) (bool, error) {
		by.Succeeded = v.engine.claims(r, claim)
		return !by.Succeeded, nil
	})
	return by, err
}

// claims reports whether a run claims an effect. A run that cannot be decoded, or whose workflow this release does not know, claims
// every effect.
func (e *Engine) claims(r *saga.Run, effect string) bool {
	d := e.workflows[r.Workflow]
	if d == nil {
		return true
	}
	claims, err := d.Claims(r, effect)
	if err != nil {
		e.OnFault(err)
	}
	return claims || err != nil
}

// eachRun calls more with each run that matches, until more returns false.
func (v environment) eachRun(ctx context.Context, f saga.Filter, more func(*saga.Run) (bool, error)) error {
	const page = 100
	for f.Limit = page; ; {
		bounded, cancel := v.engine.patiently(ctx)
		runs, err := v.engine.Store.Runs(bounded, f)
		cancel()
		if err != nil {
			return fmt.Errorf("reading the runs about the same subject: %w", err)
		}
		for _, r := range runs {
			if again, err := more(r); err != nil || !again {
				return err
			}
		}
		if len(runs) < page {
			return nil
		}
		f.Before = runs[page-1].ID
	}
}
