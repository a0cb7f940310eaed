// Package engine executes runs on a database that several replicas share: it claims runs under leases, has the machine of
// package saga decide about them, stores its decisions in groups, makes its calls, and wakes who waits for a run.
package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Options is what an Engine is made of. Zero durations and numbers mean the usual values.
type Options struct {
	Store     saga.Store
	Queue     saga.Queue
	Tokens    Tokens
	Workflows []*saga.Definition
	NewID     func() string // ids that sort by time: uuid v7

	Clock       *Clock
	Lease       time.Duration // how long a replica may be silent before its runs are taken over; 10 s
	LateWindow  time.Duration // how long after its sending a lost request may still take effect; 90 s
	Deadline    time.Duration // how long a run may work before it compensates; 15 min
	GiveUpAfter time.Duration // how long a run may also wait for an upstream; 24 h
	Poll        time.Duration // how often is looked for work nobody told of; 5 s
	Executors   int           // runs worked on at once; 64

	// Down names the upstreams that are left alone at present: the runs that were turned away from one are not claimed.
	Down func() []string

	OnEvent func(*saga.Run, saga.Event) // after an event was stored
	OnFault func(error)                 // what went wrong with the engine itself
}

// Tokens keeps the users' tokens until their runs need them.
type Tokens interface {
	// Token returns the user's token that waits for a run. It returns saga.ErrNoToken if it is gone.
	Token(ctx context.Context, runID string) (string, error)
}

// Engine works on runs. Several replicas of it share one Store and one Queue.
type Engine struct {
	Options
	workflows map[string]*saga.Definition
	watchers  watchers
	kick      chan struct{} // look for work now
	joined    chan struct{} // closed once the database's time is known

	unsureUntil atomic.Int64 // unix nanoseconds: see beUnsure
	pace        pace

	mu        sync.Mutex
	replica   string // changes with every new lease
	lease     *lease
	committer *committer // of the lease
	stopping  bool
	behind    bool // runs wait to be claimed, as far as is known: a new one goes behind them
	executors map[string]*executor
	waiting   int       // how many runs wait to be claimed, as far as is known
	counted   time.Time // when that was read
	survivals survivals
	idle      sync.WaitGroup // the executors
}

var (
	_ saga.Starter = (*Engine)(nil)
	_ saga.Reader  = (*Engine)(nil)
	_ saga.Actions = (*Engine)(nil)
)

// New makes an engine. It works only while Serve runs, but runs can be read before.
func New(o Options) *Engine {
	o.Lease = cmp.Or(o.Lease, 10*time.Second)
	o.LateWindow = cmp.Or(o.LateWindow, 90*time.Second)
	o.Deadline = cmp.Or(o.Deadline, 15*time.Minute)
	o.GiveUpAfter = cmp.Or(o.GiveUpAfter, 24*time.Hour)
	o.Poll = cmp.Or(o.Poll, 5*time.Second)
	o.Executors = cmp.Or(o.Executors, 64)
	if o.Clock == nil {
		o.Clock = NewClock(time.Now)
	}
	if o.Down == nil {
		o.Down = func() []string { return nil }
	}
	if o.OnEvent == nil {
		o.OnEvent = func(*saga.Run, saga.Event) {}
	}
	if o.OnFault == nil {
		o.OnFault = func(error) {}
	}
	e := &Engine{
		Options:   o,
		workflows: map[string]*saga.Definition{},
		kick:      make(chan struct{}, 1),
		joined:    make(chan struct{}),
		executors: map[string]*executor{},
	}
	e.OnEvent = func(r *saga.Run, event saga.Event) {
		if event.Kind == saga.EventRunSucceeded || event.Kind == saga.EventCompensated {
			e.pace.ended(event.At)
		}
		o.OnEvent(r, event)
	}
	for _, d := range o.Workflows {
		e.workflows[d.Name] = d
	}
	return e
}

