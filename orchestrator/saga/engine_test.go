package saga_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// world is what the toy workflow changes: named things that exist or not.
type world struct {
	mu     sync.Mutex
	things map[string]bool
	log    []string
	hooks  map[string]func(ctx context.Context, attempt int) error // before the effect, by "do a" or "undo a"
	after  map[string]func(ctx context.Context, attempt int) error // after the effect
}

func newWorld() *world {
	return &world{
		things: map[string]bool{},
		hooks:  map[string]func(context.Context, int) error{},
		after:  map[string]func(context.Context, int) error{},
	}
}

func (w *world) set(ctx context.Context, verb, thing string, there bool) error {
	call := saga.CallOf(ctx)
	key := verb + " " + thing
	w.mu.Lock()
	w.log = append(w.log, key)
	before, after := w.hooks[key], w.after[key]
	w.mu.Unlock()
	if before != nil {
		if err := before(ctx, call.Attempt); err != nil {
			return err
		}
	}
	w.mu.Lock()
	was := w.things[thing]
	w.things[thing] = there
	w.mu.Unlock()
	if there {
		call.Made(saga.Object{Kind: "thing", ID: thing, Origin: saga.Own})
	} else if was {
		call.Removed("thing", thing)
	}
	if after != nil {
		return after(ctx, call.Attempt)
	}
	return nil
}

func (w *world) present() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for name, there := range w.things {
		if there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (w *world) calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

// Errors of the toy upstream, as its Judge sees them.
var (
	errRefused     = errors.New("refused")
	errBusy        = errors.New("busy")
	errLost        = errors.New("the answer was lost")
	errDown        = errors.New("down")
	errNeedsPerson = errors.New("somebody must decide")
)

func judge(err error) saga.Verdict {
	v := saga.Verdict{Kind: saga.Transient, Failure: saga.Failure{Code: "toy", Detail: err.Error()}}
	switch {
	case errors.Is(err, errRefused):
		v.Kind = saga.Permanent
	case errors.Is(err, errLost):
		v.MaybeDone = true
	case errors.Is(err, errDown):
		v.Kind = saga.Unavailable
	case errors.Is(err, errNeedsPerson):
		v.Kind = saga.Blocked
	}
	return v
}

type state struct {
	Roles []string `json:"roles,omitempty"`
	A     string   `json:"a,omitempty"`
	B     string   `json:"b,omitempty"`
}

// workflow is a diamond with a family: a, then b and role/*, then c.
func (w *world) workflow() saga.Workflow[state] {
	set := func(verb, thing string, there bool) func(context.Context, *state) error {
		return func(ctx context.Context, s *state) error { return w.set(ctx, verb, thing, there) }
	}
	return saga.Workflow[state]{
		Name: "toy", Version: 1, Judge: judge,
		Renew:  func(s state, runID string) (state, string) { return s, "toy:" + runID },
		Result: func(s state) any { return s },
		Steps: []saga.Step[state]{
			{
				Name: "a",
				Do:   func(ctx context.Context, s *state) error { s.A = "made"; return w.set(ctx, "do", "a", true) },
				Undo: set("undo", "a", false),
			},
			{
				Name: "b", After: []string{"a"},
				Do:   func(ctx context.Context, s *state) error { s.B = s.A + " too"; return w.set(ctx, "do", "b", true) },
				Undo: set("undo", "b", false),
			},
			{
				Name: "role", After: []string{"a"}, Each: func(s *state) []string { return s.Roles },
				Do: func(ctx context.Context, _ *state) error {
					return w.set(ctx, "do", "role "+saga.CallOf(ctx).Item, true)
				},
				Undo: func(ctx context.Context, _ *state) error {
					return w.set(ctx, "undo", "role "+saga.CallOf(ctx).Item, false)
				},
			},
			{Name: "extra", After: []string{"a"}, Optional: true, Do: set("do", "extra", true), Undo: set("undo", "extra", false)},
			{Name: "c", After: []string{"b", "role"}, Do: set("do", "c", true), NoUndo: "goes with a"},
		},
	}
}

// bench is an engine on an SQLite file with short times.
type bench struct {
	*saga.Engine
	store *store.Store
	stop  func()
}

func open(t *testing.T, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), database, make([]byte, store.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func serve(t *testing.T, s *store.Store, w *world, change func(*saga.Options)) *bench {
	t.Helper()
	d, err := saga.Define(w.workflow())
	if err != nil {
		t.Fatal(err)
	}
	o := saga.Options{
		Store: s, Queue: s, Workflows: []*saga.Definition{d}, NewID: newID,
		Lease: 2 * time.Second, Settle: 300 * time.Millisecond, Poll: 200 * time.Millisecond,
		OnFault: func(err error) { t.Log("fault:", err) },
	}
	if change != nil {
		change(&o)
	}
	e := saga.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { e.Serve(ctx, time.Second); close(done) }()
	b := &bench{e, s, sync.OnceFunc(func() { cancel(); <-done })}
	t.Cleanup(b.stop)
	return b
}

func (b *bench) start(t *testing.T, change func(*saga.Request)) *saga.Run {
	t.Helper()
	id := newID()
	q := saga.Request{
		ID: id, Workflow: "toy", Merchant: "m", Subject: "m:" + id, User: "u", Plan: "p", Key: "key " + id,
		Input: state{Roles: []string{"x", "y"}}, Who: "test",
	}
	if change != nil {
		change(&q)
	}
	run, err := b.Start(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// until waits for a run to come into one of the states.
func (b *bench) until(t *testing.T, id string, states ...saga.RunState) *saga.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var last *saga.Run
	err := b.Watch(ctx, id, func(r *saga.Run) bool {
		last = r
		return !slices.Contains(states, r.State)
	})
	if err != nil {
		t.Fatalf("waiting for %v: %v; the run: %s", states, err, describe(last))
	}
	return last
}

func describe(r *saga.Run) string {
	if r == nil {
		return "never seen"
	}
	s := fmt.Sprintf("%s reason=%+v cause=%+v", r.State, r.Reason, r.Cause)
	for _, step := range r.Steps {
		s += fmt.Sprintf("\n  %s %s attempts=%d undos=%d unknowns=%d error=%+v", step.Name, step.State, step.Attempts, step.Undos, step.Unknowns, step.Error)
	}
	return s
}

func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s:\n got %s\nwant %s", what, g, w)
	}
}

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
	want(t, "probes to come", run.Probes, 0)
}

