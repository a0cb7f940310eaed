package saga

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// Machine decides about the runs of one definition. It is pure: all that it decides on is in the run, in the input and in
// the limits, and it calls nobody. Whoever executes runs stores its decisions and makes its calls.
type Machine struct {
	// Def is the definition; nil if this release does not know the workflow.
	Def    *Definition
	Limits Limits
}

// Limits are the times that decisions depend on.
type Limits struct {
	LateWindow  time.Duration // how long after its sending a lost request may still take effect
	Deadline    time.Duration // how long a run may work before it compensates
	GiveUpAfter time.Duration // how long a run may also wait for an upstream
}

// Input is what happened to a run since it was last stored.
type Input struct {
	Now time.Time
	// Claimed says that a lease begins: the calls in flight have no outcome any more.
	Claimed bool
	// Outcomes are those of calls in flight, in any order.
	Outcomes []Outcome
	// Actions are those that wait for the run, oldest first.
	Actions []Action
	// Leaving says that the replica hands its runs back: nothing new is started.
	Leaving bool
}

// Decision is what to store and what to do once that is stored.
type Decision struct {
	// Checkpoint is what to store. Its Run is the run after the decision, also where there is nothing to store.
	Checkpoint
	// Stores reports whether there is something to store.
	Stores bool
	// Calls are to be made once the checkpoint is stored: their intents are in it.
	Calls []Call
	// Wake is when to decide again although nothing happens; nil: not before something does.
	Wake *time.Time
	// Release says that with this write the replica ends its lease on the run. The run can be claimed again from Run.DueAt on, or
	// when it is woken.
	Release bool
}

// turn is one decision in the making.
type turn struct {
	Machine
	Decision

	was     *Run // as stored
	run     *Run // Decision.Run
	now     time.Time
	leaving bool
	state   json.RawMessage // of the run; nil: not computed
}

// Next decides what is next for a run as it was last stored. It does not change r.
func (m Machine) Next(r *Run, in Input) Decision {
	t := m.turn(r, in.Now, in.Claimed)
	t.leaving = in.Leaving
	if in.Claimed {
		t.takeOver()
	}
	outcomes := slices.SortedFunc(slices.Values(in.Outcomes), func(x, y Outcome) int {
		return cmp.Compare(r.Step(x.Call.Step).Position, r.Step(y.Call.Step).Position)
	})
	for _, o := range outcomes {
		t.take(o)
	}
	for _, a := range in.Actions {
		t.consume(a)
	}
	t.decide()
	return t.finish()
}

// Unstorable decides instead of a decision that the database refuses for what it holds. The outcomes in it are lost: of their
// calls it is unknown what they did. Once the other calls in flight have ended, the run waits for an operator, or its re-check
// is made again later. r is the run as it was last stored.
func (m Machine) Unstorable(r *Run, refused Decision, now time.Time) Decision {
	t := m.turn(r, now, false)
	t.Consumed, t.DropToken, t.Stores = refused.Consumed, refused.DropToken, true
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		after := refused.Run.Step(row.Name)
		calledAgain := slices.ContainsFunc(refused.Calls, func(c Call) bool { return c.Step == row.Name })
		if row.InFlight != "" && (after.InFlight == "" || calledAgain) {
			t.interrupt(row, "its outcome could not be stored")
		}
	}
	if t.run.over() {
		t.releaseAt(nil)
		return t.finish()
	}
	t.run.Hold = &Reason{Kind: WaitsForOperator, Failure: Failure{
		Code: "not-storable", Detail: "the database refuses what the run's last step gave; the log tells why",
		FixBy: FixByOperator, At: now,
	}}
	t.rest()
	return t.finish()
}

// turn begins a decision. It first adds the time since the last write to Run.Worked, if the run could work then.
func (m Machine) turn(r *Run, now time.Time, claimed bool) *turn {
	run := *r
	run.Steps, run.Objects = slices.Clone(r.Steps), slices.Clone(r.Objects)
	if claimed && r.Reason != nil && r.Reason.Kind == WaitsForRetry && r.Cause == nil || !claimed && r.works() {
		run.Worked += now.Sub(r.UpdatedAt)
	}
	return &turn{Machine: m, Decision: Decision{Checkpoint: Checkpoint{Run: &run, Replica: r.Replica}}, was: r, run: &run, now: now}
}

// finish completes the decision with what each write records.
func (t *turn) finish() Decision {
	if !t.Stores {
		return t.Decision
	}
	for i := range t.Calls {
		t.Calls[i].State, _ = t.currentState() //nolint:errcheck // without it the attempt fails and says so
	}
	if !t.was.State.Ended() { // what an ended run shows stays as it is, whatever action or re-check comes
		t.run.UpdatedAt = t.now
	}
	return t.Decision
}

// works reports whether time passes from now on in which the run can work.
func (r *Run) works() bool {
	return r.Cause == nil && !r.State.Ended() && (r.Reason == nil || r.Reason.Kind == WaitsForRetry)
}

