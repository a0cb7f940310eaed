package saga

import (
	"slices"
	"time"
)

// UpstreamPatience is how long a run waits for an upstream that is down before the run needs attention.
const UpstreamPatience = 15 * time.Minute

// attend sets the time from which the run needs the attention of a person. A run needs attention at once if it is stuck or held, or
// if an undo was refused while other undos continue. A run that waits for an upstream needs attention after UpstreamPatience.
// Attempts during that wait do not extend it, unless the upstream answers.
func (t *turn) attend() {
	run := t.run
	switch at := run.AttentionAt; {
	case run.needsPerson():
		if at == nil || at.After(t.now) {
			run.AttentionAt = new(t.now)
		}
	case run.State.Ended() || !run.waitsForUpstream():
		run.AttentionAt = nil
	case at == nil && run.Reason != nil:
		run.AttentionAt = new(t.now.Add(UpstreamPatience))
	}
}

func (r *Run) needsPerson() bool {
	return r.State == Stuck || r.held() ||
		!r.State.Ended() && slices.ContainsFunc(r.Steps, func(s StepRow) bool { return s.State == StepUndoFailed })
}

// waitsForUpstream reports whether the last attempt of a step failed because an upstream was down. A new attempt of the step may be
// in flight.
func (r *Run) waitsForUpstream() bool {
	return slices.ContainsFunc(r.Steps, func(s StepRow) bool {
		return s.Error != nil && s.Error.Unavailable && (s.RetryAt != nil || s.InFlight != "")
	})
}
