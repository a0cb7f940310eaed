package engine_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `turnstile` makes the first step of each run wait until the test lets the step continue, and records the merchants of
// these runs.
type turnstile struct {
	mu    sync.Mutex
	whose []string
	next  chan struct{}
}

func (ts *turnstile) pass(ctx context.Context, _ int) error {
	ts.mu.Lock()
	ts.whose = append(ts.whose, saga.CallOf(ctx).Merchant)
	ts.mu.Unlock()
	select {
	case <-ts.next:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (ts *turnstile) begun() []string {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return slices.Clone(ts.whose)
}

func TestLoadOfOneMerchantLeavesAnExecutorToTheNext(t *testing.T) {
	w := newWorld()
	gate := &turnstile{next: make(chan struct{})}
	w.hooks["do a"] = gate.pass
	// The poll interval is long, so the engine must take the next run without waiting for a poll.
	e := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) { o.Executors, o.Poll = 2, time.Hour })
	for range 20 {
		e.start(t, func(q *saga.Request) { q.Merchant = "bulk" })
	}
	last := e.start(t, func(q *saga.Request) { q.Merchant = "one" })
	waitFor(t, func() bool { return len(gate.begun()) == 2 })
	gate.next <- struct{}{}
	waitFor(t, func() bool { return len(gate.begun()) == 3 })
	want(t, "who begins", gate.begun(), []string{"bulk", "bulk", "one"})
	close(gate.next)
	e.until(t, last.ID, saga.Succeeded)
	waitFor(t, func() bool { return len(gate.begun()) == 21 })
}

func TestANewRunDoesNotGetPastThoseThatWait(t *testing.T) {
	w := newWorld()
	gate := &turnstile{next: make(chan struct{})}
	w.hooks["do a"] = gate.pass
	queue := &heldClaims{next: make(chan struct{})}
	e := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		queue.Queue, o.Queue, o.Executors = o.Queue, queue, 1
	})
	first := e.start(t, func(q *saga.Request) { q.Merchant = "bulk" })
	e.start(t, func(q *saga.Request) { q.Merchant = "one" })
	queue.hold()
	close(gate.next)
	e.until(t, first.ID, saga.Succeeded) // an executor is free now, but the replica has not taken the waiting runs yet
	e.start(t, func(q *saga.Request) { q.Merchant = "bulk" })
	close(queue.next)
	waitFor(t, func() bool { return len(gate.begun()) == 3 })
	want(t, "who begins", gate.begun(), []string{"bulk", "one", "bulk"})
}

// heldClaims is a queue. After a call of the method `hold`, Claim blocks until the channel `next` is closed.
type heldClaims struct {
	saga.Queue
	mu   sync.Mutex
	held bool
	next chan struct{}
}

func (h *heldClaims) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = true
}

func (h *heldClaims) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	h.mu.Lock()
	held := h.held
	h.mu.Unlock()
	if held {
		select {
		case <-h.next:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return h.Queue.Claim(ctx, c)
}
