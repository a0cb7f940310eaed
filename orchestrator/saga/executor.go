package saga

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// executor works on one leased run: decide what is next, store it, make the calls, take in their outcomes, and again.
type executor struct {
	engine *Engine
	def    *Definition // nil if no code knows the workflow
	run    *Run
	lease  *lease

	replica string // that holds the run
	token   string // see Call.Token
	stored  Run    // the run as it was last written

	state json.RawMessage // of the run; nil when a step has added to it

	next      Checkpoint // what the next write will hold
	dirty     bool
	calls     []string // steps whose intent is in next: called once it is stored
	flying    map[string]bool
	outcomes  chan outcome
	pokes     chan struct{}
	actions   bool    // look for actions
	parked    *Reason // why nothing new is started: an operator must act
	released  bool
	rechecked bool // the steps of a compensated run were looked at under this lease

	sleepUntil   *time.Time // when there is something to decide although nothing comes in
	countedUntil time.Time  // until when Worked is counted
	counting     bool
}

func newExecutor(e *Engine, d *Definition, run *Run, l *lease) *executor {
	return &executor{
		engine: e, def: d, run: run, lease: l, replica: run.Replica, stored: *run,
		flying:       map[string]bool{},
		outcomes:     make(chan outcome, len(run.Steps)),
		pokes:        make(chan struct{}, 1),
		countedUntil: e.Clock.Now(),
	}
}

// begin prepares a run that was never worked on: the intents of its first steps, and the events it gives, are stored
// together with it.
func (w *executor) begin() []Event {
	w.decide()
	events := w.next.Events
	w.next, w.dirty = Checkpoint{}, false
	w.counting, w.stored = w.counts(), *w.run
	return events
}

// takeOver works on a claimed run.
func (w *executor) takeOver() {
	w.resume()
	w.work()
}

// work goes on until the run ends, waits for longer, or the lease is lost.
func (w *executor) work() {
	defer w.engine.release(w)
	for {
		for _, name := range w.calls {
			w.fly(name)
		}
		w.calls = nil
		if w.released || !w.wait() {
			return
		}
		if w.actions {
			w.consume()
		}
		w.decide()
		if w.dirty && !w.commit() {
			return
		}
	}
}

// fly makes the call of a step whose intent is stored.
func (w *executor) fly(name string) {
	row := w.run.Step(name)
	code := w.def.step(name)
	_, item, _ := strings.Cut(name, "/")
	c := &Call{
		RunID: w.run.ID, Merchant: w.run.Merchant, Step: name, Item: item, Attempt: row.Attempts, LookFirst: row.Unknowns > 0,
		Undo: row.State == StepUndoing, Recheck: w.run.State == Compensated, token: w.token,
	}
	do := code.do
	if c.Undo {
		do, c.Attempt = code.undo, row.Undos
	}
	state, err := w.currentState()
	o := outcome{step: name, undo: c.Undo, startedAt: w.engine.Clock.Now(), call: c}
	w.flying[name] = true
	ctx := withCall(w.lease.ctx, c, w.lease.check)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				o.err = panicError{v}
			}
			w.outcomes <- o
		}()
		if o.err = err; err == nil {
			o.output, o.err = do(ctx, state)
		}
	}()
}

// currentState is the run's input with what its steps have added.
func (w *executor) currentState() (state json.RawMessage, err error) {
	if w.state == nil {
		w.state, err = w.run.state()
	}
	return w.state, err
}

