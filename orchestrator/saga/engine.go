package saga

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Options is what an Engine is made of. Zero durations and numbers mean the usual values.
type Options struct {
	Store     Store
	Queue     Queue
	Workflows []*Definition
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

	OnEvent func(*Run, Event) // after an event was stored
	OnFault func(error)       // what went wrong with the engine itself
}

// Engine works on runs. Several replicas of it share one Store and one Queue.
type Engine struct {
	Options
	workflows map[string]*Definition
	committer *committer
	watchers  watchers
	kick      chan struct{} // look for work now
	joined    chan struct{} // closed once the database's time is known

	unsureUntil atomic.Int64 // unix nanoseconds: see beUnsure
	pace        pace

	mu        sync.Mutex
	replica   string // changes with every new lease
	lease     *lease
	stopping  bool
	behind    bool // runs wait to be claimed, as far as is known: a new one goes behind them
	executors map[string]*executor
	waiting   int       // how many runs wait to be claimed, as far as is known
	counted   time.Time // when that was read
	survivals survivals
	idle      sync.WaitGroup // the executors
}

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
		o.OnEvent = func(*Run, Event) {}
	}
	if o.OnFault == nil {
		o.OnFault = func(error) {}
	}
	e := &Engine{
		Options:   o,
		workflows: map[string]*Definition{},
		committer: newCommitter(o.Store, o.Clock, o.Lease),
		kick:      make(chan struct{}, 1),
		joined:    make(chan struct{}),
		executors: map[string]*executor{},
	}
	e.OnEvent = func(r *Run, event Event) {
		if event.Kind == EventRunSucceeded || event.Kind == EventCompensated {
			e.pace.ended(event.At)
		}
		o.OnEvent(r, event)
	}
	for _, d := range o.Workflows {
		e.workflows[d.Name] = d
	}
	return e
}

// Request asks for a run.
type Request struct {
	ID          string // from NewID, made before, so that what the run creates can be named after it
	Workflow    string
	Merchant    string
	Cloud       string
	Subject     string
	User        string
	Plan        string
	OnFailure   OnFailure
	Input       any // the workflow's state as it starts
	Key         string
	Fingerprint string
	Who         string // for the event
	RetryOf     string
	Why         string

	Token          string // the user's, sealed until it is used or expired
	TokenExpiresAt time.Time
}

// Start accepts a run: when it returns, the run is stored and somebody will work on it. An idle replica begins at once
// and stores the first intents together with the run. It returns ErrKeyUsed where the merchant has used the key, and
// for a RetryOf ErrRetried or ErrAlreadySucceeded. Any other error leaves open whether the run exists; the caller
// repeats the request with the same key. It waits until Serve has joined: before, nobody knows what time it is.
func (e *Engine) Start(ctx context.Context, q Request) (*Run, error) {
	select {
	case <-e.joined:
	case <-ctx.Done():
		return nil, fmt.Errorf("accepting run %s: this replica has not joined yet: %w", q.ID, ctx.Err())
	}
	run, err := e.accept(q)
	if err != nil {
		return nil, err
	}
	n := NewRun{Run: run, Token: q.Token, TokenExpiresAt: q.TokenExpiresAt}
	accepted := Event{
		RunID: run.ID, Seq: 1, At: run.CreatedAt, Kind: EventAccepted, Who: upstream.Clean(q.Who), Why: upstream.Clean(q.Why),
	}
	run.Seq, run.Version = 1, 1
	n.Events = []Event{accepted}
	w := e.reserve(run)
	if w != nil {
		w.token = q.Token
		n.Events = append(n.Events, w.begin()...)
	}
	err = e.Store.Create(ctx, n)
	if busy, ok := errors.AsType[*SubjectBusyError](err); ok {
		if w != nil {
			e.release(w)
		}
		w = nil
		run = e.queueBehind(run, busy.RunID)
		n.Run, n.Events = run, []Event{accepted}
		err = e.Store.Create(ctx, n)
	}
	switch {
	case err != nil && w != nil:
		e.release(w)
		fallthrough
	case err != nil:
		if !refusedForGood(err) {
			e.beUnsure()
		}
		return nil, err
	}
	for _, event := range n.Events {
		e.OnEvent(run, event)
	}
	if w == nil {
		e.mu.Lock()
		e.waiting++
		e.mu.Unlock()
		e.lookForWork()
		return run, nil
	}
	accepting := run.clone()
	go w.work()
	return accepting, nil
}

