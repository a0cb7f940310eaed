package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/store"
)

// The type `world` is the upstream of the toy workflow. The objects of this upstream are called things, and have names.
type world struct {
	mu     sync.Mutex
	things map[string]bool
	log    []string
	hooks  map[string]func(ctx context.Context, attempt int) error // called before the effect; a key is, for example, "do a"
	after  map[string]func(ctx context.Context, attempt int) error // called after the effect
}

func newWorld() *world {
	return &world{
		things: map[string]bool{},
		hooks:  map[string]func(context.Context, int) error{},
		after:  map[string]func(context.Context, int) error{},
	}
}

func (w *world) set(ctx context.Context, action, thing string, there bool) error {
	call := saga.CallOf(ctx)
	key := action + " " + thing
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
		call.Gone("thing", thing)
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

// The toy upstream returns these errors, and the function `classify` distinguishes them.
var (
	errRefused     = errors.New("refused")
	errBusy        = errors.New("busy")
	errLost        = errors.New("the answer was lost")
	errDown        = errors.New("down")
	errNeedsPerson = errors.New("somebody must decide")
)

func classify(err error) saga.Classification {
	v := saga.Classification{Class: upstream.Transient, Failure: saga.Failure{Code: "toy", Detail: err.Error()}}
	switch {
	case errors.Is(err, errRefused):
		v.Class = upstream.Permanent
	case errors.Is(err, errLost):
		v.MaybeDone = true
	case errors.Is(err, errDown):
		v.Class = upstream.Unavailable
	case errors.Is(err, errNeedsPerson):
		v.Class = upstream.Blocked
	}
	return v
}

type state struct {
	Roles []string `json:"roles,omitempty"`
	HasA  bool     `json:"has_a,omitempty"` // if true, step a is satisfied
	A     string   `json:"a,omitempty"`
	B     string   `json:"b,omitempty"`
}

// The method `find` looks up the thing of a step, and returns Made if the thing exists.
func (w *world) find(thing string) (saga.Found, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.things[thing] {
		return saga.Made, nil
	}
	return saga.Absent, nil
}

// The method `workflow` returns a workflow whose steps form a diamond: first a, then b and one role/* step for each role, then c.
func (w *world) workflow() saga.Workflow[state] {
	set := func(action, thing string, there bool) func(context.Context, *state) error {
		return func(ctx context.Context, s *state) error { return w.set(ctx, action, thing, there) }
	}
	found := func(thing string) func(context.Context, *state) (saga.Found, error) {
		return func(context.Context, *state) (saga.Found, error) { return w.find(thing) }
	}
	claim := func(thing string) func(*state, string) string {
		return func(_ *state, item string) string { return thing + " " + item }
	}
	return saga.Workflow[state]{
		Name: "toy", Version: 1, Classify: classify,
		Retry: func(_ context.Context, s state, runID string) (saga.Request, error) {
			return saga.Request{Subject: "toy:" + runID, User: "u", Doubles: "p", Input: s}, nil
		},
		Expect: func(state) []saga.Expected { return nil }, Result: func(s state) any { return s },
		Steps: []saga.Step[state]{
			{
				Name:      "a",
				Satisfied: func(s *state, _ time.Time) bool { return s.HasA },
				Do:        func(ctx context.Context, s *state) error { s.A = "made"; return w.set(ctx, "do", "a", true) },
				Find:      found("a"), Claim: claim("a"),
				Undo: set("undo", "a", false),
			},
			{
				Name: "b", After: []string{"a"},
				Do:   func(ctx context.Context, s *state) error { s.B = s.A + " too"; return w.set(ctx, "do", "b", true) },
				Find: found("b"), Claim: claim("b"),
				Undo: set("undo", "b", false),
			},
			{
				Name: "role", After: []string{"a"}, Each: func(s *state) []string { return s.Roles },
				Find: func(ctx context.Context, _ *state) (saga.Found, error) {
					return w.find("role " + saga.CallOf(ctx).Item)
				},
				Claim: claim("role"),
				Do: func(ctx context.Context, _ *state) error {
					return w.set(ctx, "do", "role "+saga.CallOf(ctx).Item, true)
				},
				Undo: func(ctx context.Context, _ *state) error {
					return w.set(ctx, "undo", "role "+saga.CallOf(ctx).Item, false)
				},
			},
			{Name: "extra", After: []string{"a"}, Optional: true, Find: found("extra"), Claim: claim("extra"), Do: set("do", "extra", true), Undo: set("undo", "extra", false)},
			{Name: "c", After: []string{"b", "role"}, Do: set("do", "c", true), NoUndo: "goes with a"},
		},
	}
}

// The type `bench` is an engine with short intervals on a test database.
type bench struct {
	*engine.Engine
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

// shortLease is the lease of a replica that loses its lease in a test. On a busy computer, a replica can lose such a short lease at any
// time. Therefore all other replicas have a longer lease.
const shortLease = 2 * time.Second

func serve(t *testing.T, s *store.Store, w *world, change func(*engine.Options)) *bench {
	t.Helper()
	d, err := saga.Define(w.workflow())
	if err != nil {
		t.Fatal(err)
	}
	o := engine.Options{
		Store: s, Queue: s, Tokens: s, Workflows: []*saga.Definition{d}, NewID: newID,
		Lease: 10 * time.Second, LateWindow: 300 * time.Millisecond, Poll: 200 * time.Millisecond,
		OnFault: func(err error) { t.Log("fault:", err) },
	}
	if change != nil {
		change(&o)
	}
	e := engine.New(o)
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
		ID: id, Workflow: "toy", Merchant: "m", Subject: "m:" + id, User: "u", Doubles: "p", Key: "key " + id,
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

// The method `until` waits for a run to reach one of the states.
func (b *bench) until(t *testing.T, id string, states ...saga.RunState) *saga.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var last *saga.Run
	watcher := b.Watch(id)
	defer watcher.Close()
	err := watcher.See(ctx, nil, func(r *saga.Run) bool {
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

// The function `lossy` changes the workflow's Classify. An error that is both errLost and errRefused becomes permanent, and the
// effect of the call counts as unknown.
func lossy(w saga.Workflow[state]) saga.Workflow[state] {
	w.Classify = func(err error) saga.Classification {
		v := classify(err)
		v.MaybeDone = errors.Is(err, errLost)
		return v
	}
	return w
}

// The type `mute` is a queue whose method Renew succeeds at the first call, and fails at all further calls.
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
	t.Fatal("the condition was not met within 10 s")
}

// The type `stepped` is a clock that moves only when the test calls the method `step`.
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
