// Package engine executes runs on a database that several replicas share. An engine takes a lease on each run that it executes, and asks
// the state machine in the package saga for each decision. The engine stores the decisions in groups, makes the calls, and informs the
// callers that wait for a run.
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

// Options configures an Engine. A zero duration or number means the default.
type Options struct {
	Store     saga.Store
	Queue     saga.Queue
	Tokens    Tokens
	Workflows []*saga.Definition
	NewID     func() string // returns ids that sort by time, such as UUIDv7

	Clock       *Clock
	Lease       time.Duration // time without a renewal after which other replicas take over a replica's runs; default 10 s
	LateWindow  time.Duration // time for which an upstream may still execute a request that got no answer; default 90 s
	Deadline    time.Duration // maximum working time of a run; a run that takes longer is compensated or held; default 15 min
	GiveUpAfter time.Duration // maximum time of a run, including all waits; a run that takes longer is compensated or held; default 24 h
	Poll        time.Duration // interval between polls for work that no message announced; default 5 s
	Executors   int           // maximum number of runs that are executed at once; default 64
	// KeepPassword is the maximum time for which a password can be used; default 30 min. The default is longer than the default of Deadline, so
	// that a run that cannot succeed ends before its password expires.
	KeepPassword time.Duration

	// If NoRestart is set, this engine refuses to retry a compensated run, because the retry would start a new run. NoRestart is
	// the reason in the refusal.
	NoRestart string

	// Down returns the upstreams whose circuits are open. The engine does not take runs that wait for one of these upstreams.
	Down func() []string

	OnEvent func(*saga.Run, saga.Event) // called after an event is stored
	OnFault func(error)                 // called with the engine's internal errors
}

// Tokens stores the token of a run's user until the run needs the token.
type Tokens interface {
	// Token returns the user's token that is stored for a run, or saga.ErrNoToken if no token is stored.
	Token(ctx context.Context, runID string) (string, error)
}

// Engine executes runs. The engines of several replicas share one Store and one Queue.
type Engine struct {
	Options
	workflows map[string]*saga.Definition
	watchers  watchers
	passwords passwords
	kick      chan struct{} // tells Serve to look for work
	joined    chan struct{} // this channel is closed when the database's time is known

	unsureUntil atomic.Int64 // Unix time in nanoseconds; see beUnsure
	pace        pace

	mu        sync.Mutex
	replica   string // the replica's id; the replica gets a new id with each new lease
	lease     *lease
	committer *committer // the committer of this lease
	stopping  bool
	behind    bool // due runs wait for a replica, and a new run must not overtake them
	executors map[string]*executor
	waiting   int       // number of runs that wait for a replica, at the last count
	counted   time.Time // time of the last count
	survivals survivals
	idle      sync.WaitGroup // Wait returns when all executors have ended
}

var (
	_ saga.Starter = (*Engine)(nil)
	_ saga.Reader  = (*Engine)(nil)
	_ saga.Actions = (*Engine)(nil)
)

// New returns an engine. The engine executes runs only during Serve. Runs can be read before Serve is called.
func New(o Options) *Engine {
	o.Lease = cmp.Or(o.Lease, 10*time.Second)
	o.LateWindow = cmp.Or(o.LateWindow, 90*time.Second)
	o.Deadline = cmp.Or(o.Deadline, 15*time.Minute)
	o.GiveUpAfter = cmp.Or(o.GiveUpAfter, 24*time.Hour)
	o.Poll = cmp.Or(o.Poll, 5*time.Second)
	o.Executors = cmp.Or(o.Executors, 64)
	o.KeepPassword = cmp.Or(o.KeepPassword, 30*time.Minute)
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

// ReplicaID returns the id under which this replica has its lease. The id is empty if the replica has no lease, and changes with each new lease.
func (e *Engine) ReplicaID() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lease == nil || e.lease.check() != nil {
		return ""
	}
	return e.replica
}

// Leased returns an error if this replica has no lease, and therefore executes no runs. Until Serve has registered the replica for
// the first time, Leased waits.
func (e *Engine) Leased(ctx context.Context) error {
	select {
	case <-e.joined:
	case <-ctx.Done():
		return fmt.Errorf("this replica is not registered in the database yet: %w", ctx.Err())
	}
	e.mu.Lock()
	l := e.lease
	e.mu.Unlock()
	if l == nil {
		return saga.ErrLeaseLost
	}
	return l.check()
}