// Start accepts a run: when it returns, the run is stored and somebody will work on it. An idle replica begins at once
// and stores the first intents together with the run. It returns ErrKeyUsed where the merchant has used the key, and
// for a RetryOf ErrRetried or ErrAlreadySucceeded. Any other error leaves open whether the run exists; the caller
// repeats the request with the same key. It waits until Serve has joined: before, nobody knows what time it is.
func (e *Engine) Start(ctx context.Context, q saga.Request) (*saga.Run, error) {
	select {
	case <-e.joined:
	case <-ctx.Done():
		return nil, fmt.Errorf("accepting run %s: this replica has not joined yet: %w", q.ID, ctx.Err())
	}
	m := e.machine(q.Workflow)
	run, accepted, err := m.Accept(q, e.Clock.Now())
	if err != nil {
		return nil, err
	}
	n := saga.NewRun{Run: run, Events: []saga.Event{accepted}, Token: q.Token, TokenExpiresAt: q.TokenExpiresAt}
	x := e.reserve(run)
	if x != nil {
		x.token = q.Token
		d := x.begin()
		n.Run, n.Events = d.Run, append(n.Events, d.Events...)
		if d.DropToken { // the run ends without having needed it
			n.Token = ""
		}
	}
	err = e.Store.Create(ctx, n)
	if busy, ok := errors.AsType[*saga.SubjectBusyError](err); ok {
		if x != nil {
			e.release(x)
		}
		x = nil
		n.Run, n.Events, n.Token = saga.Queued(run, busy.RunID), []saga.Event{accepted}, q.Token
		err = e.Store.Create(ctx, n)
	}
	if err != nil {
		if x != nil {
			e.release(x)
		}
		if !refusedForGood(err) {
			e.beUnsure()
		}
		return nil, err
	}
	for _, event := range n.Events {
		e.OnEvent(n.Run, event)
	}
	if x == nil {
		e.mu.Lock()
		e.waiting++
		e.mu.Unlock()
		e.lookForWork()
		return n.Run, nil
	}
	accepting := n.Run.Clone()
	go x.execute()
	return accepting, nil
}

func refusedForGood(err error) bool {
	return errors.Is(err, saga.ErrKeyUsed) || errors.Is(err, saga.ErrRetried) || errors.Is(err, saga.ErrAlreadySucceeded)
}

// machine decides about the runs of a workflow.
func (e *Engine) machine(workflow string) saga.Machine {
	return saga.Machine{
		Def:    e.workflows[workflow],
		Limits: saga.Limits{LateWindow: e.LateWindow, Deadline: e.Deadline, GiveUpAfter: e.GiveUpAfter},
	}
}

// reserve makes an executor for a new run if this replica has a lease and room, and no run waits to be claimed; else it
// returns nil: claiming is fair across merchants, so a new run must not jump the queue.
func (e *Engine) reserve(run *saga.Run) *executor {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behind = e.behind || len(e.executors) >= e.Executors
	if e.behind || e.lease == nil || e.stopping || e.lease.check() != nil {
		return nil
	}
	leased := *run // the run itself stays as it was accepted: it may have to wait
	leased.Replica, leased.Epoch = e.replica, 1
	return e.employ(&leased)
}

// employ registers an executor for a leased run. The caller holds the lock.
func (e *Engine) employ(run *saga.Run) *executor {
	x := newExecutor(e, run)
	if len(e.executors) == 0 {
		e.pace.work(e.Clock.Now(), true)
	}
	e.executors[run.ID] = x
	e.idle.Add(1)
	return x
}

// release forgets an executor.
func (e *Engine) release(x *executor) {
	e.mu.Lock()
	delete(e.executors, x.run.ID)
	if !x.released && x.lease.ctx.Err() != nil {
		e.survivals.taken = append(e.survivals.taken, x.run.ID)
	}
	if len(e.executors) == 0 {
		e.pace.work(e.Clock.Now(), false)
	}
	room := e.Executors - len(e.executors)
	worthIt := e.behind && room*8 >= e.Executors // a claim costs a commit: it takes some at a time
	e.mu.Unlock()
	e.idle.Done()
	if worthIt {
		e.lookForWork()
	}
}

// leaving reports whether the replica hands its runs back.
func (e *Engine) leaving() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopping
}

// patiently bounds a call to the database: one that is never answered, on a connection that died without a word, must
// not hold up what the heartbeat, on another, keeps alive.
func (e *Engine) patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.Lease)
}

// lookForWork makes Serve claim at once.
func (e *Engine) lookForWork() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Result computes what a run shows as its result. It is null for a run of a workflow that this release does not know.
func (e *Engine) Result(r *saga.Run) (json.RawMessage, error) {
	d := e.workflows[r.Workflow]
	if d == nil {
		return json.RawMessage("null"), nil
	}
	return d.Result(r)
}

// Run implements [saga.Reader].
func (e *Engine) Run(ctx context.Context, runID string) (*saga.Run, error) {
	return e.Store.Run(ctx, runID)
}

// RunOfKey implements [saga.Reader].
func (e *Engine) RunOfKey(ctx context.Context, merchant, key string) (*saga.Run, error) {
	return e.Store.RunOfKey(ctx, merchant, key)
}

// Runs implements [saga.Reader].
func (e *Engine) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	return e.Store.Runs(ctx, f)
}

// Events implements [saga.Reader].
func (e *Engine) Events(ctx context.Context, runID string, after int64, limit int) ([]saga.Event, error) {
	return e.Store.Events(ctx, runID, after, limit)
}

// LiveRuns implements [saga.Reader].
func (e *Engine) LiveRuns(ctx context.Context, merchant string) (int, error) {
	return e.Store.LiveRuns(ctx, merchant)
}
