package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// The method `following` returns the workflows `toy` and `later`. If a run of `toy` has roles, the run stores the follow-up `x` of the
// workflow `later`. This follow-up is due after an hour. A run of `toy` without roles drops the follow-up. A succeeded run of `later` also
// drops the follow-up. A compensated run of `later` stores the follow-up again.
func (w *world) following() []*saga.Definition {
	toy, later := w.workflow(), w.workflow()
	toy.Then = func(s state, end saga.End) []saga.FollowUp {
		if len(s.Roles) == 0 {
			return []saga.FollowUp{{Workflow: "later", ID: "x"}}
		}
		return []saga.FollowUp{{
			Workflow: "later", ID: "x", Merchant: "m", Cloud: "c", Subject: "m:x", User: "v", Doubles: "d", Input: state{Roles: []string{end.RunID}},
			DueAt: end.Now.Add(time.Hour),
		}}
	}
	later.Name = "later"
	later.Then = func(s state, end saga.End) []saga.FollowUp {
		f := saga.FollowUp{Workflow: "later", ID: "x"}
		if end.Cause != nil {
			f.Merchant, f.Subject, f.Input, f.DueAt, f.Reason = "m", "m:x", s, end.Now.Add(30*time.Minute), end.Cause
		}
		return []saga.FollowUp{f}
	}
	return []*saga.Definition{must(saga.Define(toy)), must(saga.Define(later))}
}

// The type `polled` is a store that counts the calls of TakeFollowUps.
type polled struct {
	saga.Store
	polls atomic.Int64

	mu     sync.Mutex
	taken  func([]saga.FollowUp) error    // called after follow-ups were taken; an error replaces the answer
	create func(saga.NewRun) (done error) // called before a run is created; an error replaces the call
}

func (p *polled) TakeFollowUps(ctx context.Context, d saga.DueFollowUps, newID func() string) ([]saga.FollowUp, error) {
	defer p.polls.Add(1)
	taken, err := p.Store.TakeFollowUps(ctx, d, newID)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken != nil && len(taken) > 0 {
		if err := p.taken(taken); err != nil {
			return nil, err
		}
	}
	return taken, err
}

func (p *polled) Create(ctx context.Context, n saga.NewRun) error {
	p.mu.Lock()
	create := p.create
	p.mu.Unlock()
	if create != nil {
		if err := create(n); err != nil {
			return err
		}
	}
	return p.Store.Create(ctx, n)
}

// The type `followed` is an engine that starts follow-ups. Its clock is stepped.
type followed struct {
	*bench
	*stepped
	t      *testing.T
	polled *polled

	mu     sync.Mutex
	faults []string
}

func follow(t *testing.T, w *world, database string, clock *stepped, change func(*engine.Options)) *followed {
	t.Helper()
	s := open(t, database)
	f := &followed{stepped: clock, t: t, polled: &polled{Store: s}}
	f.bench = serve(t, s, w, func(o *engine.Options) {
		o.Store, o.Workflows = f.polled, w.following()
		o.Clock, o.Lease, o.Poll = engine.NewClock(clock.Now), 1000*time.Hour, 20*time.Millisecond
		o.OnFault = func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.faults = append(f.faults, err.Error())
		}
		if change != nil {
			change(o)
		}
	})
	return f
}

// The method `put` executes a run that stores the follow-up `x`.
func (f *followed) put() {
	f.t.Helper()
	f.until(f.t, f.start(f.t, nil).ID, saga.Succeeded)
}

// The method `after` steps the clock, and waits until the engine has started the follow-ups that are due at the new time. The
// method waits for three calls of TakeFollowUps. The first of these calls may have begun before the step. When the third call
// begins, the runs for the follow-ups of the second call have been started.
func (f *followed) after(d time.Duration) {
	f.t.Helper()
	f.step(d)
	n := f.polled.polls.Load()
	waitFor(f.t, func() bool { return f.polled.polls.Load() > n+2 })
}

// The method `runs` returns the runs of the workflow `later`, newest first.
func (f *followed) runs() []*saga.Run {
	f.t.Helper()
	return must(f.store.Runs(f.t.Context(), saga.Filter{Workflow: "later", Limit: 10}))
}

// The method `started` checks that n runs of the workflow `later` were started.
func (f *followed) started(what string, n int) {
	f.t.Helper()
	if got := len(f.runs()); got != n {
		f.t.Fatalf("%s: %d runs were started, want %d; faults %q", what, got, n, f.faults)
	}
}

