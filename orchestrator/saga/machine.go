package saga

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// Machine makes the decisions about a run: which calls to make, and when to wait or end. A Machine is pure: it makes no calls, and
// its decisions depend only on the run, the definition, the limits and the input. The engine stores the decisions and makes the
// calls.
type Machine struct {
	// Def is the definition; nil if this release does not know the workflow.
	Def    *Definition
	Limits Limits
}

// Limits are the durations that decisions depend on.
type Limits struct {
	LateWindow  time.Duration // maximum time between an unanswered request and its effect
	Deadline    time.Duration // maximum working time of a run; a run that takes longer is compensated or held
	GiveUpAfter time.Duration // maximum time of a run, including all waits; a run that takes longer is compensated or held
}

// Input contains the events of a run since the run was last stored: a new lease, outcomes of calls, and actions.
type Input struct {
	Now time.Time
	// Claimed is true for the first decision under a new lease on the run. The outcomes of calls that were in flight under an
	// earlier lease are lost.
	Claimed bool
	// Outcomes are the outcomes of the calls that have ended, in any order.
	Outcomes []Outcome
	// Actions are the stored actions of the run that are not consumed yet, oldest first.
	Actions []Action
	// Password is true if the replica has just received the password for which the run waits.
	Password bool
	// State is the Decision.State of the last stored decision. If State is nil, the machine computes the state again.
	State json.RawMessage
	// Leaving is true if the replica is handing back its runs. No new call may then start.
	Leaving bool
}

// Decision contains the change that the engine must store, and the calls that the engine must then make.
type Decision struct {
	// Checkpoint is the change to store. Checkpoint.Run is the run after the decision, even if there is nothing to store.
	Checkpoint
	// Stores reports whether the checkpoint must be stored.
	Stores bool
	// Calls are the calls to make after the checkpoint is stored. The checkpoint contains the intents of these calls.
	Calls []Call
	// State is the run's state after this decision, or nil if the machine did not compute the state.
	State json.RawMessage
	// Wake is the time of the next decision. If something happens to the run before that time, the next decision is made at once. If
	// Wake is nil, the next decision is made when something happens to the run.
	Wake *time.Time
	// Release is true if the lease on the run ends when this decision is stored. The run can be leased again at Run.DueAt, or when
	// another replica or an action wakes the run.
	Release bool
	// Log is an error of the workflow's code. The error goes only to the log.
	Log error
}

// The type `turn` is a decision that is being made.
type turn struct {
	Machine
	Decision

	was     *Run // the run as it was last stored
	run     *Run // Decision.Run
	now     time.Time
	leaving bool
	moved   bool // a call has succeeded, or the run has begun to compensate: see attend
}

// Next makes the next decision about a run. The argument `r` is the run as it was last stored. Next does not change r.
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
	if in.Password {
		t.handOver()
	}
	t.decide()
	return t.finish()
}

