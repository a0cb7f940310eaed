package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `executor` executes one leased run. In a loop, the executor asks the machine for a decision, stores the decision, makes
// the calls, and collects the outcomes of the calls.
type executor struct {
	engine    *Engine
	machine   saga.Machine
	run       *saga.Run // the run as last stored
	lease     *lease
	committer *committer
	token     string // the user's token, from the order or from a login of this replica; empty if it is not known, or was dropped

	claimed  bool            // the lease has just begun
	handed   bool            // the engine has just received the password of the run
	state    json.RawMessage // the state of the run, if the machine has computed the state
	calls    []saga.Call     // calls to be made next
	flying   int             // calls in flight
	wake     *time.Time      // time of the next decision, unless an outcome or an action arrives first
	released bool
	look     bool // whether to read the actions before the next decision

	came     []saga.Outcome // outcomes that were not passed to the machine yet
	outcomes chan saga.Outcome
	pokes    chan struct{}
}

// newExecutor returns an executor that uses the engine's current lease and committer. The caller holds e.mu.
func newExecutor(e *Engine, run *saga.Run) *executor {
	return &executor{
		engine: e, machine: e.machine(run.Workflow), run: run, lease: e.lease, committer: e.committer,
		outcomes: make(chan saga.Outcome, len(run.Steps)),
		pokes:    make(chan struct{}, 1),
	}
}

// The method `begin` makes the first decision about a run that is not stored yet. The caller stores the decision's intents together
// with the run.
func (x *executor) begin() saga.Decision {
	d := x.machine.Next(x.run, saga.Input{Now: x.engine.Clock.Now()})
	if d.Log != nil {
		x.engine.OnFault(d.Log)
	}
	x.adopt(d)
	return d
}

// takeOver executes a run that this replica has taken from the queue.
func (x *executor) takeOver() {
	x.claimed, x.look = true, true // an action for the run may be stored
	x.execute()
}

// The method `execute` executes the run until the run is released or the lease is lost.
func (x *executor) execute() {
	defer x.engine.release(x)
	for {
		for _, c := range x.calls {
			x.fly(c)
		}
		x.calls = nil
		if x.released || !x.wait() || !x.next() {
			return
		}
	}
}

// The method `next` asks the machine for a decision, and stores the decision. The result is false if the run no longer belongs to
// this replica.
func (x *executor) next() bool {
	in := saga.Input{Claimed: x.claimed, Outcomes: x.came, Password: x.handed, State: x.state}
	if x.look {
		in.Actions = x.actions()
	}
	in.Now, in.Leaving = x.engine.Clock.Now(), x.engine.leaving()
	x.claimed, x.handed, x.came = false, false, nil
	d := x.machine.Next(x.run, in)
	if d.Log != nil {
		x.engine.OnFault(d.Log)
	}
	if !d.Stores {
		if x.wake = d.Wake; x.wake == nil && x.flying == 0 { // without a wake-up time, the executor would loop without a pause
			x.engine.OnFault(fmt.Errorf("run %s has no call in flight and no time at which to continue", x.run.ID))
			x.wake = new(in.Now.Add(lookAgain))
		}
		return true
	}
	return x.store(d)
}

// The method `fly` starts a call whose intent is stored.
func (x *executor) fly(c saga.Call) {
	x.flying++
	var requestID atomic.Pointer[string]
	ctx := upstream.WithCaller(x.lease.ctx, upstream.Caller{
		Merchant: c.Merchant, RequestID: "req-" + c.RunID, MayWrite: x.lease.check,
		Answered: func(id string) { requestID.Store(&id) },
	})
	began, env := x.engine.Clock.Now(), environment{x.engine, x.run.Subject, x.run.Handed, x.token}
	go func() {
		o := x.machine.Def.Attempt(ctx, c, env)
		o.StartedAt = began
		if id := requestID.Load(); id != nil {
			o.RequestID = *id
		}
		x.outcomes <- o
	}()
}