func TestATransientErrorIsRetriedAndALostAnswerLookedUp(t *testing.T) {
	w := newWorld()
	var lookedFirst []bool
	w.hooks["do a"] = func(ctx context.Context, attempt int) error {
		lookedFirst = append(lookedFirst, saga.CallOf(ctx).LookFirst)
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
		time.AfterFunc(200*time.Millisecond, func() { // commits after it was undone
			w.mu.Lock()
			defer w.mu.Unlock()
			w.things["b"] = true
		})
		return fmt.Errorf("%w: %w", errLost, errRefused)
	}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *saga.Options) {
		o.Workflows = []*saga.Definition{must(saga.Define(lossy(w.workflow())))}
	})
	run := b.until(t, b.start(t, nil).ID, saga.Compensated)
	want(t, "what is left", w.present(), []string(nil))
	want(t, "probes to come", run.Probes, 3)
	if run.DueAt == nil || run.DueAt.Sub(*run.EndedAt) != 10*time.Minute {
		t.Errorf("due at %v, ended at %v: want ten minutes between", run.DueAt, run.EndedAt)
	}
	kinds := kinds(t, b.store, run.ID)
	if !slices.Contains(kinds, saga.EventLateEffect) {
		t.Errorf("no late effect among the events: %v", kinds)
	}
}

// lossy makes lost and refused one verdict: permanent, and maybe done.
func lossy(w saga.Workflow[state]) saga.Workflow[state] {
	w.Judge = func(err error) saga.Verdict {
		v := judge(err)
		v.MaybeDone = errors.Is(err, errLost)
		return v
	}
	return w
}

func TestAProbeRemovesWhatAppearsAfterTheEnd(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { return fmt.Errorf("%w: %w", errLost, errRefused) }
	var probes []bool // undos of b, in order
	w.hooks["undo b"] = func(ctx context.Context, _ int) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		probes = append(probes, saga.CallOf(ctx).Probe)
		return nil
	}
	clock := &stepped{now: time.Now()}
	b := serve(t, open(t, storetest.SQLite(t)), w, func(o *saga.Options) {
		o.Workflows = []*saga.Definition{must(saga.Define(lossy(w.workflow())))}
		o.Clock, o.Lease, o.Settle = saga.NewClock(clock.Now), 100*time.Hour, time.Millisecond
	})
	id := b.start(t, nil).ID
	go func() {
		for range 200 { // settle is waited for on the stepped clock
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
			return err == nil && r.Probes == 2-want && r.Replica == ""
		})
	}
	want(t, "what is left", w.present(), []string(nil))
	run, _ := b.store.Run(t.Context(), id)
	want(t, "state, due", fmt.Sprintln(run.State, run.DueAt), "compensated <nil>\n")
	want(t, "first undo, last three", fmt.Sprint(probes[0], probes[len(probes)-3:]), "false [true true true]")
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

