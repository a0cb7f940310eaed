package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// The method `joined` waits until the engine executes new runs.
func (b *bench) joined(t *testing.T) {
	t.Helper()
	b.until(t, b.start(t, nil).ID, saga.Succeeded)
}

func TestARunThatItsReplicaBeganAtOnceIsTakenOver(t *testing.T) {
	w := newWorld()
	path := storetest.SQLite(t)
	dying := &mortal{}
	dead := serve(t, open(t, path), w, func(o *engine.Options) { dying.Queue = o.Queue; o.Lease, o.Queue = shortLease, dying })
	dead.joined(t)
	hang := make(chan struct{})
	w.mu.Lock()
	w.after["do b"] = func(_ context.Context, attempt int) error {
		if attempt == 1 {
			<-hang
		}
		return nil
	}
	w.mu.Unlock()
	t.Cleanup(func() { close(hang) })
	run := dead.start(t, nil)
	want(t, "leased at acceptance", run.Replica != "", true)
	dying.dead.Store(true)
	alive := serve(t, open(t, path), w, nil)
	run = alive.until(t, run.ID, saga.Succeeded)
	want(t, "epoch", run.Epoch, int64(2))
}

// The type `mortal` is a queue whose methods Join and Renew fail while the field `dead` is true.
type mortal struct {
	saga.Queue
	dead atomic.Bool
}

func (m *mortal) Join(ctx context.Context, replica string, until time.Time) (time.Time, error) {
	if m.dead.Load() {
		return time.Time{}, errors.New("dead")
	}
	return m.Queue.Join(ctx, replica, until)
}

func (m *mortal) Renew(ctx context.Context, replica string, now, until time.Time) (saga.Renewal, error) {
	if m.dead.Load() {
		return saga.Renewal{}, errors.New("dead")
	}
	return m.Queue.Renew(ctx, replica, now, until)
}

// The method `late` stores an action even if the run's state does not allow the action. The API stores such an action if the run
// ends during the request.
func (b *bench) late(t *testing.T, id string, name saga.ActionName) {
	t.Helper()
	now := b.Clock.Now()
	if err := b.store.AddAction(t.Context(), now, saga.Action{RunID: id, Name: name, Who: "op", At: now}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		v, err := b.store.Actions(t.Context(), id)
		r, err2 := b.store.Run(t.Context(), id)
		return err == nil && err2 == nil && len(v) == 0 && r.Replica == ""
	})
}

func TestAnActionThatComesAfterTheEndChangesNothing(t *testing.T) {
	w := newWorld()
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	show := func(id string) string {
		r, err := b.store.Run(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r.State, r.Reason, r.EndedAt, r.DueAt, r.HoldsSubject, r.Rechecks)
	}
	succeeded := b.until(t, b.start(t, nil).ID, saga.Succeeded).ID
	w.mu.Lock()
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	w.mu.Unlock()
	compensated := b.until(t, b.start(t, nil).ID, saga.Compensated).ID
	for id, name := range map[string]saga.ActionName{succeeded: saga.Hold, compensated: saga.Retry} {
		before, calls := show(id), len(w.calls())
		b.late(t, id, name)
		want(t, "the run after "+string(name), show(id), before)
		want(t, "calls", len(w.calls()), calls)
		all := kinds(t, b.store, id)
		want(t, "last event", all[len(all)-1], saga.EventAction)
	}
}

func TestAnActionDoesNotBringARecheckForward(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { return fmt.Errorf("%w: %w", errLost, errRefused) }
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		o.Workflows = []*saga.Definition{must(saga.Define(lossy(w.workflow())))}
	})
	run := b.until(t, b.start(t, nil).ID, saga.Compensated)
	b.late(t, run.ID, saga.Hold)
	after, err := b.store.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "rechecks to come, due", fmt.Sprintln(after.Rechecks, after.DueAt), fmt.Sprintln(3, run.DueAt))
}

