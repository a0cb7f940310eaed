package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestALostUndoIsVerifiedButNotRechecked(t *testing.T) {
	w := newWorld()
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	var undos []time.Time
	w.hooks["undo b"] = func(_ context.Context, attempt int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		undos = append(undos, time.Now())
		if attempt == 1 {
			return errLost
		}
		return nil
	}
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.until(t, b.start(t, nil).ID, saga.Compensated)
	want(t, "rechecks to come, unknown attempts of Do", fmt.Sprint(run.Rechecks, run.Step("b").Unknowns), "0 0")
	if last := undos[len(undos)-1]; last.Sub(undos[0]) < b.LateWindow {
		t.Errorf("undone for the last time %v after the answer was lost, want at least %v", last.Sub(undos[0]), b.LateWindow)
	}
}

func TestARecheckIsNotOverBeforeItsOwnLostCallHasSettled(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { return fmt.Errorf("%w: %w", errLost, errRefused) }
	rechecked := 0
	w.hooks["undo b"] = func(ctx context.Context, _ int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if saga.CallOf(ctx).Kind == saga.CallRecheck {
			if rechecked++; rechecked == 1 {
				return errLost
			}
		}
		return nil
	}
	b, clock, read := toBeRechecked(t, w, "b")
	want(t, "being rechecked before the recheck", read().Unsettled(clock.Now(), b.LateWindow), false)
	clock.step(10 * time.Minute)
	waitFor(t, func() bool { return read().Step("b").RetryAt != nil })
	clock.step(3 * time.Second)
	waitFor(t, func() bool { r := read(); return r.Step("b").State == saga.StepUndone && r.Replica == "" })
	want(t, "rechecks to come, being rechecked", fmt.Sprint(read().Rechecks, read().Unsettled(clock.Now(), b.LateWindow)), "3 true")
	clock.step(time.Minute)
	waitFor(t, func() bool { r := read(); return r.Rechecks == 2 && r.Replica == "" })
	want(t, "undos by rechecks, being rechecked", fmt.Sprint(rechecked, read().Unsettled(clock.Now(), b.LateWindow)), "2 false")
}

// toBeRechecked starts a run on a stepped clock, and waits until the run is compensated. Then toBeRechecked creates the late
// effects.
func toBeRechecked(t *testing.T, w *world, late ...string) (b *bench, clock *stepped, read func() *saga.Run) {
	t.Helper()
	clock = &stepped{now: time.Now()}
	b = serve(t, open(t, storetest.SQLite(t)), w, func(o *engine.Options) {
		o.Workflows = []*saga.Definition{must(saga.Define(lossy(w.workflow())))}
		o.Clock, o.Lease, o.LateWindow = engine.NewClock(clock.Now), 1000*time.Hour, time.Minute
	})
	id := b.start(t, nil).ID
	read = func() *saga.Run { return must(b.store.Run(t.Context(), id)) }
	waitFor(t, func() bool {
		clock.step(50 * time.Millisecond) // make the retries due
		r := read()
		return r.Reason != nil && r.Reason.Kind == saga.WaitsForLateWindow && r.Replica == ""
	})
	clock.step(time.Minute)
	b.until(t, id, saga.Compensated)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, thing := range late {
		w.things[thing] = true
	}
	return b, clock, read
}

func TestARecheckThatIsRefusedIsMadeAgain(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { return fmt.Errorf("%w: %w", errLost, errRefused) }
	refused := true
	w.hooks["undo b"] = func(ctx context.Context, _ int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if saga.CallOf(ctx).Kind == saga.CallRecheck && refused {
			return errRefused
		}
		return nil
	}
	_, clock, read := toBeRechecked(t, w, "b")
	undos := read().Step("b").Undos
	clock.step(10 * time.Minute)
	waitFor(t, func() bool { r := read(); return r.Step("b").Undos == undos+1 && r.Replica == "" })
	want(t, "state, rechecks to come after a refusal", fmt.Sprint(read().State, read().Rechecks), "compensated3")
	w.mu.Lock()
	refused = false
	w.mu.Unlock()
	clock.step(time.Hour)
	waitFor(t, func() bool { return read().Rechecks < 3 })
}

