package saga

import "fmt"

// maxTakeOvers is a number of consecutive leases of a run. If so many leases end without an outcome of a step, the run is held, because the
// run may have killed the replicas.
const maxTakeOvers = 3

// takenOverTooOften is the failure code of a run that has reached maxTakeOvers and is held.
const takenOverTooOften Code = "taken-over-too-often"

// LostTooManyReplicas reports whether the run is held because too many replicas ended while they executed it.
func (r *Run) LostTooManyReplicas() bool { return r.held() && r.Reason.Code == takenOverTooOften }

// takeOver prepares a run for a new lease: it records that the outcomes of calls in flight under the previous lease are unknown.
func (t *turn) takeOver() {
	run := t.run
	run.Looked = false
	if run.held() && run.Hold == nil { // the run was held by an older release, which did not store Hold
		run.Hold = run.Reason
	}
	interrupted := false
	for i := range run.Steps {
		interrupted = t.interrupt(&run.Steps[i], "the replica ended, or lost the database") || interrupted
	}
	if !interrupted { // no replica ended during a call: the run was released, or handed back between two calls
		run.TakeOvers = 0
		return
	}
	t.tell(Event{Kind: EventTakenOver})
	if run.TakeOvers < maxTakeOvers {
		return
	}
	t.hold(Reason{Kind: WaitsForOperator, Failure: Failure{
		Code:   takenOverTooOften,
		Detail: fmt.Sprintf("%d replicas in a row ended while they worked on the same step", run.TakeOvers),
		FixBy:  FixByOperator, At: t.now,
	}})
	if run.State == Compensated { // a compensated run is not held; its re-check is repeated
		run.TakeOvers = 0
	}
}

// The method `interrupt` records that the outcome of the call in flight is unknown, and reports whether there was such a call. A
// running step without a call in flight was stored by an older release, which did not store in_flight.
func (t *turn) interrupt(row *StepRow, why string) bool {
	kind := row.InFlight
	if kind == "" && row.State == StepRunning {
		kind = CallDo
	}
	switch kind {
	case "":
		return false
	case CallDo:
		row.State = StepUnknown
		row.Unknowns++
		t.tell(Event{Kind: EventUnknown, Step: row.Name, Attempt: row.Attempts, Why: why})
	case CallUndo, CallVerify, CallRecheck:
		t.tell(Event{Kind: EventUndoAttempt, Step: row.Name, Attempt: row.Undos, Why: why})
	}
	row.InFlight, row.UnknownAt = "", new(t.now)
	t.changed(row)
	return true
}