func TestNothingIsSentAnyMoreWhenRunsAreHandedBack(t *testing.T) {
	w := newWorld()
	entered, hang := make(chan context.Context, 1), make(chan struct{})
	s := open(t, storetest.SQLite(t))
	var call context.Context
	leaving := &leaveHook{Queue: s, leave: func() {
		if call.Err() == nil {
			t.Error("the replica leaves before its call is cancelled: another replica can now execute the run")
		}
	}}
	b := serve(t, s, w, func(o *engine.Options) { o.Queue = leaving })
	b.joined(t)
	w.mu.Lock()
	w.hooks["do a"] = func(ctx context.Context, _ int) error { entered <- ctx; <-hang; return nil }
	w.mu.Unlock()
	t.Cleanup(func() { close(hang) })
	run := b.start(t, nil)
	call = <-entered
	b.stop() // the grace period ends before the call
	left, err := s.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "handed back", left.Replica, "")
}

// leaveHook is a queue that calls the function `leave` before the replica leaves.
type leaveHook struct {
	saga.Queue
	leave func()
}

func (l *leaveHook) Leave(ctx context.Context, replica string, now time.Time) error {
	l.leave()
	return l.Queue.Leave(ctx, replica, now)
}

func TestARunThatItsReplicasHaveSurvivedIsNotHeldForLong(t *testing.T) {
	w := newWorld()
	cut := &mortal{}
	attempts := make(chan int, 9)
	w.hooks["do a"] = func(ctx context.Context, attempt int) error {
		attempts <- attempt
		if attempt <= 3 {
			<-ctx.Done()
			cut.dead.Store(false)
		}
		return ctx.Err()
	}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		cut.Queue, o.Lease = o.Queue, 500*time.Millisecond
		o.Queue = cut
	})
	run := b.start(t, nil)
	for n := range 3 {
		want(t, "attempt", <-attempts, n+1)
		cut.dead.Store(true) // the database is unreachable until the lease has ended
	}
	run = b.until(t, run.ID, saga.Succeeded)
	events, err := b.store.Events(t.Context(), run.ID, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(events, func(e saga.Event) bool { return e.Kind == saga.EventAction })
	if i < 1 || events[i-1].Failure == nil || events[i-1].Failure.Code != "taken-over-too-often" ||
		!strings.HasPrefix(events[i].Who, "replica ") {
		t.Errorf("no replica has retried the run that was held: %+v", events)
	}
}

func TestAReplicaWhoseClockIsWrongEndsNoLease(t *testing.T) {
	w := newWorld()
	database := storetest.PostgreSQL(t)
	s := open(t, database)
	if _, err := s.Join(t.Context(), "healthy", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := serve(t, open(t, database), w, func(o *engine.Options) {
		o.Clock = engine.NewClock(func() time.Time { return time.Now().Add(time.Hour) })
	})
	waitFor(t, func() bool { return b.start(t, nil).Replica != "" })
	if _, err := s.Renew(t.Context(), "healthy", time.Now(), time.Now().Add(time.Minute)); err != nil {
		t.Error("the lease of another replica:", err)
	}
}

func TestWaitingForLongIsNoTakeOver(t *testing.T) {
	w := newWorld()
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	now := time.Now()
	retry := now.Add(-time.Second)
	down := &saga.Failure{Code: "toy", Detail: "down", Unavailable: true}
	run := &saga.Run{
		ID: newID(), Workflow: "toy", WorkflowVersion: 1, Subject: "s", Input: []byte("{}"), CreatedAt: now, UpdatedAt: now,
		BudgetFrom: now, DueAt: &now, State: saga.Waiting, HoldsSubject: true, TakeOvers: 40, Version: 1,
		Reason: &saga.Reason{Kind: saga.WaitsForUpstream, Failure: *down, Until: &retry},
		Steps:  []saga.StepRow{{Name: "a", State: saga.StepPending, Attempts: 40, RetryAt: &retry, Error: down}},
	}
	w.hooks["do a"] = func(context.Context, int) error { return errNeedsPerson }
	if err := b.store.Create(t.Context(), saga.NewRun{Run: run}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		r, err := b.store.Run(t.Context(), run.ID)
		return err == nil && r.Reason != nil && r.Reason.Kind == saga.WaitsForOperator
	})
	after, err := b.store.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "take-overs after forty leases and no death", after.TakeOvers, 0)
}

