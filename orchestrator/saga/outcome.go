package saga

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The method `take` records an outcome in the run and in the checkpoint.
func (t *turn) take(o Outcome) {
	row := t.run.Step(o.Call.Step)
	row.InFlight = ""
	if o.DropToken {
		t.DropToken = true
	}
	t.run.User = cmp.Or(o.User, t.run.User)
	t.moved = t.moved || o.Err == nil
	t.run.TakeOvers = 0
	for _, made := range o.Objects {
		made.RequestID = o.RequestID
		t.made(made)
	}
	for _, gone := range o.Removed {
		t.removed(gone, o.EndedAt)
	}
	if o.Call.Undoes() {
		t.undid(row, o)
	} else {
		t.did(row, o)
	}
	t.changed(row)
}

// The method `made` adds an object to the run. If the run has the object already, `made` only records that the object is not
// removed.
func (t *turn) made(object Object) {
	for i := range t.run.Objects {
		o := &t.run.Objects[i]
		if o.Kind == object.Kind && o.ID == object.ID {
			if o.RemovedAt != nil {
				o.RemovedAt = nil
				t.Objects = append(t.Objects, *o)
			}
			return
		}
	}
	t.run.Objects = append(t.run.Objects, object)
	t.Objects = append(t.Objects, object)
}

func (t *turn) removed(gone Object, at time.Time) {
	for i := range t.run.Objects {
		o := &t.run.Objects[i]
		if o.Kind == gone.Kind && o.ID == gone.ID {
			t.markRemoved(o, at)
			return
		}
	}
	gone.Origin, gone.RemovedAt = Own, &at // this object was made by a call whose answer was lost
	t.run.Objects = append(t.run.Objects, gone)
	t.Objects = append(t.Objects, gone)
}

// markRemoved records that an object of the run is removed, together with the objects that belong to it.
func (t *turn) markRemoved(o *Object, at time.Time) {
	o.RemovedAt = &at
	t.Objects = append(t.Objects, *o)
	for i := range t.run.Objects {
		if part := &t.run.Objects[i]; part.RemovedAt == nil && part.partOf(o) {
			part.RemovedAt = &at
			t.Objects = append(t.Objects, *part)
		}
	}
}

// nothingLeft is called after a successful Undo of a step, and records that the run's own objects of this step are removed. The Undo may
// have found nothing to remove: an earlier unanswered Undo may have removed the object, or the object may have lost the run's tag. If an
// own object belongs to another own object that still exists, nothingLeft records no removal, because the Undo of the other object removes
// both objects.
func (t *turn) nothingLeft(row *StepRow, at time.Time) {
	for i := range t.run.Objects {
		o := &t.run.Objects[i]
		if o.Step == row.Name && o.Origin == Own && o.RemovedAt == nil && !slices.ContainsFunc(t.run.Objects, func(on Object) bool {
			return on.Origin == Own && on.RemovedAt == nil && o.partOf(&on)
		}) {
			t.markRemoved(o, at)
		}
	}
}

// The method `did` adds the outcome of a Do to the run.
func (t *turn) did(row *StepRow, o Outcome) {
	now := o.EndedAt
	event := Event{Step: row.Name, Attempt: o.Call.Attempt, StartedAt: o.StartedAt, RequestID: o.RequestID}
	if o.Err == nil {
		if !bytes.Equal(row.Output, o.Output) {
			t.State = nil
		}
		row.State, row.Output, row.Error, row.EndedAt = StepSucceeded, o.Output, nil, &now
		event.Kind = EventSucceeded
		t.tell(event)
		return
	}
	if o.Skipped != "" && row.Optional {
		row.State, row.Error, row.EndedAt = StepSkipped, nil, &now
		event.Kind, event.Why = EventSkipped, upstream.Clean(o.Skipped)
		t.tell(event)
		return
	}
	found := t.failure(o)
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
	if limit := t.overdue(found); limit != "" {
		found.Class, *row.Error = upstream.Permanent, late(*row.Error, limit)
	}
	t.tell(event)
	switch found.Class {
	case upstream.Permanent:
		row.State, row.EndedAt = StepFailed, &now
		if t.run.Hold != nil && t.run.Hold.Step != "" { // the run fails, so no operator is needed for the step in Hold
			t.run.Hold = nil
		}
		t.tell(Event{Kind: EventStepFailed, Step: row.Name, Attempt: o.Call.Attempt, Failure: row.Error})
	case upstream.Blocked:
		if t.run.Cause != nil || t.run.failed() != nil { // the run compensates or fails, so it needs no hold
			return
		}
		t.hold(Reason{Kind: WaitsForOperator, Failure: *row.Error})
	case upstream.Transient, upstream.Unavailable:
		at := now.Add(retryIn(t.run.ID, row.Name, row.Attempts, maxDelay, found))
		if found.Failure.AwaitsPassword { // the run waits for the caller until it expires
			at = t.run.BudgetFrom.Add(t.Limits.GiveUpAfter + time.Second)
		}
		row.RetryAt = &at
	}
}

