package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `environment` implements saga.Env for the attempts of a run.
//
// A run that is re-checked has ended, and no longer holds its subject. Meanwhile, another run with the same subject may be
// executing or may have succeeded. The re-check may find the effect of this other run. Therefore a re-check does not remove an
// effect that another run claims. A new run waits until the ended runs with the same subject are settled. A re-check stores its
// intent before it looks for other runs. A new run is stored before it looks for re-checks. Therefore the re-check finds the new
// run, or the new run finds the re-check.
//
// One succeeded run may claim an effect, and another succeeded run with the same subject may claim an opposite effect. In this case, the
// run that ended last decides whether the effect stays. Therefore a run that executes later must also have a later end time, although the
// clocks of replicas may differ. For this purpose, a new run waits until this replica's clock has passed the end time of each succeeded run
// with the same subject.
type environment struct {
	engine  *Engine
	subject string
	handed  int    // Run.Handed of the run: the number of the password that Password returns
	token   string // the user's token; if empty, Token reads the token from the store
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

// Password implements [saga.Env].
func (v environment) Password(runID string) (string, error) {
	return v.engine.passwords.of(runID, v.handed, v.engine.Clock.Now())
}

// Unsettled implements [saga.Env].
func (v environment) Unsettled(ctx context.Context) (by string, err error) {
	now := v.engine.Clock.Now()
	find := func(r *saga.Run) (more bool) {
		if r.Unsettled(now, v.engine.LateWindow) {
			by = r.ID
		}
		return by == ""
	}
	err = v.eachRun(ctx, saga.Filter{Subject: v.subject, AwaitsRecheck: true}, func(r *saga.Run) (bool, error) { return find(r), nil })
	if err != nil || by != "" {
		return by, err
	}
	err = v.eachSucceeded(ctx, func(r *saga.Run) bool {
		if r.EndedAt.After(now) { // the clock of the replica that ended r is ahead; a run that begins now must end after r
			by = r.ID
		}
		return by == "" && find(r)
	})
	return by, err
}

// Claimed implements [saga.Env].
func (v environment) Claimed(ctx context.Context, runID, claim string) (by saga.Claimed, err error) {
	claims := func(r *saga.Run) bool { return v.engine.claims(r, claim, (*saga.Definition).Claims) }
	opposes := func(r *saga.Run) bool { return v.engine.claims(r, claim, (*saga.Definition).Opposes) }
	err = v.eachRun(ctx, saga.Filter{Subject: v.subject, Live: true}, func(r *saga.Run) (bool, error) {
		if r.ID != runID && (claims(r) || opposes(r)) {
			by.Live = r.ID
		}
		return by.Live == "", nil
	})
	if err != nil || by.Live != "" {
		return by, err
	}
	var ended time.Time
	err = v.eachSucceeded(ctx, func(r *saga.Run) bool {
		if claimed := claims(r); (claimed || opposes(r)) && r.EndedAt.After(ended) {
			by.Succeeded, ended = claimed, *r.EndedAt
		}
		return true
	})
	return by, err
}

// eachSucceeded calls the function `more` for each succeeded run with the same subject, until `more` returns false. The run with the
// greatest id is first. It is not always the run that ended last, because a run gets its id before it is accepted.
func (v environment) eachSucceeded(ctx context.Context, more func(*saga.Run) bool) error {
	succeeded := saga.Filter{Subject: v.subject, States: []saga.RunState{saga.Succeeded}}
	return v.eachRun(ctx, succeeded, func(r *saga.Run) (bool, error) { return more(r), nil })
}

// The method `claims` returns the result of the function `of`, which is Claims or Opposes. Claims reports whether a run claims an
// effect. Opposes reports whether the run claims an opposite of the effect. If this release cannot decode the run, or does not
// know the run's workflow, `claims` returns true.
func (e *Engine) claims(r *saga.Run, effect string, of func(*saga.Definition, *saga.Run, string) (bool, error)) bool {
	d := e.workflows[r.Workflow]
	if d == nil {
		return true
	}
	claims, err := of(d, r, effect)
	if err != nil {
		e.OnFault(err)
	}
	return claims || err != nil
}

// eachRun calls the function `more` for each run that matches the filter, until `more` returns false.
func (v environment) eachRun(ctx context.Context, f saga.Filter, more func(*saga.Run) (bool, error)) error {
	const page = 100
	for f.Limit = page; ; {
		bounded, cancel := v.engine.patiently(ctx)
		runs, err := v.engine.Store.Runs(bounded, f)
		cancel()
		if err != nil {
			return fmt.Errorf("reading the runs with subject %q: %w", f.Subject, err)
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