// Storing returns the error of the last checkpoint, or nil if the last checkpoint was stored. While checkpoints cannot be stored, this
// replica repeats them until its lease ends.
func (e *Engine) Storing() error {
	e.mu.Lock()
	c := e.committer
	e.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.lastError()
}

// Start accepts a run: see [saga.Starter]. A replica with a free executor executes the run at once, and stores the run together
// with the intents of its first steps. Start waits until Serve has registered the replica, because the database's time is unknown
// until then.
func (e *Engine) Start(ctx context.Context, q saga.Request) (*saga.Run, error) {
	select {
	case <-e.joined:
	case <-ctx.Done():
		return nil, fmt.Errorf("accepting run %s: this replica is not registered in the database yet: %w", q.ID, ctx.Err())
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
		if len(d.FollowUps) > 0 { // Create cannot store follow-ups, so this run is stored without a lease, and ends when a replica takes it
			e.release(x)
			x = nil
		} else {
			n.Run, n.Events = d.Run, append(n.Events, d.Events...)
			if d.DropToken { // the run has ended already, and did not need the token
				n.Token = ""
			}
		}
	}
	if q.Password != "" {
		e.keepPassword(q.ID, q.Password, 0) // before the run is stored, because this replica may claim the stored run at once
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
		} else {
			e.passwords.forget(q.ID)
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

// DryRun implements [saga.Starter]. DryRun needs neither a lease nor an executor.
func (e *Engine) DryRun(ctx context.Context, q saga.Request) (saga.DryRun, error) {
	return e.machine(q.Workflow).DryRun(ctx, q, e.Clock.Now())
}

func refusedForGood(err error) bool {
	_, succeeded := errors.AsType[*saga.AlreadySucceededError](err)
	return succeeded || errors.Is(err, saga.ErrKeyUsed) || errors.Is(err, saga.ErrRetried)
}

// The method `machine` returns the state machine for the runs of a workflow.
func (e *Engine) machine(workflow string) saga.Machine {
	return saga.Machine{
		Def:    e.workflows[workflow],
		Limits: saga.Limits{LateWindow: e.LateWindow, Deadline: e.Deadline, GiveUpAfter: e.GiveUpAfter},
	}
}

// The method `reserve` returns an executor for a new run, or nil. The result is nil if this replica has no lease or no free executor, or if
// other runs wait for a replica. A new run must not overtake waiting runs, because replicas take runs fairly across merchants.
func (e *Engine) reserve(run *saga.Run) *executor {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behind = e.behind || len(e.executors) >= e.Executors
	if e.behind || e.lease == nil || e.stopping || e.lease.check() != nil {
		return nil
	}
	leased := *run // change only a copy: if the run has to wait, the original is stored
	leased.Replica, leased.Epoch = e.replica, 1
	return e.employ(&leased)
}

// The method `employ` creates and registers an executor for a leased run. The caller holds e.mu.
func (e *Engine) employ(run *saga.Run) *executor {
	x := newExecutor(e, run)
	if len(e.executors) == 0 {
		e.pace.work(e.Clock.Now(), true)
	}
	e.executors[run.ID] = x
	e.idle.Add(1)
	return x
}

// The method `release` removes an executor from the engine.
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
	worthIt := e.behind && room*8 >= e.Executors // call Claim only if several executors are free: each call costs a commit
	e.mu.Unlock()
	e.idle.Done()
	if worthIt {
		e.lookForWork()
	}
}

// The method `leaving` reports whether this replica is shutting down and handing back its runs.
func (e *Engine) leaving() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stopping
}

// The method `patiently` limits a call to the database: the returned context ends after the length of a lease. Without this time
// limit, a call on a dead connection could block the replica while the heartbeat renews the lease on another connection.
func (e *Engine) patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.Lease)
}

// lookForWork wakes Serve, which then takes due runs at once.
func (e *Engine) lookForWork() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// Result implements [saga.Reader].
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