func TestARecheckThatIsRefusedInOneStepGoesOnToTheStepBefore(t *testing.T) {
	w := newWorld()
	w.hooks["do a"] = func(_ context.Context, attempt int) error {
		if attempt == 1 {
			return errLost
		}
		return nil
	}
	w.hooks["do b"] = func(context.Context, int) error { return fmt.Errorf("%w: %w", errLost, errRefused) }
	refused := true
	var rechecked []string
	recheck := func(step string) func(context.Context, int) error {
		return func(ctx context.Context, _ int) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if saga.CallOf(ctx).Kind == saga.CallRecheck {
				rechecked = append(rechecked, step)
			}
			if saga.CallOf(ctx).Kind == saga.CallRecheck && refused {
				return errRefused
			}
			return nil
		}
	}
	w.hooks["undo a"], w.hooks["undo b"] = recheck("a"), recheck("b")
	b, clock, read := toBeRechecked(t, w, "a", "b")
	clock.step(10 * time.Minute)
	for n := range 4 {
		waitFor(t, func() bool {
			r := read()
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(rechecked) == n+1 && r.Replica == "" && r.Step("b").State == saga.StepUndoFailed
		})
		if n == 3 {
			w.mu.Lock()
			refused = false
			w.mu.Unlock()
		}
		clock.step(time.Hour)
	}
	waitFor(t, func() bool { return read().Rechecks < 3 })
	want(t, "undos by rechecks", fmt.Sprint(rechecked[:6]), "[b b b b b a]")
	want(t, "events of take-overs", count(kinds(t, b.store, read().ID), saga.EventTakenOver), 0)
}

func TestARecheckThatReplicasDiedOfIsMadeAgainLater(t *testing.T) {
	w := newWorld()
	clock := &stepped{now: time.Now()}
	s := open(t, storetest.SQLite(t))
	now := clock.Now()
	ended := now.Add(-time.Hour)
	run := &saga.Run{
		ID: newID(), Workflow: "toy", WorkflowVersion: 1, Subject: "s", Input: []byte("{}"), CreatedAt: ended, UpdatedAt: ended,
		BudgetFrom: ended, EndedAt: &ended, DueAt: &now, State: saga.Compensated, TakeOvers: 2, Version: 1, Rechecks: 3,
		Cause: &saga.Failure{Code: "toy"},
		Steps: []saga.StepRow{{Name: "a", State: saga.StepUndoing, Attempts: 1, Undos: 2, Unknowns: 1, UnknownAt: &ended, UndoneAt: &ended, InFlight: saga.CallRecheck}},
	}
	if err := s.Create(t.Context(), saga.NewRun{Run: run}); err != nil {
		t.Fatal(err)
	}
	serve(t, s, w, func(o *engine.Options) {
		o.Clock, o.Lease, o.LateWindow = engine.NewClock(clock.Now), 1000*time.Hour, time.Minute
	})
	read := func() *saga.Run { return must(s.Run(t.Context(), run.ID)) }
	waitFor(t, func() bool { r := read(); return r.Epoch == 1 && r.Replica == "" })
	want(t, "state, take-overs, calls", fmt.Sprint(read().State, read().TakeOvers, len(w.calls())), "compensated0 0")
	clock.step(time.Hour)
	waitFor(t, func() bool { r := read(); return r.Step("a").Undos == 3 && r.Replica == "" })
	clock.step(time.Minute) // end the late window of the dead replica's requests
	waitFor(t, func() bool { return read().Rechecks < 3 })
}

// The type `asked` is a store that observes one run. When the run searches for other runs, the store records the search and the
// run's stored state.
type asked struct {
	saga.Store
	of    string
	mu    sync.Mutex
	state map[string]string // for each search: the run's stored state at that time
}

func (a *asked) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	question := fmt.Sprintf("live=%t awaits recheck=%t %s", f.Live, f.AwaitsRecheck, f.States)
	run, err := a.Run(ctx, a.of)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	if a.state[question] == "" {
		a.state[question] = string(run.State) + " " + string(run.Step("a").InFlight)
	}
	a.mu.Unlock()
	return a.Store.Runs(ctx, f)
}

