package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// environment is what the steps of a run reach of the engine: a saga.Env.
//
// A re-check does not hold the subject of its run, which has ended: another run about the same subject may be at work
// beside it, or have succeeded since, and what the re-check finds may be that run's. So a re-check leaves what another run
// claims, and a run that begins waits for the re-checks about its subject. Each asks after it has stored that by which the
// other sees it: the re-check its intent, the run that it lives. Whoever asks first, at least one sees the other.
type environment struct {
	engine  *Engine
	subject string
	token   string // of the run's user; empty: the store has it
}

// Token implements [saga.Env].
func (v environment) Token(ctx context.Context, runID string) (string, error) {
	if v.token != "" {
		return v.token, nil
	}
	return v.engine.Tokens.Token(ctx, runID)
}

// Rechecking implements [saga.Env].
func (v environment) Rechecking(ctx context.Context, _ string) (by string, err error) {
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
		theirs, err := v.engine.claims(r, claim)
		if theirs && r.ID != runID {
			by.Live = r.ID
		}
		return by.Live == "", err
	})
	if err != nil || by.Live != "" {
		return by, err
	}
	err = v.eachRun(ctx, saga.Filter{Subject: v.subject, State: saga.Succeeded}, func(r *saga.Run) (_ bool, err error) {
		by.Succeeded, err = v.engine.claims(r, claim)
		return !by.Succeeded, err
	})
	return by, err
}

// claims reports whether a run claims an effect. A run of a workflow that this release does not know claims everything about
// its subject.
func (e *Engine) claims(r *saga.Run, claim string) (bool, error) {
	d := e.workflows[r.Workflow]
	if d == nil {
		return true, nil
	}
	claims, err := d.Claims(r)
	return slices.Contains(claims, claim), err
}

// eachRun reads all runs that match, until one is enough.
func (v environment) eachRun(ctx context.Context, f saga.Filter, more func(*saga.Run) (bool, error)) error {
	const page = 100
	for f.Limit = page; ; {
		runs, err := v.engine.Store.Runs(ctx, f)
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