func refusedForGood(err error) bool {
	return errors.Is(err, ErrKeyUsed) || errors.Is(err, ErrRetried) || errors.Is(err, ErrAlreadySucceeded)
}

// accept pins what a run is made of.
func (e *Engine) accept(q Request) (*Run, error) {
	d := e.workflows[q.Workflow]
	if d == nil {
		return nil, fmt.Errorf("accepting run %s: there is no workflow %q", q.ID, q.Workflow)
	}
	input, err := json.Marshal(q.Input)
	if err != nil {
		return nil, fmt.Errorf("accepting run %s: encoding its input: %w", q.ID, err)
	}
	rows, err := d.plan(input)
	if err != nil {
		return nil, fmt.Errorf("accepting run %s: %w", q.ID, err)
	}
	now := e.Clock.Now()
	return &Run{
		ID: q.ID, Workflow: d.Name, WorkflowVersion: d.Version, Merchant: q.Merchant, Cloud: q.Cloud,
		Subject: q.Subject, User: q.User, Plan: q.Plan, OnFailure: cmp.Or(q.OnFailure, FailureCompensates),
		Input: input, Key: q.Key, Fingerprint: q.Fingerprint, RetryOf: q.RetryOf, CreatedAt: now,
		State: Pending, DueAt: &now, UpdatedAt: now, BudgetFrom: now, HoldsSubject: true, Steps: rows,
	}, nil
}

// queueBehind gives the run as it waits for another about the same subject.
func (e *Engine) queueBehind(run *Run, predecessor string) *Run {
	waiting := *run
	waiting.State, waiting.HoldsSubject = Waiting, false
	waiting.Reason = &Reason{Kind: WaitsForPredecessor, Failure: Failure{
		Code: "subject-busy", FixBy: FixByNobody, At: run.CreatedAt,
	}}
	waiting.WaitBehind(predecessor)
	waiting.Replica, waiting.Epoch, waiting.DueAt, waiting.Seq = "", 0, nil, 1
	waiting.Steps = nil
	for _, s := range run.Steps {
		s.State, s.Attempts, s.StartedAt, s.EndedAt = StepPending, 0, nil, nil
		waiting.Steps = append(waiting.Steps, s)
	}
	return &waiting
}

// reserve makes a executor for a new run where this replica has a lease and room, and no run waits to be claimed: a claim
// is fair among merchants, so one's bulk must not get past it. nil otherwise.
func (e *Engine) reserve(run *Run) *executor {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behind = e.behind || len(e.executors) >= e.Executors
	if e.behind || e.lease == nil || e.stopping || e.lease.check() != nil {
		return nil
	}
	run.Replica, run.Epoch = e.replica, 1
	return e.employ(run)
}

// employ registers a executor for a leased run. The caller holds the lock.
func (e *Engine) employ(run *Run) *executor {
	w := newExecutor(e, e.workflows[run.Workflow], run, e.lease)
	if len(e.executors) == 0 {
		e.pace.work(e.Clock.Now(), true)
	}
	e.executors[run.ID] = w
	e.idle.Add(1)
	return w
}

// release forgets a executor.
func (e *Engine) release(w *executor) {
	e.mu.Lock()
	delete(e.executors, w.run.ID)
	if !w.released && w.lease.ctx.Err() != nil {
		e.survivals.taken = append(e.survivals.taken, w.run.ID)
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
func (e *Engine) Result(r *Run) (json.RawMessage, error) {
	d := e.workflows[r.Workflow]
	if d == nil {
		return json.RawMessage("null"), nil
	}
	return d.Result(r)
}
