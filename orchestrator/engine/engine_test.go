package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestARunGoesThroughItsStepsAndGathersTheirOutputs(t *testing.T) {
	w := newWorld()
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.until(t, b.start(t, nil).ID, saga.Succeeded)
	want(t, "what exists", w.present(), []string{"a", "b", "c", "extra", "role x", "role y"})
	d, _ := saga.Define(w.workflow())
	result, err := d.Result(run)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "result", string(result), `{"roles":["x","y"],"a":"made","b":"made too"}`)
	want(t, "first call", w.calls()[0], "do a")
	want(t, "last call but extra", slices.Index(w.calls(), "do c") > slices.Index(w.calls(), "do role y"), true)
	events, err := b.store.Events(t.Context(), run.ID, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		want(t, "seq", e.Seq, int64(i+1))
	}
	want(t, "last event", events[len(events)-1].Kind, saga.EventRunSucceeded)
}

func TestASatisfiedStepSucceedsWithoutAnAttempt(t *testing.T) {
	w := newWorld()
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	hasA := func(q *saga.Request) { q.Input = state{HasA: true} }
	var undecided atomic.Bool
	w.hooks["do b"] = func(context.Context, int) error {
		if undecided.Load() {
			return errNeedsPerson
		}
		return nil
	}
	first := b.start(t, hasA)
	want(t, "a, as the run is accepted", first.Step("a").State, saga.StepSucceeded)
	b.until(t, first.ID, saga.Succeeded)
	undecided.Store(true)
	held := b.start(t, hasA)
	behind := b.start(t, func(q *saga.Request) { hasA(q); q.Subject = held.Subject })
	b.until(t, held.ID, saga.Waiting)
	want(t, "a, while the run waits for its turn", behind.Step("a").State, saga.StepPending)
	undecided.Store(false)
	if _, err := b.Act(t.Context(), saga.Action{RunID: held.ID, Name: saga.Retry, Who: "op", Why: "decided"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{first.ID, held.ID, behind.ID} {
		run := b.until(t, id, saga.Succeeded)
		row := run.Step("a")
		want(t, "a", fmt.Sprint(row.State, row.Attempts, string(row.Output), row.EndedAt != nil), "succeeded1true")
		events, err := b.store.Events(t.Context(), id, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "events of a", fmt.Sprint(about(events, "a")), "[step-succeeded]")
	}
	if slices.Contains(w.calls(), "do a") {
		t.Error("step a was called, although it is satisfied")
	}
}

func TestAStepWhoseSatisfiedPanicsIsDone(t *testing.T) {
	w := newWorld()
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		broken := w.workflow()
		broken.Steps[0].Satisfied = func(*state, time.Time) bool { panic("what?") }
		o.Workflows = []*saga.Definition{must(saga.Define(broken))}
	})
	b.until(t, b.start(t, nil).ID, saga.Succeeded)
	want(t, "calls of a", count(w.calls(), "do a"), 1)
}

func TestTheUsersTokenIsAtHandUntilTheRunIsReleased(t *testing.T) {
	w := newWorld()
	tokens := make(chan string, 2)
	w.hooks["do a"] = func(ctx context.Context, attempt int) error {
		token, _ := saga.CallOf(ctx).Token(ctx)
		tokens <- token
		if attempt == 1 {
			return errNeedsPerson
		}
		return nil
	}
	asked := &countedTokens{}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) { asked.Tokens = o.Tokens; o.Tokens = asked })
	run := b.start(t, func(q *saga.Request) { q.Token, q.TokenExpiresAt = "secret", time.Now().Add(time.Hour) })
	b.until(t, run.ID, saga.Waiting)
	if _, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "decided"}); err != nil {
		t.Fatal(err)
	}
	b.until(t, run.ID, saga.Succeeded)
	want(t, "tokens of the first and the second attempt", []string{<-tokens, <-tokens}, []string{"secret", "secret"})
	want(t, "times the store was asked", asked.times.Load(), int64(1))
}

func TestTheUsersTokenIsNotStoredForARunThatEndsAsItIsAccepted(t *testing.T) {
	w := newWorld()
	steps := w.workflow().Steps
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		satisfied := w.workflow()
		satisfied.Steps = steps[:1]
		o.Workflows = []*saga.Definition{must(saga.Define(satisfied))}
	})
	b.joined(t)
	run := b.start(t, func(q *saga.Request) {
		q.Input, q.Token, q.TokenExpiresAt = state{HasA: true}, "secret", time.Now().Add(time.Hour)
	})
	want(t, "state of the accepted run", run.State, saga.Succeeded)
	if token, err := b.store.Token(t.Context(), run.ID); !errors.Is(err, saga.ErrNoToken) {
		t.Errorf("the store has the token %q, %v", token, err)
	}
}

type countedTokens struct {
	engine.Tokens
	times atomic.Int64
}

func (c *countedTokens) Token(ctx context.Context, runID string) (string, error) {
	c.times.Add(1)
	return c.Tokens.Token(ctx, runID)
}