// A re-check looks for new runs, and a new run looks for re-checks. Therefore each of them must be stored before it looks.
// Otherwise, the re-check could miss the new run, and the new run could miss the re-check.
func TestEachAsksAfterItCanBeSeen(t *testing.T) {
	w := newWorld()
	w.things["a"] = true // a late effect
	clock := &stepped{now: time.Now()}
	s := open(t, storetest.SQLite(t))
	ended, now := clock.Now().Add(-30*time.Minute), clock.Now() // only the first re-check is due
	old := &saga.Run{
		ID: newID(), Workflow: "toy", WorkflowVersion: 1, Subject: "s", Input: []byte("{}"), CreatedAt: ended, UpdatedAt: ended,
		BudgetFrom: ended, EndedAt: &ended, DueAt: &now, State: saga.Compensated, Version: 1, Rechecks: 3,
		Cause: &saga.Failure{Code: "toy"},
		Steps: []saga.StepRow{{Name: "a", State: saga.StepUndone, Attempts: 1, Undos: 1, Unknowns: 1, UnknownAt: &ended, UndoneAt: &ended}},
	}
	if err := s.Create(t.Context(), saga.NewRun{Run: old}); err != nil {
		t.Fatal(err)
	}
	questions := &asked{Store: s, of: old.ID, state: map[string]string{}}
	b := serve(t, s, w, func(o *engine.Options) {
		o.Clock, o.Lease, o.Store = engine.NewClock(clock.Now), 1000*time.Hour, questions
	})
	waitFor(t, func() bool { r := must(s.Run(t.Context(), old.ID)); return r.Rechecks == 2 })
	want(t, "searches of a re-check, with the state of its run", fmt.Sprint(questions.state),
		"map[live=false awaits recheck=false [succeeded]:compensated recheck live=true awaits recheck=false []:compensated recheck]")
	want(t, "what is left", w.present(), []string(nil))

	id := newID()
	questions.mu.Lock()
	questions.of, questions.state = id, map[string]string{}
	questions.mu.Unlock()
	b.start(t, func(q *saga.Request) { q.ID, q.Subject = id, "s" })
	b.until(t, id, saga.Succeeded)
	want(t, "searches of a run that begins, with the state of the run", fmt.Sprint(questions.state),
		"map[live=false awaits recheck=false [succeeded]:running do live=false awaits recheck=true []:running do]")
}

// The type `claimant` is the input of the workflow that the function `claims` returns.
type claimant struct {
	Claim string `json:"claim"`
}

// The function `claims` returns a workflow with one step. The step's Find always finds the effect.
func claims(undone chan<- string) saga.Workflow[claimant] {
	return saga.Workflow[claimant]{
		Name: "claims", Version: 1, Classify: classify,
		Retry:  func(context.Context, claimant, string) (saga.Request, error) { return saga.Request{}, nil },
		Expect: func(claimant) []saga.Expected { return nil }, Result: func(s claimant) any { return s },
		Steps: []saga.Step[claimant]{{
			Name: "set", Do: func(context.Context, *claimant) error { return nil },
			Find:  func(context.Context, *claimant) (saga.Found, error) { return saga.Made, nil },
			Claim: func(s *claimant, _ string) string { return s.Claim },
			Undo:  func(_ context.Context, s *claimant) error { undone <- s.Claim; return nil },
		}},
	}
}