func TestARunWhoseEndCannotBeStoredKeepsItsSubject(t *testing.T) {
	w := newWorld()
	s := open(t, storetest.SQLite(t))
	picky := &pickyStore{Store: s}
	b := serve(t, s, w, func(o *engine.Options) { o.Store = picky })
	run := b.until(t, b.start(t, nil).ID, saga.Waiting)
	want(t, "reason, ended, holds its subject", fmt.Sprintln(run.Reason.Code, run.EndedAt, run.HoldsSubject),
		"not-storable <nil> true\n")
	picky.pleased.Store(true)
	if _, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "mended"}); err != nil {
		t.Fatal(err)
	}
	b.until(t, run.ID, saga.Succeeded)
}

// pickyStore refuses every checkpoint that ends a run, as long as the field `pleased` is false.
type pickyStore struct {
	saga.Store
	pleased atomic.Bool
}

func (p *pickyStore) Commit(ctx context.Context, now time.Time, cps []saga.Checkpoint) []saga.CommitResult {
	if cps[0].Run.EndedAt != nil && !p.pleased.Load() {
		return []saga.CommitResult{{Err: saga.ErrBadRow}}
	}
	return p.Store.Commit(ctx, now, cps)
}

func TestSkippingAStepOfARunBehindAnotherLeavesItWaiting(t *testing.T) {
	w := newWorld()
	gate := make(chan struct{})
	w.hooks["do a"] = func(context.Context, int) error { <-gate; return nil }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	same := func(q *saga.Request) { q.Subject = "m:customer" }
	first, second := b.start(t, same), b.start(t, same)
	if _, err := b.Act(t.Context(), saga.Action{RunID: second.ID, Name: saga.SkipStep, Step: "extra", Who: "op"}); err != nil {
		t.Fatal(err)
	}
	run := b.until(t, second.ID, saga.Waiting)
	waitFor(t, func() bool {
		r, err := b.store.Run(t.Context(), second.ID)
		run = r
		return err == nil && r.Step("extra").State == saga.StepSkipped
	})
	want(t, "state, waits for", fmt.Sprintln(run.State, run.Reason != nil, run.WaitsFor), fmt.Sprintln(saga.Waiting, true, first.ID))
	close(gate)
	b.until(t, second.ID, saga.Succeeded)
}

// An expired run is given up, although its predecessor is live. A third run, which has waited for the expired run, then waits for
// the predecessor of the expired run.
func TestARunBehindAnotherIsGivenUpInTime(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			entered, gate := make(chan struct{}), make(chan struct{})
			enter := sync.OnceFunc(func() { close(entered) })
			w.hooks["do a"] = func(context.Context, int) error { enter(); <-gate; return nil }
			clock := &stepped{now: time.Now()}
			b := serve(t, open(t, database(t)), w, func(o *engine.Options) {
				o.Clock, o.Lease, o.GiveUpAfter = engine.NewClock(clock.Now), 100*time.Hour, time.Hour
			})
			same := func(q *saga.Request) { q.Subject = "m:customer" }
			first, second := b.start(t, same), b.start(t, same)
			<-entered // the first run now has a call in flight; otherwise, it would be given up, too
			clock.step(50 * time.Minute)
			third := b.start(t, same)
			clock.step(11 * time.Minute)
			run := b.until(t, second.ID, saga.Compensated)
			want(t, "cause, calls", fmt.Sprintln(run.Cause.Code, w.calls()), "deadline-exceeded [do a]\n")
			for _, r := range run.Steps {
				want(t, "attempts of "+r.Name, r.Attempts, 0)
			}
			run = must(b.store.Run(t.Context(), third.ID))
			want(t, "the third run", fmt.Sprintln(run.State, run.WaitsFor), fmt.Sprintln(saga.Waiting, first.ID))
			close(gate)
			b.until(t, third.ID, saga.Succeeded)
		})
	}
}

func TestAnUndoSkippedWhileItIsRefusedIsNotAskedAgain(t *testing.T) {
	w := newWorld()
	entered, gate := make(chan struct{}), make(chan struct{})
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	w.hooks["undo b"] = func(context.Context, int) error { close(entered); <-gate; return errRefused }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.start(t, nil)
	<-entered
	if _, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.SkipStep, Step: "b", Who: "op"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { v, err := b.store.Actions(t.Context(), run.ID); return err == nil && len(v) == 0 })
	close(gate)
	run = b.until(t, run.ID, saga.Compensated, saga.Stuck)
	want(t, "state, left behind", fmt.Sprintln(run.State, len(run.LeftBehind)), fmt.Sprintln(saga.Compensated, 1))
}