func about(events []saga.Event, step string) (kinds []saga.EventKind) {
	for _, e := range events {
		if e.Step == step {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

func TestAPermanentRefusalIsCompensatedInReverse(t *testing.T) {
	w := newWorld()
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.until(t, b.start(t, nil).ID, saga.Compensated)
	want(t, "what is left", w.present(), []string(nil))
	want(t, "cause", run.Cause.Step+" "+run.Cause.Detail, "c refused")
	want(t, "the last undo", w.calls()[len(w.calls())-1], "undo a")
	for _, o := range run.Objects {
		if o.RemovedAt == nil {
			t.Errorf("object %s is not marked as removed", o.ID)
		}
	}
	want(t, "rechecks to come", run.Rechecks, 0)
}

func TestATransientErrorIsRetriedAndALostAnswerLookedUp(t *testing.T) {
	w := newWorld()
	var lookedFirst []bool
	w.hooks["do a"] = func(ctx context.Context, attempt int) error {
		lookedFirst = append(lookedFirst, saga.CallOf(ctx).Look)
		switch attempt {
		case 1:
			return errBusy
		case 2:
			return errLost
		}
		return nil
	}
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.until(t, b.start(t, nil).ID, saga.Succeeded)
	want(t, "look first, by attempt", lookedFirst, []bool{false, false, true})
	want(t, "attempts and unknowns", []int{run.Step("a").Attempts, run.Step("a").Unknowns}, []int{3, 1})
}

func TestALateEffectIsFoundAndRemoved(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error {
		time.AfterFunc(200*time.Millisecond, func() { // the effect appears after the step was undone
			w.mu.Lock()
			defer w.mu.Unlock()
			w.things["b"] = true
		})
		return fmt.Errorf("%w: %w", errLost, errRefused)
	}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		o.Workflows = []*saga.Definition{must(saga.Define(lossy(w.workflow())))}
	})
	run := b.until(t, b.start(t, nil).ID, saga.Compensated)
	want(t, "what is left", w.present(), []string(nil))
	want(t, "rechecks to come", run.Rechecks, 3)
	if run.DueAt == nil || run.DueAt.Sub(*run.EndedAt) != 10*time.Minute {
		t.Errorf("due at %v, ended at %v: want ten minutes between", run.DueAt, run.EndedAt)
	}
	kinds := kinds(t, b.store, run.ID)
	if !slices.Contains(kinds, saga.EventLateEffect) {
		t.Errorf("no late effect among the events: %v", kinds)
	}
}

func TestARecheckRemovesWhatAppearsAfterTheEnd(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { return fmt.Errorf("%w: %w", errLost, errRefused) }
	var rechecks []bool // for each undo of b, oldest first: whether a re-check called it
	w.hooks["undo b"] = func(ctx context.Context, _ int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		rechecks = append(rechecks, saga.CallOf(ctx).Kind == saga.CallRecheck)
		return nil
	}
	clock := &stepped{now: time.Now()}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		o.Workflows = []*saga.Definition{must(saga.Define(lossy(w.workflow())))}
		o.Clock, o.Lease, o.LateWindow = engine.NewClock(clock.Now), 100*time.Hour, time.Millisecond
	})
	id := b.start(t, nil).ID
	go func() {
		for range 200 { // step the clock past the end of the late window
			clock.step(time.Millisecond)
			time.Sleep(5 * time.Millisecond)
		}
	}()
	b.until(t, id, saga.Compensated)
	w.mu.Lock()
	w.things["b"] = true
	w.mu.Unlock()
	for want := range 3 {
		clock.step([]time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}[want])
		waitFor(t, func() bool {
			r, err := b.store.Run(t.Context(), id)
			return err == nil && r.Rechecks == 2-want && r.Replica == ""
		})
	}
	want(t, "what is left", w.present(), []string(nil))
	run, _ := b.store.Run(t.Context(), id)
	want(t, "state, due", fmt.Sprintln(run.State, run.DueAt), "compensated <nil>\n")
	slices.Reverse(rechecks)
	want(t, "undos of re-checks: the one that found something", slices.Index(rechecks, false), 1)
	want(t, "late effects removed", count(kinds(t, b.store, id), saga.EventLateEffect), 1)
}

func TestTwoRunsAboutOneSubjectGoOneAfterAnother(t *testing.T) {
	w := newWorld()
	gate := make(chan struct{})
	w.hooks["do a"] = func(ctx context.Context, _ int) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return nil
	}
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	same := func(q *saga.Request) { q.Subject = "m:customer" }
	first, second, third := b.start(t, same), b.start(t, same), b.start(t, same)
	want(t, "second waits for", second.State, saga.Waiting)
	want(t, "second waits for", second.WaitsFor, first.ID)
	want(t, "third waits for", third.WaitsFor, second.ID)
	gate <- struct{}{}
	b.until(t, first.ID, saga.Succeeded)
	gate <- struct{}{}
	b.until(t, second.ID, saga.Succeeded)
	gate <- struct{}{}
	b.until(t, third.ID, saga.Succeeded)
}