// The method `x` returns the stored follow-up `x`, or nil if it is not stored.
func (f *followed) x() *saga.FollowUp {
	f.t.Helper()
	found, err := f.store.FollowUps(f.t.Context(), "m", "later", []string{"x"})
	if err != nil {
		f.t.Fatal(err)
	}
	if one, ok := found["x"]; ok {
		return &one
	}
	return nil
}

func TestAFollowUpIsStartedOnceWhenItIsDue(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			w, clock, url := newWorld(), &stepped{now: time.Now()}, database(t)
			first, second := follow(t, w, url, clock, nil), follow(t, w, url, clock, nil)
			first.put()
			first.after(59 * time.Minute) // the clocks of the two replicas differ by less than a minute
			second.after(0)
			first.started("before it is due", 0)
			want(t, "the follow-up, before it is due", fmt.Sprint(first.x().RunID, first.x().TakenAt), "<nil>")
			busy := first.start(t, func(q *saga.Request) { q.Subject = "m:x" })
			first.until(t, busy.ID, saga.Succeeded) // the follow-up does not hold the subject

			first.after(61 * time.Minute)
			second.after(0)
			first.started("when it is due", 1)
			run := first.until(t, first.runs()[0].ID, saga.Succeeded)
			first.after(time.Hour)
			second.after(0)
			first.started("an hour later", 1)
			if first.x() != nil {
				t.Errorf("the follow-up is %+v, want it dropped by its run", first.x())
			}
			want(t, "the run", fmt.Sprint(run.Merchant, run.Cloud, run.Subject, run.User, run.Doubles, run.OnFailure, run.Key, string(run.Input)),
				fmt.Sprint("m", "c", "m:x", "v", "d", saga.FailureCompensates, "", `{"roles":["`+busy.ID+`"]}`))
			events := must(first.store.Events(t.Context(), run.ID, 0, 1))
			if !strings.HasPrefix(events[0].Who, "replica ") || !strings.HasPrefix(events[0].Why, "the follow-up was due at 20") {
				t.Errorf("the run was accepted by %q, because %q", events[0].Who, events[0].Why)
			}
			want(t, "faults", fmt.Sprint(first.faults, second.faults), "[] []")
		})
	}
}

func TestAHeldFollowUpIsNotStarted(t *testing.T) {
	f := follow(t, newWorld(), storetest.SQLite(t), &stepped{now: time.Now()}, nil)
	f.put()
	hold := &saga.FollowUpHold{Who: "op", Why: "because", At: f.Clock.Now()}
	if err := f.store.HoldFollowUp(t.Context(), "m", "later", "x", hold); err != nil {
		t.Fatal(err)
	}
	f.after(2 * time.Hour)
	f.started("while it is held", 0)
	if err := f.store.HoldFollowUp(t.Context(), "m", "later", "x", nil); err != nil {
		t.Fatal(err)
	}
	f.after(0)
	f.started("after the hold was lifted", 1)
}

func TestADroppedFollowUpIsNotStarted(t *testing.T) {
	f := follow(t, newWorld(), storetest.SQLite(t), &stepped{now: time.Now()}, nil)
	f.put()
	drop := f.start(t, func(q *saga.Request) { q.Input = state{} })
	f.until(t, drop.ID, saga.Succeeded)
	if f.x() != nil {
		t.Fatalf("the follow-up is %+v", f.x())
	}
	f.after(2 * time.Hour)
	f.started("after it was dropped", 0)
}

func TestACompensatedRunPutsItsFollowUpAgain(t *testing.T) {
	w := newWorld()
	f := follow(t, w, storetest.SQLite(t), &stepped{now: time.Now()}, nil)
	f.put()
	w.mu.Lock()
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	w.mu.Unlock()
	f.after(time.Hour)
	f.started("when it is due", 1)
	failed := f.until(t, f.runs()[0].ID, saga.Compensated)
	x := f.x()
	if x == nil || x.Reason == nil || x.Reason.Code != "toy" || x.RunID != failed.ID || x.TakenAt != nil {
		t.Fatalf("after the compensation, the follow-up is %+v", x)
	}
	attention := func() string {
		ids := []string{}
		for _, r := range must(f.store.Runs(t.Context(), saga.Filter{Attention: f.Clock.Now(), Limit: 10})) {
			ids = append(ids, r.ID)
		}
		return fmt.Sprint(ids)
	}
	want(t, "runs that need attention", attention(), fmt.Sprint([]string{failed.ID}))
	w.mu.Lock()
	delete(w.hooks, "do c")
	w.mu.Unlock()
	f.after(29 * time.Minute)
	f.started("before it is due again", 1)
	f.after(time.Minute)
	f.started("when it is due again", 2)
	again := f.until(t, f.runs()[0].ID, saga.Succeeded)
	want(t, "runs that need attention after the second run", attention(), "[]")
	if f.x() != nil || again.ID == failed.ID {
		t.Errorf("after run %s, the follow-up is %+v", again.ID, f.x())
	}
}

