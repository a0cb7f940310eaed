package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `locked` records passwords. Its method `do` is a hook for a step that needs the password of the run.
type locked struct {
	mu   sync.Mutex
	used []string
}

func (l *locked) do(ctx context.Context, _ int) error {
	password, err := saga.CallOf(ctx).Password()
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.used = append(l.used, password)
	}
	return err
}

func TestAPasswordReachesTheStepThatNeedsIt(t *testing.T) {
	w, l := newWorld(), &locked{}
	w.hooks["do a"] = l.do
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.start(t, func(q *saga.Request) { q.Password = "first" })
	b.until(t, run.ID, saga.Succeeded)
	want(t, "used passwords", l.used, []string{"first"})
}

// The replica that received the password has ended, so the run waits for the password. The replica that receives the password again executes
// the run.
func TestAPasswordIsHandedOverToARunThatHasLostIt(t *testing.T) {
	w, l, path := newWorld(), &locked{}, storetest.SQLite(t)
	w.hooks["do a"] = l.do
	first, second := serve(t, open(t, path), w, nil), serve(t, open(t, path), w, nil)
	run := first.start(t, nil) // without a password, as after the end of the replica that received it
	run = first.until(t, run.ID, saga.Waiting)
	want(t, "the run waits for the password", run.AwaitsPassword(), true)
	version := run.Version

	var all sync.WaitGroup
	var mu sync.Mutex
	took := 0
	for i := range 40 { // a call that comes too late must not remove the password that another call has handed over
		e := []*bench{first, second}[i%2]
		all.Go(func() {
			err := e.HandOver(t.Context(), run.ID, "again")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				took++
			} else if !errors.Is(err, saga.ErrChanged) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	run = second.until(t, run.ID, saga.Succeeded)
	want(t, "replicas that took the run", took, 1)
	want(t, "used passwords", l.used, []string{"again"})
	want(t, "attempts", run.Step("a").Attempts, 2)
	want(t, "the run was written", run.Version > version, true)
	for id, wanted := range map[string]error{run.ID: saga.ErrChanged, newID(): saga.ErrNotFound} {
		if err := second.HandOver(t.Context(), id, "late"); !errors.Is(err, wanted) {
			t.Errorf("got %v, want %v", err, wanted)
		}
	}
}

// A password can be used for a limited time.
func TestAPasswordIsForgotten(t *testing.T) {
	w, l := newWorld(), &locked{}
	attempts := 0
	w.hooks["do a"] = func(ctx context.Context, attempt int) error {
		if attempts = attempt; attempt == 1 {
			return errDown
		}
		return l.do(ctx, attempt)
	}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) { o.KeepPassword = time.Millisecond })
	run := b.start(t, func(q *saga.Request) { q.Password = "first" })
	waitFor(t, func() bool {
		r, err := b.store.Run(t.Context(), run.ID)
		return err == nil && r.AwaitsPassword()
	})
	want(t, "attempts", attempts, 2)
	want(t, "used passwords", len(l.used), 0)
}

// The replica that received a password has no free executor, so another replica executes the run, without the password. When the first replica
// has a free executor, it takes the run.
func TestAReplicaTakesTheRunWhosePasswordItHolds(t *testing.T) {
	w, l, path := newWorld(), &locked{}, storetest.SQLite(t)
	w.hooks["do a"] = l.do
	blocker, free := newID(), make(chan struct{})
	w.hooks["do b"] = func(ctx context.Context, _ int) error {
		if saga.CallOf(ctx).RunID == blocker {
			<-free
		}
		return nil
	}
	holder := serve(t, open(t, path), w, func(o *engine.Options) { o.Executors = 1 })
	holder.start(t, func(q *saga.Request) { q.ID, q.Password = blocker, "zero" })
	other := serve(t, open(t, path), w, nil)
	run := holder.start(t, func(q *saga.Request) { q.Password = "first" })
	waitFor(t, func() bool {
		r, err := other.store.Run(t.Context(), run.ID)
		return err == nil && r.AwaitsPassword()
	})
	close(free)
	holder.until(t, run.ID, saga.Succeeded)
	want(t, "used passwords", l.used, []string{"zero", "first"})
}