func TestAnotherReplicaFinishesWhatADeadOneBegan(t *testing.T) {
	w := newWorld()
	path := storetest.SQLite(t)
	hang := make(chan struct{})
	w.after["do b"] = func(ctx context.Context, attempt int) error {
		if attempt == 1 {
			<-hang // the effect exists, but the answer is never returned
		}
		return nil
	}
	t.Cleanup(func() { close(hang) })
	dead := serve(t, open(t, path), w, func(o *engine.Options) { o.Lease, o.Queue = shortLease, &mute{Queue: o.Queue} })
	var run *saga.Run
	waitFor(t, func() bool { run = dead.start(t, nil); return run.Replica != "" }) // accepted under a lease
	waitFor(t, func() bool { return slices.Contains(w.calls(), "do b") })
	alive := serve(t, open(t, path), w, nil)
	run = alive.until(t, run.ID, saga.Succeeded)
	want(t, "epoch", run.Epoch, int64(2))
	want(t, "attempts and unknowns of b", []int{run.Step("b").Attempts, run.Step("b").Unknowns}, []int{2, 1})
}

func TestShutdownHandsRunsBack(t *testing.T) {
	w := newWorld()
	path := storetest.SQLite(t)
	entered, gate := make(chan struct{}), make(chan struct{})
	w.hooks["do a"] = func(context.Context, int) error { close(entered); <-gate; return nil }
	first := serve(t, open(t, path), w, nil)
	run := first.start(t, nil)
	<-entered
	time.AfterFunc(50*time.Millisecond, func() { close(gate) })
	first.stop()
	left, err := first.store.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "handed back with a done", fmt.Sprintln(left.Replica == "", left.Step("a").State, left.Step("b").State), "true succeeded pending\n")
	second := serve(t, open(t, path), w, nil)
	run = second.until(t, run.ID, saga.Succeeded)
	want(t, "unknowns of a", run.Step("a").Unknowns, 0)
}

func TestACommitWhoseAnswerIsLostIsNeitherLostNorDoubled(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{
		"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			flaky := &flakyStore{Store: open(t, database(t))}
			b := serve(t, flaky.Store.(*store.Store), w, func(o *engine.Options) { o.Store = flaky })
			var ids []string
			for range 20 {
				ids = append(ids, b.start(t, func(q *saga.Request) { q.Input, q.Why = state{Roles: []string{q.ID}}, "nul \x00" }).ID)
			}
			for _, id := range ids {
				run := b.until(t, id, saga.Succeeded)
				if n := count(w.calls(), "do role "+id); n != 1 {
					t.Errorf("the role of run %s was given %d times", id, n)
				}
				for _, s := range run.Steps {
					want(t, "attempts of "+s.Name, s.Attempts, 1)
				}
				events, err := b.store.Events(t.Context(), id, 0, 100)
				want(t, "events, last seq", fmt.Sprintln(len(events), err), fmt.Sprintln(run.Seq, nil))
			}
			if flaky.lost.Load() == 0 || flaky.dropped.Load() == 0 {
				t.Errorf("%d answers lost, %d writes dropped; want more than 0 of each", flaky.lost.Load(), flaky.dropped.Load())
			}
		})
	}
}

// flakyStore loses the answer of every third commit, and drops every fourth commit.
type flakyStore struct {
	saga.Store
	n, lost, dropped atomic.Int64
}

func (f *flakyStore) Commit(ctx context.Context, now time.Time, cps []saga.Checkpoint) []saga.CommitResult {
	n := f.n.Add(1)
	if n%4 == 0 {
		f.dropped.Add(1)
		return broken(cps)
	}
	results := f.Store.Commit(ctx, now, cps)
	if n%3 == 0 {
		f.lost.Add(1)
		return broken(cps)
	}
	return results
}

func broken(cps []saga.Checkpoint) []saga.CommitResult {
	results := make([]saga.CommitResult, len(cps))
	for i := range results {
		results[i].Err = errors.New("the connection broke")
	}
	return results
}

func TestAStepThatFailsForGoodOutweighsOneThatNeedsAPerson(t *testing.T) {
	for name, order := range map[string][2]string{"the failure first": {"b", "extra"}, "the failure second": {"extra", "b"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			first := make(chan struct{})
			fail := map[string]error{"b": errRefused, "extra": errNeedsPerson}
			w.hooks["do "+order[0]] = func(context.Context, int) error { defer close(first); return fail[order[0]] }
			w.hooks["do "+order[1]] = func(context.Context, int) error {
				<-first
				time.Sleep(20 * time.Millisecond)
				return fail[order[1]]
			}
			b := serve(t, open(t, storetest.SQLite(t)), w, nil)
			run := b.until(t, b.start(t, nil).ID, saga.Compensated)
			want(t, "cause, what is left", run.Cause.Step+fmt.Sprint(w.present()), "b[]")
		})
	}
}
