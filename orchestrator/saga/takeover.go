package saga

import "fmt"

// maxTakeOvers is how often a run is claimed without a step coming to a result before it is held: a run that kills its
// replica must not go on to kill the next.
const maxTakeOvers = 3

// takenOverTooOften is the code of that hold.
const takenOverTooOften = "taken-over-too-often"

// LostTooManyReplicas reports whether the run is held because so many replicas ended while they worked on it.
func (r *Run) LostTooManyReplicas() bool { return r.held() && r.Reason.Code == takenOverTooOften }

// takeOver prepares a claimed run: the outcomes of calls that were in flight when the replica before ended are unknown.
func (t *turn) takeOver() {
	run := t.run
	run.Looked = false
	if run.held() && run.Hold == nil { // an earlier release held it
		run.Hold = run.Reason
	}
	if run.Reason != nil && run.Reason.Kind == WaitsForPredecessor && run.WaitsFor == "" {
		run.BudgetFrom = t.now // its time begins with its turn
	}
	interrupted := false
	for i := range run.Steps {
		interrupted = t.interrupt(&run.Steps[i], "the replica ended") || interrupted
	}
	if !interrupted { // no replica died of it: it was released, or handed back between two calls
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
	if run.State == Compensated { // it is re-checked, which is not held, but made again later
		run.TakeOvers = 0
	}
}

// interrupt notes that the outcome of the call in flight will never be known, and reports whether there was a call. A step that is
// running without one was written by a release before in_flight was stored.
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