func TestTheNewestRunDecidesWhatARecheckLeaves(t *testing.T) {
	small, large := saga.Setting("plan", "small"), saga.Setting("plan", "large")
	for name, c := range map[string]struct {
		others []string // the claims of later runs that have succeeded, oldest first
		live   string   // the claim of a live run; empty: there is no live run
		ends   string
	}{
		"no other run":                         {nil, "", "undone"},
		"a run wants the same":                 {[]string{large}, "", "left"},
		"a run wants something else":           {[]string{small}, "", "undone"},
		"a run wants another thing":            {[]string{saga.Setting("day", "1")}, "", "undone"},
		"a run changes it back":                {[]string{large, small}, "", "undone"},
		"a run makes it again":                 {[]string{large, small, large}, "", "left"},
		"a run wants its opposite":             {[]string{large, saga.Not(large)}, "", "undone"},
		"another thing has changed since":      {[]string{large, saga.Setting("day", "1")}, "", "left"},
		"a live run wants the same":            {nil, large, "waits"},
		"a live run may be changing it":        {nil, small, "waits"},
		"a live run may be removing it":        {[]string{large}, saga.Not(large), "waits"},
		"a live run is about another thing":    {nil, saga.Setting("day", "1"), "undone"},
		"a live run is about the opposite day": {nil, saga.Not(saga.Setting("day", "1")), "undone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock, undone := open(t, storetest.SQLite(t)), &stepped{now: time.Now()}, make(chan string, 9)
			now := clock.Now()
			ended := now.Add(-30 * time.Minute)
			add := func(claim string, change func(*saga.Run)) *saga.Run {
				r := &saga.Run{
					ID: newID(), Workflow: "claims", WorkflowVersion: 1, Subject: "s", Input: must(json.Marshal(claimant{claim})), CreatedAt: ended, UpdatedAt: ended,
					BudgetFrom: ended, EndedAt: &ended, State: saga.Succeeded, Version: 1, Steps: []saga.StepRow{{Name: "set", State: saga.StepSucceeded, Attempts: 1}},
				}
				change(r)
				if err := s.Create(t.Context(), saga.NewRun{Run: r}); err != nil {
					t.Fatal(err)
				}
				return r
			}
			old := add(large, func(r *saga.Run) {
				r.State, r.DueAt, r.Rechecks, r.Cause = saga.Compensated, &now, 3, &saga.Failure{Code: "toy"}
				r.Steps[0] = saga.StepRow{Name: "set", State: saga.StepUndone, Attempts: 1, Undos: 1, Unknowns: 1, UnknownAt: &ended, UndoneAt: &ended}
			})
			for _, claim := range c.others {
				add(claim, func(*saga.Run) {})
			}
			if c.live != "" {
				add(c.live, func(r *saga.Run) {
					held := &saga.Reason{Kind: saga.WaitsForOperator, Failure: saga.Failure{Code: "held"}}
					r.State, r.EndedAt, r.HoldsSubject, r.Hold, r.Reason = saga.Waiting, nil, true, held, held
					r.Steps[0].State = saga.StepPending
				})
			}
			serve(t, s, newWorld(), func(o *engine.Options) {
				o.Workflows = []*saga.Definition{must(saga.Define(claims(undone)))}
				o.Clock, o.Lease = engine.NewClock(clock.Now), 1000*time.Hour
			})
			var r *saga.Run
			waitFor(t, func() bool {
				r = must(s.Run(t.Context(), old.ID))
				return r.Replica == "" && (r.Rechecks == 2 || r.Steps[0].Error != nil)
			})
			ends := "left"
			switch {
			case r.Steps[0].Error != nil:
				ends = map[saga.Code]string{"claimed-by-a-live-run": "waits"}[r.Steps[0].Error.Code]
			case len(undone) > 0:
				ends = "undone"
			}
			want(t, "the result of the re-check", ends, c.ends)
		})
	}
}

func TestWhenARunIsUnsettled(t *testing.T) {
	now, lateWindow := time.Unix(1000, 0), time.Minute
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	undoing := saga.StepRow{State: saga.StepUndoing, InFlight: saga.CallRecheck}
	for name, c := range map[string]struct {
		change func(*saga.Run)
		want   bool
	}{
		"a call is in flight":                 {func(*saga.Run) {}, true},
		"its replica has died":                {func(r *saga.Run) { r.Replica, r.DueAt = "", at(-time.Second) }, true},
		"between two calls":                   {func(r *saga.Run) { r.Steps[0].InFlight = "" }, false},
		"the re-check has ended":              {func(r *saga.Run) { r.Steps[0].State, r.Steps[0].InFlight = saga.StepUndone, "" }, false},
		"it has not ended":                    {func(r *saga.Run) { r.State, r.EndedAt = saga.Compensating, nil }, false},
		"a call got no answer":                {func(r *saga.Run) { r.Steps[0] = saga.StepRow{UnknownAt: at(-time.Second)} }, true},
		"the late window of a call has ended": {func(r *saga.Run) { r.Steps[0] = saga.StepRow{UnknownAt: at(-time.Minute)} }, false},
		"it has succeeded, and a call got no answer": {func(r *saga.Run) {
			r.State, r.Steps[0] = saga.Succeeded, saga.StepRow{UnknownAt: at(-10 * time.Second)}
		}, true},
		"it has succeeded, and all calls were answered": {func(r *saga.Run) {
			r.State, r.Steps[0] = saga.Succeeded, saga.StepRow{State: saga.StepSucceeded}
		}, false},
		"a call before the end of the run got no answer": {func(r *saga.Run) {
			r.Steps[0] = saga.StepRow{UnknownAt: at(-10 * time.Second)}
			r.EndedAt = at(-5 * time.Second)
		}, false},
	} {
		r := &saga.Run{State: saga.Compensated, EndedAt: at(-time.Hour), Replica: "r", Steps: []saga.StepRow{undoing}}
		c.change(r)
		want(t, name, r.Unsettled(now, lateWindow), c.want)
	}
}
