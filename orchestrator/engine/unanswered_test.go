package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `silent` is a queue that never answers the first call of Claim, as if the connection were dead.
type silent struct {
	saga.Queue
	claims atomic.Int32
}

func (m *silent) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	if m.claims.Add(1) == 1 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m.Queue.Claim(ctx, c)
}

func TestACallToTheDatabaseThatIsNeverAnsweredHoldsUpNothing(t *testing.T) {
	database := open(t, storetest.SQLite(t))
	run := &saga.Run{
		ID: newID(), Workflow: "toy", WorkflowVersion: 1, Subject: "s", Input: []byte("{}"), HoldsSubject: true,
		State: saga.Pending, Version: 1, Steps: []saga.StepRow{{Name: "a", State: saga.StepPending}},
	}
	run.CreatedAt = time.Now()
	run.UpdatedAt, run.BudgetFrom, run.DueAt = run.CreatedAt, run.CreatedAt, &run.CreatedAt
	if err := database.Create(t.Context(), saga.NewRun{Run: run}); err != nil {
		t.Fatal(err)
	}
	b := serve(t, database, newWorld(), func(o *engine.Options) { o.Lease, o.Queue = time.Second, &silent{Queue: o.Queue} })
	b.until(t, run.ID, saga.Succeeded)
}

// The type `mutely` is a store that never answers the first call of Runs and the first call of Token.
type mutely struct {
	saga.Store
	engine.Tokens
	runs, tokens atomic.Int32
}

func (m *mutely) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	if m.runs.Add(1) == 1 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return m.Store.Runs(ctx, f)
}

func (m *mutely) Token(ctx context.Context, runID string) (string, error) {
	if m.tokens.Add(1) == 1 {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return m.Tokens.Token(ctx, runID)
}

func TestAQuestionOfAStepToTheDatabaseThatIsNeverAnsweredIsAskedAgain(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(ctx context.Context, _ int) error {
		_, err := saga.CallOf(ctx).Token(ctx)
		if errors.Is(err, saga.ErrNoToken) {
			return nil
		}
		return err
	}
	m := &mutely{}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		m.Store, m.Tokens = o.Store, o.Tokens
		o.Lease, o.Store, o.Tokens = time.Second, m, m
	})
	run := b.until(t, b.start(t, nil).ID, saga.Succeeded)
	want(t, "more than one call of Runs and of Token", fmt.Sprint(m.runs.Load() > 1, m.tokens.Load() > 1), "true true")
	want(t, "more than one attempt of the steps a and b", fmt.Sprint(run.Step("a").Attempts > 1, run.Step("b").Attempts > 1), "true true")
}

func TestAClaimWhoseAnswerIsLostIsHandedBack(t *testing.T) {
	w := newWorld()
	s := open(t, storetest.SQLite(t))
	lossy := &lostClaim{Queue: s}
	now := time.Now()
	run := &saga.Run{
		ID: newID(), Workflow: "toy", WorkflowVersion: 1, Subject: "s", Input: []byte("{}"), CreatedAt: now, UpdatedAt: now,
		BudgetFrom: now, DueAt: &now, State: saga.Pending, HoldsSubject: true, Version: 1,
		Steps: []saga.StepRow{{Name: "a", State: saga.StepPending}},
	}
	if err := s.Create(t.Context(), saga.NewRun{Run: run}); err != nil {
		t.Fatal(err)
	}
	b := serve(t, s, w, func(o *engine.Options) { o.Queue = lossy })
	b.until(t, run.ID, saga.Succeeded)
	want(t, "lost", lossy.lost, true)
}

// lostClaim is a queue that loses the answer when the method Claim takes a run for the first time.
type lostClaim struct {
	saga.Queue
	lost bool
}

func (l *lostClaim) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	ids, err := l.Queue.Claim(ctx, c)
	if len(ids) > 0 && !l.lost {
		l.lost = true
		return nil, errors.New("the connection broke")
	}
	return ids, err
}