// The method `wait` waits until the machine has something to decide. The result is false if the lease is lost.
func (x *executor) wait() bool {
	if x.look || x.flying == 0 && x.wake == nil {
		return x.lease.ctx.Err() == nil // nothing to wait for
	}
	x.engine.Clock.yield(x.run.ID)
	if !x.gather() {
		var awake <-chan struct{}
		if x.wake != nil {
			var stop func()
			awake, stop = x.engine.Clock.after(max(0, x.wake.Sub(x.engine.Clock.Now())))
			defer stop()
		}
		select {
		case <-x.lease.ctx.Done():
		case <-awake:
		case <-x.pokes:
			x.look = true
		case o := <-x.outcomes:
			x.land(o)
		}
		x.engine.Clock.yield(x.run.ID)
		x.gather()
	}
	return x.lease.ctx.Err() == nil
}

// The method `gather` collects all outcomes that have arrived: calls that end at the same time share a checkpoint. Then `gather`
// reports whether the machine has something to decide.
func (x *executor) gather() bool {
	for {
		select {
		case o := <-x.outcomes:
			x.land(o)
			continue
		case <-x.pokes:
			x.look = true
			continue
		default:
			return x.look || len(x.came) > 0
		}
	}
}

func (x *executor) land(o saga.Outcome) {
	x.flying--
	o.EndedAt = x.engine.Clock.Now()
	skipped := o.Skipped != "" && x.run.Step(o.Call.Step).Optional
	if o.Err != nil && o.Err.Log != nil && !skipped {
		x.engine.OnFault(fmt.Errorf("%s of step %s of run %s: %w", o.Call.Kind, o.Call.Step, x.run.ID, o.Err.Log))
	}
	switch {
	case o.DropToken:
		x.token = ""
	case o.Token != "":
		x.token = o.Token
	}
	x.came = append(x.came, o)
}

// The method `actions` returns the stored actions of the run. If the read fails, `actions` calls OnFault, schedules another read,
// and returns nil.
func (x *executor) actions() []saga.Action {
	x.look = false
	ctx, cancel := x.engine.patiently(x.lease.ctx)
	defer cancel()
	actions, err := x.engine.Store.Actions(ctx, x.run.ID)
	if err != nil {
		x.engine.OnFault(fmt.Errorf("reading the actions of run %s: %w", x.run.ID, err))
		x.engine.Clock.AfterFunc(lookAgain, x.poke)
	}
	return actions
}

// The method `store` writes a decision to the database. The result is false if the run no longer belongs to this replica.
func (x *executor) store(d saga.Decision) bool {
	e := x.engine
	result := x.committer.write(d.Checkpoint)
	if errors.Is(result.Err, saga.ErrBadRow) {
		e.OnFault(fmt.Errorf("storing run %s: %w", x.run.ID, result.Err))
		d = x.machine.Unstorable(x.run, d, e.Clock.Now())
		result = x.committer.write(d.Checkpoint)
	}
	if result.Err != nil {
		e.beUnsure()
		return false
	}
	d.Run.Version++
	x.adopt(d)
	x.look = x.look || result.Actions
	for _, event := range d.Events {
		e.OnEvent(x.run, event)
	}
	if d.Run.State.Ended() {
		e.passwords.forget(x.run.ID)
	}
	if result.Successor {
		e.lookForWork()
	}
	e.watchers.tell(x.run.ID, x.run, e.Clock.local())
	return true
}

// The method `adopt` copies a decision into the executor. The decision is stored already, or will be stored together with a new
// run.
func (x *executor) adopt(d saga.Decision) {
	x.run, x.state, x.calls, x.wake, x.released = d.Run, d.State, d.Calls, d.Wake, d.Release
}

func (x *executor) poke() {
	select {
	case x.pokes <- struct{}{}:
	default:
	}
}
