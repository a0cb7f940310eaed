package model

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The function `moment` converts a time to UTC and cuts it to whole microseconds, as the databases do.
func moment(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

func maybeMoment(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	m := moment(*t)
	return &m
}

// The function `plain` removes the monotonic clock reading from a time, because the JSON in the databases does not contain this
// reading.
func plain(t time.Time) time.Time { return t.Round(0) }

// copyOf returns a copy of a run with the values that the databases would store.
func copyOf(r *saga.Run) *saga.Run {
	c := *r
	copyMutable(&c, r)
	c.Input = append(json.RawMessage{}, r.Input...)
	c.CreatedAt = moment(r.CreatedAt)
	c.Steps = slices.Clone(r.Steps)
	for i := range r.Steps {
		copyStep(&c.Steps[i], &r.Steps[i])
	}
	c.Objects = slices.Clone(r.Objects)
	for i := range c.Objects {
		c.Objects[i].RemovedAt = maybeMoment(c.Objects[i].RemovedAt)
	}
	return &c
}

func copyOfReason(r *saga.Reason) *saga.Reason {
	if r == nil {
		return nil
	}
	c := *r
	c.At = plain(c.At)
	if c.Until != nil {
		c.Until = new(plain(*c.Until))
	}
	return &c
}

// copyMutable copies the mutable fields of the run `from` to the run `to`, except the steps and objects. Epoch and Version are not
// copied, because the store itself sets them.
func copyMutable(to, from *saga.Run) {
	to.State, to.WaitsFor, to.HoldsSubject, to.Replica = from.State, from.WaitsFor, from.HoldsSubject, from.Replica
	to.Reason, to.Hold, to.Cause = copyOfReason(from.Reason), copyOfReason(from.Hold), copyOfFailure(from.Cause)
	to.LeftBehind = nil
	if len(from.LeftBehind) > 0 {
		to.LeftBehind = slices.Clone(from.LeftBehind)
	}
	to.UpdatedAt, to.EndedAt, to.DueAt = moment(from.UpdatedAt), maybeMoment(from.EndedAt), maybeMoment(from.DueAt)
	to.Worked, to.BudgetFrom = from.Worked.Truncate(time.Microsecond), moment(from.BudgetFrom)
	to.AttentionAt = maybeMoment(from.AttentionAt)
	to.Rechecks, to.TakeOvers, to.Looked, to.Seq, to.User = from.Rechecks, from.TakeOvers, from.Looked, from.Seq, from.User
}

func copyStep(to, from *saga.StepRow) {
	*to = *from
	to.After = slices.Clone(from.After)
	copyStepMutable(to, from)
}

// copyStepMutable copies the mutable fields of one step to another step.
func copyStepMutable(to, from *saga.StepRow) {
	to.State, to.Attempts, to.Undos, to.Unknowns = from.State, from.Attempts, from.Undos, from.Unknowns
	to.Output = nil
	if len(from.Output) > 0 {
		to.Output = slices.Clone(from.Output)
	}
	to.InFlight, to.Error = from.InFlight, copyOfFailure(from.Error)
	to.StartedAt, to.EndedAt = maybeMoment(from.StartedAt), maybeMoment(from.EndedAt)
	to.RetryAt, to.UnknownAt, to.UndoneAt = maybeMoment(from.RetryAt), maybeMoment(from.UnknownAt), maybeMoment(from.UndoneAt)
}

func copyOfEvent(e *saga.Event) saga.Event {
	c := *e
	c.At = moment(e.At)
	if !e.StartedAt.IsZero() {
		c.StartedAt = moment(e.StartedAt)
	}
	c.Failure = copyOfFailure(e.Failure)
	return c
}

func copyOfObject(o *saga.Object) saga.Object {
	c := *o
	c.RemovedAt = maybeMoment(o.RemovedAt)
	return c
}

func copyOfFailure(f *saga.Failure) *saga.Failure {
	if f == nil {
		return nil
	}
	c := *f
	c.At = plain(f.At)
	return &c
}