// Unstorable returns a replacement for a decision that the database refuses. The outcomes in the refused decision are lost, so the effects
// of their calls are unknown. When the other calls in flight have ended, the run waits for an operator. A compensated run does not wait for
// an operator; instead, its re-check is repeated. The argument `r` is the run as it was last stored.
func (m Machine) Unstorable(r *Run, refused Decision, now time.Time) Decision {
	t := m.turn(r, now, false)
	t.Consumed, t.DropToken, t.Stores = refused.Consumed, refused.DropToken, true
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		after := refused.Run.Step(row.Name)
		calledAgain := slices.ContainsFunc(refused.Calls, func(c Call) bool { return c.Step == row.Name })
		if row.InFlight != "" && (after.InFlight == "" || calledAgain) {
			t.interrupt(row, "the outcome of the call could not be stored")
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

// The method `turn` begins a decision. If the run was able to work since its last write, `turn` adds the time since that write to
// Run.Worked.
func (m Machine) turn(r *Run, now time.Time, claimed bool) *turn {
	run := *r
	run.Steps, run.Objects = slices.Clone(r.Steps), slices.Clone(r.Objects)
	if claimed && r.Reason != nil && r.Reason.Kind == WaitsForRetry && r.Cause == nil || !claimed && r.works() {
		run.Worked += now.Sub(r.UpdatedAt)
	}
	return &turn{Machine: m, Decision: Decision{Checkpoint: Checkpoint{Run: &run, Replica: r.Replica}}, was: r, run: &run, now: now}
}

// The method `finish` completes a decision. If the decision must be stored, `finish` sets State in the decision's calls, and
// UpdatedAt and AttentionAt in the run.
func (t *turn) finish() Decision {
	if !t.Stores {
		return t.Decision
	}
	for i := range t.Calls {
		t.Calls[i].State, _ = t.currentState() //nolint:errcheck // a call that gets no state fails and returns the error
	}
	t.attend()
	if !t.was.State.Ended() { // actions and re-checks do not change UpdatedAt of an ended run
		t.run.UpdatedAt = t.now
	}
	return t.Decision
}

// The method `works` reports whether the run goes forward without waiting, or waits for a retry. While `works` returns true, time
// counts as the run's working time.
func (r *Run) works() bool {
	return r.Cause == nil && !r.State.Ended() && (r.Reason == nil || r.Reason.Kind == WaitsForRetry)
}

// The method `decide` starts the steps that are ready, or ends, compensates or releases the run.
func (t *turn) decide() {
	switch {
	case t.run.over(): // a replica took the run because of an action, but the action arrived too late
		t.releaseAt(nil)
	case t.Def == nil:
		t.hold(t.missing("workflow-unknown", "this release has no code for workflow "+t.run.Workflow))
		t.rest()
	case t.stopped(), t.leaving:
		t.rest()
	case t.run.WaitsFor != "":
		t.stayQueued()
	case t.run.State == Compensated:
		t.recheck()
	case t.run.Cause != nil:
		t.backward()
	default:
		t.forward()
	}
}

// The method `stopped` reports whether an operator must act before a new call may start.
func (t *turn) stopped() bool { return t.run.Hold != nil || t.run.State == Stuck }

// The method `hold` prevents further calls of the run. If the run is already on hold, the reason of the hold does not change.
func (t *turn) hold(r Reason) {
	if t.run.Hold == nil {
		t.run.Hold, t.Stores = &r, true
	}
}

// The method `rest` starts no call, and releases the run when no call is in flight. A held or stuck run then waits for an operator.
// If the run does not need an operator, another replica can lease the run.
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

// releaseAt ends the lease on the run when this decision is stored. The run can be leased again at the time `due`. If `due` is nil,
// the run can be leased again only when something wakes it.
func (t *turn) releaseAt(due *time.Time) {
	t.run.Replica, t.run.DueAt = "", due
	t.Release, t.Stores = true, true
}

// The method `await` makes the run wait until reason.Until. If the run does not already wait for the same reason, `await` adds an
// event.
func (t *turn) await(reason Reason, state RunState) {
	if t.run.State != state || t.run.Reason == nil || t.run.Reason.Kind != reason.Kind || t.run.Reason.Code != reason.Code {
		t.tell(Event{Kind: EventWaiting, Step: reason.Step, Why: string(reason.Kind), Failure: &reason.Failure})
	}
	t.run.State, t.run.Reason, t.Stores = state, &reason, true
	t.sleepUntil(*reason.Until)
}

// awaitRetry makes the run wait for the next attempt of a step.
func (t *turn) awaitRetry(row *StepRow, state RunState) {
	if t.run.State == Compensated { // a re-check does not change the run's state
		t.sleepUntil(*row.RetryAt)
		return
	}
	kind := WaitsForRetry
	switch {
	case row.Error.AwaitsPassword:
		kind = WaitsForPassword
	case row.Error.Unavailable:
		kind = WaitsForUpstream
	}
	t.await(Reason{Kind: kind, Failure: *row.Error, Until: row.RetryAt}, state)
}

// handOver makes each step that waits for the password ready for its next attempt. An unanswered call of the step may have contained an
// earlier password, and may still take effect. If there is such a call, and the step has no Find, the next attempt begins after the late
// window, so that the new password stays.
func (t *turn) handOver() {
	for i := range t.run.Steps {
		row := &t.run.Steps[i]
		if !row.awaitsPassword() {
			continue
		}
		row.RetryAt = nil
		code, until := t.Def.step(row.Name), row.effectiveUntil(t.Limits.LateWindow)
		if code != nil && code.find == nil && until.After(t.now) {
			row.RetryAt, row.Error = &until, &Failure{
				Code: "password-late", FixBy: FixByNobody, Step: row.Name, At: t.now,
				Detail: "a call got no answer, and may still set an earlier password; the step is repeated after the late window",
			}
		}
		t.changed(row)
	}
}

// sleepUntil makes the run wait until a time. If the wait is longer than shortWait, the replica releases the run.
func (t *turn) sleepUntil(until time.Time) {
	t.Wake = &until
	if until.Sub(t.now) > shortWait {
		t.releaseAt(&until)
	}
}

// The method `call` adds a Call for the step row, and the intent of the Call, to the decision.
func (t *turn) call(row *StepRow, kind CallKind) {
	row.InFlight, row.RetryAt = kind, nil
	t.changed(row)
	c := Call{
		RunID: t.run.ID, User: t.run.User, Merchant: t.run.Merchant, Step: row.Name, Item: row.item(), Kind: kind,
		Attempt: row.Attempts, Handed: t.run.Handed, Look: row.Unknowns > 0,
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

// The method `begins` returns true until the first call of the run has succeeded. Until then, the run waits for the re-checks of
// runs with the same subject.
func (t *turn) begins() bool {
	return !slices.ContainsFunc(t.run.Steps, func(s StepRow) bool {
		return s.State == StepSucceeded && s.EndedAt.After(*s.StartedAt) // a step that made no call ended when it started
	})
}

// The method `tell` adds an event about the run to the checkpoint.
func (t *turn) tell(event Event) {
	t.run.Seq++
	event.RunID, event.Seq, event.Epoch, event.At = t.run.ID, t.run.Seq, t.run.Epoch, t.now
	t.Events = append(t.Events, event)
	t.Stores = true
}

// The method `changed` adds the changed row of a step to the checkpoint.
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

func (t *turn) missing(code Code, detail string) Reason {
	return Reason{Kind: WaitsForOperator, Failure: Failure{
		Code: code, Detail: detail + "; use a release that has this code", FixBy: FixByOperator, At: t.now,
	}}
}
