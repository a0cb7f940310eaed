package saga

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// Machine decides what the runs of one definition do next. It is pure: a decision depends only on the run, the definition, the
// limits and the input, and the machine calls nothing. The engine stores the decisions and makes the calls.
type Machine struct {
	// Def is the definition; nil if this release does not know the workflow.
	Def    *Definition
	Limits Limits
}

// Limits are the durations that decisions depend on.
type Limits struct {
	LateWindow  time.Duration // how long after it was sent a lost request may still take effect
	Deadline    time.Duration // how long a run may work before it compensates
	GiveUpAfter time.Duration // how long a run may take, including waits for upstreams, before it compensates
}

// Input is what happened to a run since it was last stored.
type Input struct {
	Now time.Time
	// Claimed reports that a new lease begins. Calls that were in flight under an earlier lease have no outcome any more.
	Claimed bool
	// Outcomes are those of the calls that have ended, in any order.
	Outcomes []Outcome
	// Actions are those stored for the run and not consumed yet, oldest first.
	Actions []Action
	// State is Decision.State of the last decision that was stored, so that it need not be computed again; nil: not known.
	State json.RawMessage
	// Leaving reports that the replica is handing back its runs: no new call is started.
	Leaving bool
}

// Decision is what to store, and what to do once that is stored.
type Decision struct {
	// Checkpoint is what to store. Its Run is the run after the decision, even if there is nothing to store.
	Checkpoint
	// Stores reports whether there is something to store.
	Stores bool
	// Calls are made after the checkpoint, which has their intents, is stored.
	Calls []Call
	// State is the run's state after this decision; nil: it was not computed.
	State json.RawMessage
	// Wake is when to decide again if nothing happens before; nil: only when something happens.
	Wake *time.Time
	// Release reports that this write ends the lease on the run. The run may be claimed again from Run.DueAt on, or when it is woken.
	Release bool
}

// turn is a decision that is being made.
type turn struct {
	Machine
	Decision

	was     *Run // as stored
	run     *Run // Decision.Run
	now     time.Time
	leaving bool
}

// Next decides what a run does next. r is the run as it was last stored, and Next does not change it.
func (m Machine) Next(r *Run, in Input) Decision {
	t := m.turn(r, in.Now, in.Claimed)
	t.leaving, t.State = in.Leaving, in.State
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

// Unstorable returns the decision to store in place of one whose contents the database refuses. The outcomes in the refused
// decision are lost, so what their calls did is unknown. Once the other calls in flight have ended, the run waits for an operator;
// a re-check is repeated later instead. r is the run as it was last stored.
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
		Code: "not-storable", Detail: "the database refuses the result of the run's last step; the log has the database's error",
		FixBy: FixByOperator, At: now,
	}}
	t.rest()
	return t.finish()
}

// turn begins a decision. It first adds the time since the last write to Run.Worked, if the run could work in that time.
func (m Machine) turn(r *Run, now time.Time, claimed bool) *turn {
	run := *r
	run.Steps, run.Objects = slices.Clone(r.Steps), slices.Clone(r.Objects)
	if claimed && r.Reason != nil && r.Reason.Kind == WaitsForRetry && r.Cause == nil || !claimed && r.works() {
		run.Worked += now.Sub(r.UpdatedAt)
	}
	return &turn{Machine: m, Decision: Decision{Checkpoint: Checkpoint{Run: &run, Replica: r.Replica}}, was: r, run: &run, now: now}
}

// finish adds to a decision that is stored the states for its calls and the time of the update.
func (t *turn) finish() Decision {
	if !t.Stores {
		return t.Decision
	}
	for i := range t.Calls {
		t.Calls[i].State, _ = t.currentState() //nolint:errcheck // without a state the attempt fails and reports it
	}
	if !t.was.State.Ended() { // actions and re-checks do not change what an ended run shows
		t.run.UpdatedAt = t.now
	}
	return t.Decision
}

// works reports whether the time from now on counts as worked: the run is going forward and waits for nothing but a retry.
func (r *Run) works() bool {
	return r.Cause == nil && !r.State.Ended() && (r.Reason == nil || r.Reason.Kind == WaitsForRetry)
}

// decide starts the steps that are ready, or ends, compensates or releases the run.
func (t *turn) decide() {
	switch {
	case t.run.over(): // it was claimed for an action that arrived too late
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

// stopped reports whether no new call may start until an operator acts.
func (t *turn) stopped() bool { return t.run.Hold != nil || t.run.State == Stuck }

// hold prevents further calls. If the run is on hold already, the earlier reason remains.
func (t *turn) hold(r Reason) {
	if t.run.Hold == nil {
		t.run.Hold, t.Stores = &r, true
	}
}

// rest starts no call. Once no call is in flight, it releases the run: to an operator if it is held or stuck, else to the other
// replicas.
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

// releaseAt ends the lease on the run with this write. The run is due at the given time; nil: when something wakes it.
func (t *turn) releaseAt(due *time.Time) {
	t.run.Replica, t.run.DueAt = "", due
	t.Release, t.Stores = true, true
}

// await makes the run wait until reason.Until. It adds an event unless the run already waits for the same reason.
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

// sleepUntil makes the run wait until a time. It keeps the run for a short wait and releases it for a longer one.
func (t *turn) sleepUntil(until time.Time) {
	t.Wake = &until
	if until.Sub(t.now) > shortWait {
		t.releaseAt(&until)
	}
}

// call adds a call and its intent to the decision.
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

// begins reports whether no call of the run has succeeded yet. Until one has, the run waits for re-checks about its subject.
func (t *turn) begins() bool {
	return !slices.ContainsFunc(t.run.Steps, func(s StepRow) bool {
		return s.State == StepSucceeded && s.EndedAt.After(*s.StartedAt) // equal times: the step was satisfied without a call
	})
}

// tell adds an event to the checkpoint.
func (t *turn) tell(event Event) {
	t.run.Seq++
	event.RunID, event.Seq, event.Epoch, event.At = t.run.ID, t.run.Seq, t.run.Epoch, t.now
	t.Events = append(t.Events, event)
	t.Stores = true
}

// changed adds a row to the checkpoint.
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