// If a replica takes a follow-up and then ends, or if it cannot store the run, the follow-up can be taken again after a minute.
func TestAFollowUpThatWasTakenButNotStartedIsTakenAgain(t *testing.T) {
	for what, lose := range map[string]func(f *followed, took func(string)){
		"the replica ends, or the answer is lost": func(f *followed, took func(string)) {
			f.polled.taken = func(taken []saga.FollowUp) error {
				f.polled.taken = nil
				took(taken[0].RunID)
				return errors.New("cut off")
			}
		},
		"the run cannot be stored": func(f *followed, took func(string)) {
			f.polled.create = func(n saga.NewRun) error {
				f.polled.mu.Lock()
				defer f.polled.mu.Unlock()
				f.polled.create = nil
				took(n.Run.ID)
				return errors.New("cut off")
			}
		},
		"the replica sleeps": func(f *followed, took func(string)) {
			f.polled.taken = func(taken []saga.FollowUp) error {
				f.polled.taken = nil
				took(taken[0].RunID)
				f.step(saga.FollowUpTimeout/2 + time.Microsecond)
				return nil
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			f := follow(t, newWorld(), storetest.SQLite(t), &stepped{now: time.Now()}, nil)
			f.put()
			var lost atomic.Value
			f.polled.mu.Lock()
			lose(f, func(id string) { lost.Store(id) })
			f.polled.mu.Unlock()
			f.after(time.Hour)
			f.started("after the loss", 0)
			x := f.x()
			want(t, "the follow-up", x.RunID, lost.Load().(string))
			f.after(x.TakenAt.Add(saga.FollowUpTimeout).Sub(f.Clock.Now()))
			f.started("after a minute", 0)
			f.after(time.Microsecond)
			f.started("more than a minute later", 1)
			run := f.until(t, f.runs()[0].ID, saga.Succeeded)
			if run.ID == x.RunID {
				t.Error("the second run has the id of the first one")
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if faults := fmt.Sprint(f.faults); strings.Contains(faults, "cut off") != (what != "the replica sleeps") || len(f.faults) > 1 {
				t.Errorf("faults %q", faults)
			}
		})
	}
}

// The first run is stored late, when the second run already exists. Because the second run has the same subject, the first run can
// only be stored as a run that waits for another run. Both runs then execute, one after the other.
func TestALateFirstRunOfAFollowUpIsHarmless(t *testing.T) {
	w := newWorld()
	f := follow(t, w, storetest.SQLite(t), &stepped{now: time.Now()}, nil)
	f.put()
	gate := make(chan struct{})
	w.mu.Lock()
	w.hooks["do c"] = func(context.Context, int) error { <-gate; return nil }
	w.mu.Unlock()
	busy := f.start(t, func(q *saga.Request) { q.Subject, q.Input = "m:x", state{Roles: []string{"y"}} })
	var late saga.NewRun
	f.polled.mu.Lock()
	f.polled.create = func(n saga.NewRun) error {
		f.polled.mu.Lock()
		defer f.polled.mu.Unlock()
		if n.Run.WaitsFor == "" || late.Run != nil {
			return nil
		}
		late = n
		return errors.New("late")
	}
	f.polled.mu.Unlock()
	f.after(time.Hour)
	f.started("when it is due", 0)
	f.after(saga.FollowUpTimeout + time.Microsecond)
	f.started("a minute later", 1)
	second := f.runs()[0]
	f.polled.mu.Lock()
	first := late.Run
	f.polled.mu.Unlock()
	if err := f.store.Create(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	want(t, "what the runs wait for", fmt.Sprint(first.WaitsFor, second.WaitsFor), fmt.Sprint(busy.ID, busy.ID))
	close(gate)
	f.until(t, busy.ID, saga.Succeeded)
	f.until(t, first.ID, saga.Succeeded)
	f.until(t, second.ID, saga.Succeeded)
	f.after(time.Minute)
	f.started("in the end", 2)
	if err := f.Leased(t.Context()); err != nil || f.x() != nil {
		t.Errorf("the lease: %v; the follow-up: %+v", err, f.x())
	}
}

func TestAFollowUpOfAnUnknownWorkflowIsLeft(t *testing.T) {
	w, clock, url := newWorld(), &stepped{now: time.Now()}, storetest.SQLite(t)
	old := follow(t, w, url, clock, func(o *engine.Options) { o.Workflows = o.Workflows[:1] })
	old.put()
	old.after(time.Hour)
	old.started("by a release that does not know the workflow", 0)
	if x := old.x(); x == nil || x.TakenAt != nil {
		t.Fatalf("the follow-up is %+v, want it not taken", x)
	}
	follow(t, w, url, clock, func(o *engine.Options) { o.Poll = time.Hour }) // this engine also takes follow-ups before its first poll
	waitFor(t, func() bool { return len(old.runs()) == 1 })
}

// The method `satisfied` returns the workflow `toy` with the step `a` alone. If HasA is true in the input of a run, the step is
// satisfied, and the run ends at once.
func (w *world) satisfied(then func(state, saga.End) []saga.FollowUp) *saga.Definition {
	toy := w.workflow()
	toy.Steps, toy.Then = toy.Steps[:1], then
	return must(saga.Define(toy))
}

func TestARunThatEndsAtOnceHasItsFollowUps(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			then := func(_ state, end saga.End) []saga.FollowUp {
				return []saga.FollowUp{{Workflow: "later", ID: "x", Merchant: "m", DueAt: end.Now.Add(time.Hour)}}
			}
			f := follow(t, w, database(t), &stepped{now: time.Now()}, func(o *engine.Options) { o.Workflows = []*saga.Definition{w.satisfied(then)} })
			f.after(0)
			run := f.start(t, func(q *saga.Request) { q.Input = state{HasA: true} })
			run = f.until(t, run.ID, saga.Succeeded)
			want(t, "calls, executions", fmt.Sprintln(len(w.calls()), run.Epoch), "0 1\n")
			if x := f.x(); x == nil || !x.DueAt.Equal(run.EndedAt.Add(time.Hour)) {
				t.Errorf("the follow-up of a run that ended at %v is %+v", run.EndedAt, x)
			}
		})
	}
}