func TestVerbs(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { return errNeedsPerson }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	ask := func(id string, name saga.VerbName, step string) error {
		_, err := b.Ask(t.Context(), saga.Verb{RunID: id, Name: name, Step: step, Who: "op", Why: "because"})
		return err
	}
	run := b.until(t, b.start(t, nil).ID, saga.Waiting)
	want(t, "reason", run.Reason.Kind, saga.WaitsForOperator)
	want(t, "verbs", run.Verbs(), []saga.VerbName{saga.Retry, saga.Compensate, saga.Cancel})
	if err := ask(run.ID, saga.SkipStep, "b"); err == nil {
		t.Error("a step that is not optional was skipped")
	}

	delete(w.hooks, "do b")
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	w.hooks["undo b"] = func(context.Context, int) error { return errRefused }
	if err := ask(run.ID, saga.Retry, ""); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Stuck)
	want(t, "stuck with", run.Reason.Step+", verbs "+fmt.Sprint(run.Verbs()), "b, verbs [retry skip]")
	if err := ask(run.ID, saga.SkipStep, "b"); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Compensated)
	want(t, "left behind", run.LeftBehind, []saga.LeftBehind{{Step: "b", Kind: "thing", ID: "b"}})
	want(t, "what is left", w.present(), []string{"b"})

	delete(w.hooks, "do c")
	successor, err := b.Ask(t.Context(), saga.Verb{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "again"})
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, successor.ID, saga.Succeeded)
	byKey, err := b.store.RunOfKey(t.Context(), "m", run.Key)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the key stands for", byKey.ID, successor.ID)
	if _, err := b.Ask(t.Context(), saga.Verb{RunID: run.ID, Name: saga.Retry}); err == nil {
		t.Error("a run was retried twice")
	}
}

func TestHoldAndCancel(t *testing.T) {
	w := newWorld()
	entered, gate := make(chan struct{}), make(chan struct{})
	w.hooks["do a"] = func(context.Context, int) error { entered <- struct{}{}; <-gate; return nil }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.start(t, nil)
	<-entered
	if _, err := b.Ask(t.Context(), saga.Verb{RunID: run.ID, Name: saga.Hold, Who: "op", Why: "look first"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { v, err := b.store.Verbs(t.Context(), run.ID); return err == nil && len(v) == 0 })
	close(gate)
	run = b.until(t, run.ID, saga.Waiting)
	want(t, "held", run.Reason.Code+": "+run.Reason.Detail, "held: look first")
	want(t, "done before", w.present(), []string{"a"})
	if _, err := b.Ask(t.Context(), saga.Verb{RunID: run.ID, Name: saga.Cancel, Who: "m", Why: "changed my mind"}); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Compensated)
	want(t, "cause", run.Cause.Code, "cancelled")
	want(t, "what is left", w.present(), []string(nil))
}

func TestAPanicHoldsTheRun(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { panic("boom") }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.until(t, b.start(t, nil).ID, saga.Waiting)
	want(t, "reason", run.Reason.Code, "step-panicked")
}

func TestAnotherReplicaFinishesWhatADeadOneBegan(t *testing.T) {
	w := newWorld()
	path := storetest.SQLite(t)
	hang := make(chan struct{})
	w.after["do b"] = func(ctx context.Context, attempt int) error {
		if attempt == 1 {
			<-hang // the effect is there, the answer never comes
		}
		return nil
	}
	t.Cleanup(func() { close(hang) })
	dead := serve(t, open(t, path), w, func(o *saga.Options) { o.Queue = &mute{Queue: o.Queue} })
	var run *saga.Run
	waitFor(t, func() bool { run = dead.start(t, nil); return run.Replica != "" }) // accepted under a lease
	waitFor(t, func() bool { return slices.Contains(w.calls(), "do b") })
	alive := serve(t, open(t, path), w, nil)
	run = alive.until(t, run.ID, saga.Succeeded)
	want(t, "epoch", run.Epoch, int64(2))
	want(t, "attempts and unknowns of b", []int{run.Step("b").Attempts, run.Step("b").Unknowns}, []int{2, 1})
}

// mute is a queue whose heartbeats stop once it has joined.
type mute struct {
	saga.Queue
	beats int
}

