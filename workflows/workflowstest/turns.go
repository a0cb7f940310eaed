package workflowstest

import (
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// oneAtATime checks that runs with the same subject execute one at a time. If two runs have the same subject, one run must end
// before the other run makes its first call. Re-checks after the end of a run do not count. The check does not test the sequence in
// which runs execute, because a run does not contain the time at which it was stored.
func oneAtATime(v *view, broken report) {
	bySubject := map[string][]*saga.Run{}
	for _, r := range v.Runs {
		for _, other := range bySubject[r.Subject] {
			if overlap(r, other, v.Skew) {
				broken(r.ID, "the run executed at the same time as another run with the same subject", other.ID)
			}
		}
		bySubject[r.Subject] = append(bySubject[r.Subject], r)
	}
}

func overlap(a, b *saga.Run, skew time.Duration) bool {
	fromA, fromB := began(a), began(b)
	return fromA != nil && fromB != nil && !endedBefore(a, *fromB, skew) && !endedBefore(b, *fromA, skew)
}

func endedBefore(r *saga.Run, at time.Time, skew time.Duration) bool {
	return r.EndedAt != nil && !r.EndedAt.After(at.Add(skew))
}

// The function `began` returns the time at which the first step of the run began, or nil if no step has begun.
func began(r *saga.Run) (first *time.Time) {
	for _, s := range r.Steps {
		if s.StartedAt != nil && (first == nil || s.StartedAt.Before(*first)) {
			first = s.StartedAt
		}
	}
	return first
}

// endsOrWaits checks that every run has ended, is due, or waits. A waiting run must have a reason, and must name the person who can
// fix the cause. If a run waits for an operator, at least one action must be possible.
func endsOrWaits(v *view, broken report) {
	for _, r := range v.Runs {
		fault := func(detail string, args ...any) {
			broken(r.ID, fmt.Sprintf("the run is %s, but ", r.State)+fmt.Sprintf(detail, args...))
		}
		if r.State.Ended() {
			ended(r, fault)
			continue
		}
		if r.EndedAt != nil {
			fault("has an end time")
		}
		if r.State == saga.Stuck || r.State == saga.Waiting || r.Reason != nil {
			v.waits(r, fault)
		}
		attention(r, fault)
		switch {
		case r.State == saga.Stuck && r.Replica != "":
			fault("replica %s has its lease", r.Replica)
		case r.State == saga.Stuck && !r.HoldsSubject:
			fault("has released its subject")
		case r.Replica == "" && r.DueAt == nil && r.WaitsFor == "" && !forOperator(r):
			fault("has no due time, waits for no other run, and does not wait for an operator")
		}
	}
}

// The function `attention` checks when a run appears in the list of runs that need attention. A run that needs a person must be in the
// list now. A run that waits for an upstream or for a retry must be in the list after [saga.Patience] at the latest.
func attention(r *saga.Run, fault func(string, ...any)) {
	refused := slices.ContainsFunc(r.Steps, func(s saga.StepRow) bool { return s.State == saga.StepUndoFailed })
	latest := r.UpdatedAt
	switch {
	case r.State == saga.Stuck, forOperator(r), refused:
	case r.Reason != nil && (r.Reason.Kind == saga.WaitsForUpstream || r.Reason.Kind == saga.WaitsForRetry):
		latest = latest.Add(saga.Patience)
	default:
		return
	}
	if r.AttentionAt == nil || r.AttentionAt.After(latest) {
		fault("needs attention from %v, want %v at the latest", r.AttentionAt, latest)
	}
}

func forOperator(r *saga.Run) bool { return r.Reason != nil && r.Reason.Kind == saga.WaitsForOperator }

func ended(r *saga.Run, fault func(string, ...any)) {
	switch {
	case r.EndedAt == nil:
		fault("has no end time")
	case r.HoldsSubject:
		fault("still holds its subject")
	case r.Replica != "":
		fault("replica %s has its lease", r.Replica)
	case r.Reason != nil || r.WaitsFor != "":
		fault("still has a reason to wait")
	case (r.Cause != nil) != (r.State == saga.Compensated):
		fault("has the cause %+v", r.Cause)
	case r.AttentionAt != nil:
		fault("needs attention from %v", r.AttentionAt)
	case r.Rechecks > 0 && r.DueAt == nil:
		fault("%d re-checks have no due time", r.Rechecks)
	}
}

// The method `waits` checks the stored reason of a waiting run.
func (v *view) waits(r *saga.Run, fault func(string, ...any)) {
	why := r.Reason
	if why == nil || why.Kind == "" || why.Code == "" || why.Detail == "" || why.FixBy == "" {
		fault("its reason is incomplete: %+v", why)
		return
	}
	if r.WaitsFor != "" {
		if why.Kind != saga.WaitsForPredecessor && !forOperator(r) { // a run can be held while it waits
			fault("waits for run %s, and its reason is %s instead of predecessor", r.WaitsFor, why.Kind)
		}
		if before := v.byID[r.WaitsFor]; before == nil || before.State.Ended() || before.Subject != r.Subject {
			fault("waits for run %s, which does not exist, has ended, or has another subject", r.WaitsFor)
		}
	}
	if forOperator(r) && len(r.Actions()) == 0 {
		fault("no action is possible")
	}
}