// The method `undid` adds the outcome of an Undo to the run.
func (t *turn) undid(row *StepRow, o Outcome) {
	now := o.EndedAt
	event := Event{Step: row.Name, Attempt: o.Call.Attempt, StartedAt: o.StartedAt, RequestID: o.RequestID}
	if o.Err == nil {
		again := row.UndoneAt != nil
		row.State, row.Error, row.UndoneAt = StepUndone, nil, new(o.StartedAt)
		if o.Kept != "" {
			t.run.leaveBehind(row)
			event.Kind, event.Why = EventUserKept, upstream.Clean(o.Kept)
			t.tell(event)
			return
		}
		if o.Call.Kind != CallRecheck { // a re-check leaves effects that another run claims
			t.nothingLeft(row, now)
		}
		event.Kind = EventUndone
		if o.Late || again && len(o.Removed) > 0 {
			event.Kind = EventLateEffect
		}
		t.tell(event)
		return
	}
	found := t.failure(o)
	recheck, failedBefore := o.Call.Kind == CallRecheck, row.Error
	row.Error, event.Kind = &found.Failure, EventUndoAttempt
	event.Failure = row.Error
	if t.run.left(row) { // the undo was skipped while this attempt was in flight
		t.tell(event)
		return
	}
	if found.MaybeDone {
		row.UnknownAt = &now
	}
	refused := found.Class == upstream.Permanent || found.Class == upstream.Blocked
	sameAgain := failedBefore != nil && failedBefore.Code == found.Failure.Code && !found.MaybeDone && !refused
	if !recheck || !sameAgain { // a re-check is retried without limit, so it adds only one event per reason
		t.tell(event)
	}
	if refused {
		row.State = StepUndoFailed
		t.tell(Event{Kind: EventUndoFailed, Step: row.Name, Attempt: o.Call.Attempt, Failure: row.Error})
		return
	}
	most := maxDelay
	if recheck {
		most = maxRecheckDelay
	}
	at := now.Add(retryIn(t.run.ID, row.Name, row.Undos, most, found))
	row.RetryAt = &at
}

// The method `failure` returns the outcome's error in the form that is stored: with cleaned texts, the step and the time.
func (t *turn) failure(o Outcome) Classification {
	found := *o.Err
	found.Failure.Detail = upstream.Clean(found.Failure.Detail)
	found.Failure.RequestID = upstream.Clean(found.Failure.RequestID)
	found.Failure.Step, found.Failure.At = o.Call.Step, o.EndedAt
	found.Failure.Unavailable = found.Class == upstream.Unavailable
	if found.Failure.FixBy == "" {
		found.Failure.FixBy = FixByNobody
	}
	return found
}

// The method `overdue` is called after a failed attempt. The result names the time limit that the run has exceeded. If the run has
// exceeded no time limit, the result is empty.
func (t *turn) overdue(v Classification) string {
	if v.Class != upstream.Transient && v.Class != upstream.Unavailable {
		return ""
	}
	switch {
	case t.expired():
		return t.giveUpLimit()
	case v.Class == upstream.Transient && !v.Failure.AwaitsPassword && t.run.Worked > t.Limits.Deadline:
		return fmt.Sprintf("the run was not finished within %s of working time", t.Limits.Deadline)
	}
	return ""
}