// If Then panics, the fault is reported, and the run waits for an operator. A retry calls Then again.
func TestARunWhoseFollowUpsCannotBeComputedWaits(t *testing.T) {
	for what, input := range map[string]state{"it ends at once": {HasA: true}, "it ends after a step": {}} {
		t.Run(what, func(t *testing.T) {
			w := newWorld()
			var repaired atomic.Bool
			then := func(_ state, end saga.End) []saga.FollowUp {
				if !repaired.Load() {
					panic("a fault of Then")
				}
				return []saga.FollowUp{{Workflow: "later", ID: "x", Merchant: "m", DueAt: end.Now}}
			}
			f := follow(t, w, storetest.SQLite(t), &stepped{now: time.Now()}, func(o *engine.Options) {
				o.Workflows = []*saga.Definition{w.satisfied(then)}
			})
			f.after(0)
			run := f.until(t, f.start(t, func(q *saga.Request) { q.Input = input }).ID, saga.Waiting)
			want(t, "reason, follow-up", fmt.Sprintln(run.Reason.Code, run.EndedAt, f.x()), "step-panicked <nil> <nil>\n")
			f.mu.Lock()
			if faults := fmt.Sprint(f.faults); len(f.faults) != 1 || !strings.Contains(faults, "a fault of Then") || !strings.Contains(faults, run.ID) {
				t.Errorf("faults %s", faults)
			}
			f.mu.Unlock()
			repaired.Store(true)
			if _, err := f.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op"}); err != nil {
				t.Fatal(err)
			}
			f.until(t, run.ID, saga.Succeeded)
			if f.x() == nil {
				t.Error("the run ended without its follow-up")
			}
		})
	}
}

// The answer to the commit that ends a run is lost. The commit has stored the run's follow-ups, and the engine does not store them a second
// time.
func TestTheFollowUpsOfALostCommitAreStoredOnce(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			lost := &lostEnd{}
			f := follow(t, newWorld(), database(t), &stepped{now: time.Now()}, func(o *engine.Options) { lost.Store, o.Store = o.Store, lost })
			f.put()
			want(t, "commits of the end", lost.ends.Load(), int64(1))
			if f.x() == nil {
				t.Error("there is no follow-up")
			}
		})
	}
}

// lostEnd is a store that writes the end of each run, and then returns an error, as if the answer were lost.
type lostEnd struct {
	saga.Store
	ends atomic.Int64
}

func (l *lostEnd) Commit(ctx context.Context, now time.Time, cps []saga.Checkpoint) []saga.CommitResult {
	results := l.Store.Commit(ctx, now, cps)
	if cps[0].Run.EndedAt != nil {
		l.ends.Add(1)
		return broken(cps)
	}
	return results
}