// wait sleeps until something is to be decided. False: the lease is lost.
func (w *executor) wait() bool {
	if w.actions || len(w.flying) == 0 && w.sleepUntil == nil {
		return w.lease.ctx.Err() == nil // nothing to wait for
	}
	w.engine.Clock.yield(w.run.ID)
	if !w.takeIn() {
		var awake <-chan struct{}
		if w.sleepUntil != nil {
			var stop func()
			awake, stop = w.engine.Clock.after(max(0, w.sleepUntil.Sub(w.engine.Clock.Now())))
			defer stop()
		}
		var came []outcome
		select {
		case <-w.lease.ctx.Done():
		case <-awake:
		case <-w.pokes:
			w.actions = true
		case o := <-w.outcomes:
			came = append(came, o)
		}
		w.engine.Clock.yield(w.run.ID)
		w.takeIn(came...)
	}
	return w.lease.ctx.Err() == nil
}

// commit stores what has changed. False: the run is not this replica's any more.
func (w *executor) commit() bool {
	e, now := w.engine, w.engine.Clock.Now()
	if w.counting {
		w.run.Worked += now.Sub(w.countedUntil)
	}
	w.countedUntil = now
	if !w.stored.State.Ended() { // what an ended run shows stays as it is, whatever action or re-check comes
		w.run.UpdatedAt = now
	}
	w.next.Run, w.next.Replica = w.run, w.replica
	result := e.committer.write(w.lease.ctx, w.next)
	switch {
	case errors.Is(result.Err, ErrBadRow):
		e.OnFault(fmt.Errorf("storing run %s: %w", w.run.ID, result.Err))
		if !w.holdBadRow(now) {
			e.beUnsure()
			return false
		}
	case result.Err != nil:
		e.beUnsure()
		return false
	}
	w.run.Version++
	w.stored = *w.run
	w.actions = w.actions || result.Actions
	for _, event := range w.next.Events {
		e.OnEvent(w.run, event)
	}
	if result.Successor {
		e.lookForWork()
	}
	e.watchers.tell(w.run.ID, w.run)
	w.next, w.dirty, w.counting = Checkpoint{}, false, w.counts()
	return true
}

// counts tells whether the time from now on is time in which the run can work.
func (w *executor) counts() bool {
	return w.run.Cause == nil && (w.run.Reason == nil || w.run.Reason.Kind == WaitsForRetry)
}

// holdBadRow stores, instead of a write that the database refuses for what it holds, only that the run waits for an
// operator; what was to be called is not called.
func (w *executor) holdBadRow(now time.Time) bool {
	*w.run = w.stored // the write may have ended the run
	w.run.UpdatedAt = now
	w.next.Events, w.next.Steps, w.next.Objects, w.calls = nil, nil, nil, nil
	w.run.Replica, w.released = "", true
	if w.run.State.Ended() { // it was a re-check
		due := now.Add(recheckAfter[1])
		w.run.DueAt = &due
		return w.engine.committer.write(w.lease.ctx, w.next).Err == nil
	}
	w.run.State, w.run.DueAt = Waiting, nil
	w.run.Reason = &Reason{Kind: WaitsForOperator, Failure: Failure{
		Code: "not-storable", Detail: "the database refuses what the run's last step gave; the log tells why",
		FixBy: FixByOperator, At: now,
	}}
	w.tell(Event{Kind: EventWaiting, Failure: &w.run.Reason.Failure})
	return w.engine.committer.write(w.lease.ctx, w.next).Err == nil
}

// tell adds an event to the next write.
func (w *executor) tell(event Event) {
	w.run.Seq++
	event.RunID, event.Seq, event.Epoch = w.run.ID, w.run.Seq, w.run.Epoch
	event.At = w.engine.Clock.Now()
	w.next.Events = append(w.next.Events, event)
	w.dirty = true
}

// changed puts a row into the next write.
func (w *executor) changed(row *StepRow) {
	w.dirty = true
	for i := range w.next.Steps {
		if w.next.Steps[i].Name == row.Name {
			w.next.Steps[i] = *row
			return
		}
	}
	w.next.Steps = append(w.next.Steps, *row)
}

func (w *executor) park(r Reason) {
	if w.parked == nil {
		w.parked = &r
	}
}

func (w *executor) poke() {
	select {
	case w.pokes <- struct{}{}:
	default:
	}
}