func (m *mute) Renew(ctx context.Context, replica string, now, until time.Time) (saga.Renewal, error) {
	if m.beats++; m.beats > 1 {
		return saga.Renewal{}, errors.New("cut off")
	}
	return m.Queue.Renew(ctx, replica, now, until)
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
			b := serve(t, flaky.Store.(*store.Store), w, func(o *saga.Options) { o.Store = flaky })
			var ids []string
			for range 20 {
				ids = append(ids, b.start(t, func(q *saga.Request) { q.Input = state{Roles: []string{q.ID}} }).ID)
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
				t.Errorf("%d answers lost, %d writes dropped: the test did not test", flaky.lost.Load(), flaky.dropped.Load())
			}
		})
	}
}

// flakyStore loses the answer of every third commit, and every fourth commit itself.
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

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func kinds(t *testing.T, s *store.Store, id string) []saga.EventKind {
	t.Helper()
	events, err := s.Events(t.Context(), id, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var k []saga.EventKind
	for _, e := range events {
		k = append(k, e.Kind)
	}
	return k
}

func count[T comparable](all []T, one T) (n int) {
	for _, v := range all {
		if v == one {
			n++
		}
	}
	return n
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it did not come about within 10 s")
}

// stepped is a clock that the test moves.
type stepped struct {
	mu  sync.Mutex
	now time.Time
}

func (s *stepped) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *stepped) step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func TestDefineRefusesWhatCannotRun(t *testing.T) {
	do := func(context.Context, *state) error { return nil }
	good := saga.Step[state]{Name: "a", Do: do, NoUndo: "it does nothing"}
	for what, steps := range map[string][]saga.Step[state]{
		"no step":              nil,
		"no name":              {{Do: do, NoUndo: "x"}},
		"a slash in a name":    {{Name: "a/b", Do: do, NoUndo: "x"}},
		"no Do":                {{Name: "a", NoUndo: "x"}},
		"no Undo or NoUndo":    {{Name: "a", Do: do}},
		"both Undo and NoUndo": {{Name: "a", Do: do, Undo: do, NoUndo: "x"}},
		"a name twice":         {good, good},
		"an unknown After":     {{Name: "a", Do: do, NoUndo: "x", After: []string{"b"}}},
		"a circle": {
			{Name: "a", Do: do, NoUndo: "x", After: []string{"b"}}, {Name: "b", Do: do, NoUndo: "x", After: []string{"a"}},
		},
	} {
		w := newWorld().workflow()
		w.Steps = steps
		if _, err := saga.Define(w); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	w := newWorld().workflow()
	w.Steps = []saga.Step[state]{good}
	if _, err := saga.Define(w); err != nil {
		t.Error(err)
	}
}

func TestAReleaseThatDoesNotKnowAStepHoldsTheRun(t *testing.T) {
	w := newWorld()
	database := storetest.SQLite(t)
	b := serve(t, open(t, database), w, nil)
	w.hooks["do b"] = func(context.Context, int) error { return errDown }
	run := b.until(t, b.start(t, nil).ID, saga.Waiting)
	b.stop()
	older := serve(t, open(t, database), w, func(o *saga.Options) {
		d := w.workflow()
		d.Steps = slices.DeleteFunc(d.Steps, func(s saga.Step[state]) bool { return s.Name == "b" || s.Name == "c" })
		o.Workflows = []*saga.Definition{must(saga.Define(d))}
	})
	waitFor(t, func() bool {
		r, err := older.store.Run(t.Context(), run.ID)
		return err == nil && r.Reason != nil && r.Reason.Code == "step-unknown"
	})
}

func TestARunThatKeepsKillingItsReplicaIsHeld(t *testing.T) {
	w := newWorld()
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	now := time.Now()
	run := &saga.Run{
		ID: newID(), Workflow: "toy", WorkflowVersion: 1, Subject: "s", Input: []byte("{}"), CreatedAt: now, UpdatedAt: now,
		BudgetFrom: now, DueAt: &now, State: saga.Running, HoldsSubject: true, TakeOvers: 2, Version: 1,
		Steps: []saga.StepRow{{Name: "a", State: saga.StepRunning, Attempts: 1}}, // two replicas died of it; the third has it now
	}
	if err := b.store.Create(t.Context(), saga.NewRun{Run: run}); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Waiting)
	want(t, "reason, calls", run.Reason.Code+fmt.Sprint(w.calls()), "taken-over-too-often[]")
	if _, err := b.Ask(t.Context(), saga.Verb{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "once more"}); err != nil {
		t.Fatal(err)
	}
	b.until(t, run.ID, saga.Succeeded)
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
