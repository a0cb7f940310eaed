package saga

import (
	"slices"
	"time"
)

// Patience is the time without progress after which a run needs attention.
const Patience = 15 * time.Minute

// The method `attend` sets the time from which the run needs the attention of a person. A run needs attention at once if it is stuck or
// held, or if an undo was refused while other undos continue. If a step or an undo has failed and is tried again, the run needs attention
// after Patience. Further failed attempts do not extend Patience. Patience starts again when the run makes progress: when a call succeeds,
// when the run begins to compensate, or when an action is applied. A run that waits for a password needs no attention, because only
// its caller can help.
func (t *turn) attend() {
	run := t.run
	if run.needsPerson() {
		if at := run.AttentionAt; at == nil || at.After(t.now) {
			run.AttentionAt = new(t.now)
		}
		return
	}
	if t.moved || run.State.Ended() || !run.triesAgain() {
		run.AttentionAt = nil
	}
	if run.AttentionAt == nil && run.awaitsRetry() {
		run.AttentionAt = new(t.now.Add(Patience))
	}
}

func (r *Run) needsPerson() bool {
	return r.State == Stuck || r.held() ||
		!r.State.Ended() && slices.ContainsFunc(r.Steps, func(s StepRow) bool { return s.State == StepUndoFailed })
}

// awaitsRetry reports whether a call of the run has failed and will be repeated. A re-check of an ended run does not count.
func (r *Run) awaitsRetry() bool {
	return !r.State.Ended() && slices.ContainsFunc(r.Steps, func(s StepRow) bool { return s.RetryAt != nil && !s.awaitsPassword() })
}

// triesAgain reports whether a call of the run has failed and will be repeated, or is being repeated.
func (r *Run) triesAgain() bool {
	return r.awaitsRetry() || slices.ContainsFunc(r.Steps, func(s StepRow) bool { return s.Error != nil && s.InFlight != "" })
}
