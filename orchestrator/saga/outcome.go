package saga

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// outcome is what came of one attempt.
type outcome struct {
	step      string
	undo      bool
	startedAt time.Time
	output    []byte
	err       error
	call      *Call
}

// panicError is what is left of a panic in a step.
type panicError struct{ value any }

func (p panicError) Error() string { return fmt.Sprintf("the step panicked: %v", p.value) }

// takeIn takes what has come, and what else has come meanwhile: calls that ended together share a write, in which they
// stand in the order of the steps. False: nothing has.
func (w *executor) takeIn(came ...outcome) (some bool) {
	for more := true; more; {
		select {
		case o := <-w.outcomes:
			came = append(came, o)
		default:
			more = false
		}
	}
	slices.SortFunc(came, func(x, y outcome) int {
		return cmp.Compare(w.run.Step(x.step).Position, w.run.Step(y.step).Position)
	})
	for _, o := range came {
		w.take(o)
	}
	select {
	case <-w.pokes:
		w.actions = true
		return true
	default:
		return len(came) > 0
	}
}

// take notes an outcome in the row and in the next write.
func (w *executor) take(o outcome) {
	delete(w.flying, o.step)
	row := w.run.Step(o.step)
	w.next.Objects = append(w.next.Objects, o.call.objects...)
	if o.call.dropToken {
		w.next.DropToken, w.token = true, ""
	}
	now := w.engine.Clock.Now()
	w.run.TakeOvers = 0
	w.run.Objects = append(w.run.Objects, o.call.objects...)
	for _, gone := range o.call.removed {
		w.markRemoved(gone, now)
	}
	if o.undo {
		w.undone(row, o, now)
	} else {
		w.did(row, o, now)
	}
	w.changed(row)
}

func (w *executor) markRemoved(gone Object, now time.Time) {
	for i := range w.run.Objects {
		o := &w.run.Objects[i]
		if o.Kind == gone.Kind && o.ID == gone.ID {
			o.RemovedAt = &now
			w.next.Objects = append(w.next.Objects, *o)
			return
		}
	}
	gone.Origin, gone.RemovedAt = Own, &now // made by a call whose answer was lost
	w.run.Objects = append(w.run.Objects, gone)
	w.next.Objects = append(w.next.Objects, gone)
}

// did notes what came of a Do.
func (w *executor) did(row *StepRow, o outcome, now time.Time) {
	event := Event{Step: row.Name, Attempt: o.call.Attempt, StartedAt: o.startedAt, RequestID: o.call.requestID}
	if o.err == nil {
		if !bytes.Equal(row.Output, o.output) {
			w.state = nil
		}
		row.State, row.Output, row.Error, row.EndedAt = StepSucceeded, o.output, nil, &now
		event.Kind = EventSucceeded
		w.tell(event)
		return
	}
	if why, ok := skipped(o.err); ok && row.Optional {
		row.State, row.Error, row.EndedAt = StepSkipped, nil, &now
		event.Kind, event.Why = EventSkipped, upstream.Clean(why)
		w.tell(event)
		return
	}
	found := w.classify(o, now)
	row.Error, row.State, event.Kind = &found.Failure, StepPending, EventAttempt
	event.Failure = row.Error
	if found.MaybeDone {
		row.Unknowns++
		row.UnknownAt = &now
		event.Kind = EventUnknown
	}
	if row.Unknowns > 0 {
		row.State = StepUnknown
	}
	if late := w.overdue(found, now); late != "" {
		found.Class = upstream.Permanent
		row.Error.Code, row.Error.Detail = "deadline-exceeded", upstream.Clean(late+": "+row.Error.Detail)
	}
	w.tell(event)
	switch found.Class {
	case upstream.Permanent:
		row.State, row.EndedAt = StepFailed, &now
		if w.parked != nil && w.parked.Step != "" { // for a sibling that needs a person: that is void now
			w.parked = nil
		}
		w.tell(Event{Kind: EventStepFailed, Step: row.Name, Attempt: o.call.Attempt, Failure: row.Error})
	case upstream.Blocked:
		if w.run.Cause != nil || w.failed() != nil { // it is being undone, or will be
			return
		}
		w.park(Reason{Kind: WaitsForOperator, Failure: *row.Error})
	case upstream.Transient, upstream.Unavailable:
		at := now.Add(retryIn(w.run.ID, row.Name, row.Attempts, found))
		row.RetryAt = &at
	}
}

// overdue says which limit a failed attempt has passed.
func (w *executor) overdue(v Classification, now time.Time) string {
	if v.Class != upstream.Transient && v.Class != upstream.Unavailable {
		return ""
	}
	worked := w.run.Worked
	if w.counting {
		worked += now.Sub(w.countedUntil)
	}
	switch {
	case now.Sub(w.run.BudgetFrom) > w.engine.GiveUpAfter:
		return fmt.Sprintf("not finished within %s", w.engine.GiveUpAfter)
	case v.Class == upstream.Transient && worked > w.engine.Deadline:
		return fmt.Sprintf("not finished within %s of work", w.engine.Deadline)
	}
	return ""
}

// classify asks the workflow what an error means, except for those that are the engine's own.
func (w *executor) classify(o outcome, now time.Time) Classification {
	var found Classification
	p, panicked := errors.AsType[panicError](o.err)
	switch {
	case errors.Is(o.err, ErrLeaseLost):
		found = Classification{Class: upstream.Transient, MaybeDone: true, Failure: Failure{Code: "lease-lost", Detail: o.err.Error()}}
	case panicked:
		found = Classification{Class: upstream.Blocked, MaybeDone: true, Failure: Failure{
			Code: "step-panicked", Detail: p.Error(), FixBy: FixByOperator,
		}}
	default:
		found = w.def.classify(o.err)
	}
	found.Failure.Detail = upstream.Clean(found.Failure.Detail)
	found.Failure.RequestID = upstream.Clean(found.Failure.RequestID)
	found.Failure.Step, found.Failure.At = o.step, now
	found.Failure.Unavailable = found.Class == upstream.Unavailable
	if found.Failure.FixBy == "" {
		found.Failure.FixBy = FixByNobody
	}
	return found
}