// decide starts what is ready, ends the run, turns it back, or gives it up.
func (t *turn) decide() {
	switch {
	case t.run.over(): // claimed for an action that came too late
		t.releaseAt(nil)
	case t.Def == nil:
		t.hold(t.missing("workflow-unknown", "this release knows no workflow "+t.run.Workflow))
		t.rest()
	case t.stopped(), t.leaving:
		t.rest()
	case t.run.WaitsFor != "":
		t.releaseAt(nil)
	case t.run.State == Compensated:
		t.recheck()
	case t.run.Cause != nil:
		t.backward()
	default:
		t.forward()
	}
}

// stopped reports whether nothing new is started before an operator acts.
func (t *turn) stopped() bool { return t.run.Hold != nil || t.run.State == Stuck }

// hold stops the run before its next call. The first reason counts.
func (t *turn) hold(r Reason) {
	if t.run.Hold == nil {
		t.run.Hold, t.Stores = &r, true
	}
}

// rest lets the calls in flight end, and then gives the run up: to an operator, or to the other replicas.
func (t *turn) rest() {
	run := t.run
	switch {
	case run.inFlight():
	case run.State == Stuck:
		t.releaseAt(nil)
	case run.Hold == nil: // this replica is leaving
		t.releaseAt(new(t.now))
	case run.State == Compensated:
		why := run.Hold.Failure
		run.Hold = nil
		t.giveUpRecheck(why)
	default:
		if !run.held() {
			t.tell(Event{Kind: EventWaiting, Step: run.Hold.Step, Why: string(run.Hold.Kind), Failure: &run.Hold.Failure})
		}
		run.State, run.Reason = Waiting, run.Hold
		t.releaseAt(nil)
	}
}

// releaseAt gives the run up with this write; it is due at the given time, or when it is woken.
func (t *turn) releaseAt(due *time.Time) {
	t.run.Replica, t.run.DueAt = "", due
	t.Release, t.Stores = true, true
}

// await makes the run wait until a time, visibly. If that is far off, it is given up.
func (t *turn) await(reason Reason, state RunState) {
	if t.run.State != state || t.run.Reason == nil || t.run.Reason.Kind != reason.Kind || t.run.Reason.Code != reason.Code {
		t.tell(Event{Kind: EventWaiting, Step: reason.Step, Why: string(reason.Kind), Failure: &reason.Failure})
	}
	t.run.State, t.run.Reason, t.Stores = state, &reason, true
	t.sleepUntil(*reason.Until)
}

// awaitRetry makes the run wait for the next attempt of a step.
func (t *turn) awaitRetry(row *StepRow, state RunState) {
	if t.run.State == Compensated { // a re-check does not change how the run ended
		t.sleepUntil(*row.RetryAt)
		return
	}
	kind := WaitsForRetry
	if row.Error.Unavailable {
		kind = WaitsForUpstream
	}
	t.await(Reason{Kind: kind, Failure: *row.Error, Until: row.RetryAt}, state)
}

// sleepUntil keeps the run for a short wait, and gives it up for a longer one.
func (t *turn) sleepUntil(until time.Time) {
	t.Wake = &until
	if until.Sub(t.now) > shortWait {
		t.releaseAt(&until)
	}
}

// call stores the intent of a call, and asks for it.
func (t *turn) call(row *StepRow, kind CallKind) {
	row.InFlight, row.RetryAt = kind, nil
	t.changed(row)
	c := Call{
		RunID: t.run.ID, Merchant: t.run.Merchant, Step: row.Name, Item: row.item(), Kind: kind,
		Attempt: row.Attempts, Look: row.Unknowns > 0,
	}
	if c.Undoes() {
		c.Attempt = row.Undos
	} else {
		c.Begins = t.begins()
	}
	if c.Begins || kind == CallRecheck {
		c.Input = t.run.Input
	}
	t.Calls = append(t.Calls, c)
}

// begins reports whether no call of the run has succeeded yet. What others about its subject have left upstream may still matter to
// it until then.
func (t *turn) begins() bool {
	return !slices.ContainsFunc(t.run.Steps, func(s StepRow) bool {
		return s.State == StepSucceeded && s.EndedAt.After(*s.StartedAt) // else it was passed without a call
	})
}

// tell adds an event to the write.
func (t *turn) tell(event Event) {
	t.run.Seq++
	event.RunID, event.Seq, event.Epoch, event.At = t.run.ID, t.run.Seq, t.run.Epoch, t.now
	t.Events = append(t.Events, event)
	t.Stores = true
}

// changed puts a row into the write.
func (t *turn) changed(row *StepRow) {
	t.Stores = true
	for i := range t.Steps {
		if t.Steps[i].Name == row.Name {
			t.Steps[i] = *row
			return
		}
	}
	t.Steps = append(t.Steps, *row)
}

func (t *turn) missingStep(row *StepRow) Reason {
	return t.missing("step-unknown", "this release has no code for step "+row.Name)
}

func (t *turn) missing(code, detail string) Reason {
	return Reason{Kind: WaitsForOperator, Failure: Failure{
		Code: code, Detail: detail + "; run a release that has it", FixBy: FixByOperator, At: t.now,
	}}
}
