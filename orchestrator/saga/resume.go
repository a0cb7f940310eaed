package saga

import (
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// maxTakeOvers is how often a run is claimed without a step coming to a result before it is held: what kills one
// replica after the other must not be passed on for ever.
const maxTakeOvers = 3

// takenOverTooOften is why it is held then.
const takenOverTooOften = "taken-over-too-often"

// resume prepares a claimed run: what was under way when the replica before died is unknown now.
func (w *executor) resume() {
	now, run := w.engine.Clock.Now(), w.run
	w.actions = true // the claim may have been made for one
	if run.Reason != nil && run.Reason.Kind == WaitsForRetry && run.Cause == nil {
		run.Worked += now.Sub(run.UpdatedAt)
	}
	if run.Reason != nil && run.Reason.Kind == WaitsForPredecessor && run.WaitsFor == "" {
		run.BudgetFrom = now // its time begins with its turn
	}
	interrupted := false
	for i := range run.Steps {
		interrupted = w.interrupt(&run.Steps[i], now) || interrupted
	}
	if interrupted {
		w.tell(Event{Kind: EventTakenOver})
	} else { // nobody died of it: it was released, or handed back between two calls
		run.TakeOvers = 0
	}
	switch {
	case run.State == Stuck, run.held():
		w.parked = run.Reason
	case interrupted && run.TakeOvers >= maxTakeOvers:
		w.park(Reason{Kind: WaitsForOperator, Failure: Failure{
			Code:   takenOverTooOften,
			Detail: fmt.Sprintf("%d replicas in a row ended while they worked on the same step", run.TakeOvers),
			FixBy:  FixByOperator, At: now,
		}})
		if run.State == Compensated { // it is re-checked, which is not held, but made again later
			run.TakeOvers = 0
		}
	}
}

// interrupt notes that a call was under way when the lease before ended; false if none was. An undo whose turn has not
// come is to be made, but was not.
func (w *executor) interrupt(row *StepRow, now time.Time) bool {
	switch {
	case row.State == StepRunning:
		row.State = StepUnknown
		row.Unknowns++
		w.tell(Event{Kind: EventUnknown, Step: row.Name, Attempt: row.Attempts, Why: "the replica ended"})
	case row.State == StepUndoing && row.RetryAt == nil && row.Undos > 0 && w.undoTurn(row):
		w.tell(Event{Kind: EventUndoAttempt, Step: row.Name, Attempt: row.Undos, Why: "the replica ended"})
	default:
		return false
	}
	row.UnknownAt = &now
	w.changed(row)
	return true
}

// consume takes in what operators asked for.
func (w *executor) consume() {
	w.actions = false
	ctx, cancel := w.engine.patiently(w.lease.ctx)
	defer cancel()
	actions, err := w.engine.Store.Actions(ctx, w.run.ID)
	if err != nil {
		w.engine.OnFault(fmt.Errorf("reading the actions of run %s: %w", w.run.ID, err))
		w.engine.Clock.AfterFunc(lookAgain, w.poke)
		return
	}
	for _, v := range actions {
		event := Event{Kind: EventAction, Action: string(v.Name), Step: v.Step, Who: v.Who, Why: upstream.Clean(v.Why)}
		err := w.run.accepts(v)
		if w.run.State.Ended() { // since it was asked: a retry starts another run then, which is not for this one to do
			err = &RefusedError{v.Name, fmt.Sprintf("the run is %s", w.run.State)}
		}
		if err != nil {
			event.Failure = &Failure{Code: "refused", Detail: upstream.Clean(err.Error()), FixBy: FixByNobody, At: w.engine.Clock.Now()}
			w.tell(event)
		} else {
			w.tell(event)
			w.apply(v)
		}
		w.next.Consumed = append(w.next.Consumed, v.ID)
	}
}

// apply changes the run as an action that fits its state wants it.
func (w *executor) apply(v Action) {
	run, now := w.run, w.engine.Clock.Now()
	why := Failure{Detail: upstream.Clean(v.Why), FixBy: FixByNobody, At: now}
	switch v.Name {
	case Retry:
		w.goOn(now)
	case SkipStep:
		row := run.Step(v.Step)
		if run.Cause != nil {
			w.leaveBehind(row)
		}
		row.State, row.RetryAt, row.EndedAt = StepSkipped, nil, &now
		w.changed(row)
		if run.WaitsFor == "" {
			w.goOn(now)
		}
	case Compensate, Cancel:
		why.Code = "compensated-by-operator"
		if v.Name == Cancel {
			why.Code = "cancelled"
		}
		w.parked, run.WaitsFor = nil, ""
		w.turnBack(why)
	case Hold:
		why.Code, why.FixBy = "held", FixByOperator
		w.park(Reason{Kind: WaitsForOperator, Failure: why})
	}
}

// goOn lets a waiting or stuck run work again at once, with a new budget of time.
func (w *executor) goOn(now time.Time) {
	run := w.run
	w.parked, run.BudgetFrom, run.Worked, run.TakeOvers = nil, now, 0, 0
	run.State, run.Reason = Running, nil
	if run.Cause != nil {
		run.State = Compensating
	}
	for i := range run.Steps {
		row := &run.Steps[i]
		switch {
		case row.State == StepFailed && row.Unknowns > 0:
			row.State = StepUnknown
		case row.State == StepFailed:
			row.State = StepPending
		case row.State == StepUndoFailed:
			row.State = StepUndoing
		case row.RetryAt == nil:
			continue
		}
		row.RetryAt = nil
		w.changed(row)
	}
}

// leaveBehind notes what stays upstream of a step whose undo an operator skips.
func (w *executor) leaveBehind(row *StepRow) {
	named := false
	for _, o := range w.run.Objects {
		if o.Step == row.Name && o.Origin == Own && o.RemovedAt == nil {
			w.run.LeftBehind = append(w.run.LeftBehind, LeftBehind{Step: o.Step, Kind: o.Kind, ID: o.ID, Name: o.Name})
			named = true
		}
	}
	if !named {
		w.run.LeftBehind = append(w.run.LeftBehind, LeftBehind{Step: row.Name})
	}
}
