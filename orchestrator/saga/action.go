package saga

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ActionName is what an operator can ask of a run.
type ActionName string

// The actions.
const (
	Retry      ActionName = "retry"      // a waiting or stuck run goes on now; a compensated one gets a successor
	SkipStep   ActionName = "skip"       // forward an optional step; compensating any undo
	Compensate ActionName = "compensate" // undo what the run has done
	Hold       ActionName = "hold"       // stop before the next step
	Cancel     ActionName = "cancel"     // the merchant's own way to say compensate
)

// Action is one request of an operator or merchant, which the lease holder consumes at its next checkpoint.
type Action struct {
	ID    int64
	RunID string
	Name  ActionName
	Step  string // for SkipStep
	Who   string
	Why   string
	At    time.Time
}

// RefusedError says why an action does not fit the state of the run.
type RefusedError struct {
	Action ActionName
	Why    string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s refused: %s", e.Action, e.Why) }

// Actions lists what can be asked of the run as it stands.
func (r *Run) Actions() []ActionName {
	var fit []ActionName
	for _, v := range []ActionName{Retry, SkipStep, Compensate, Hold, Cancel} {
		if v == SkipStep && len(r.skippable()) > 0 || v != SkipStep && r.accepts(Action{Name: v}) == nil {
			fit = append(fit, v)
		}
	}
	return fit
}

// accepts tells why an action does not fit the state of the run; nil if it does.
func (r *Run) accepts(v Action) error {
	refuse := func(why string, args ...any) error {
		return &RefusedError{v.Name, fmt.Sprintf(why, args...)}
	}
	over := r.State.Ended() || r.State == Stuck
	forward := !over && r.Cause == nil
	switch v.Name {
	case Retry:
		if r.State == Compensated && r.RetriedBy != "" {
			return refuse("it was retried by run %s", r.RetriedBy)
		}
		if r.State == Waiting && r.WaitsFor != "" {
			return refuse("it waits for run %s about the same subject", r.WaitsFor)
		}
		if r.State == Succeeded || r.State == Running || r.State == Pending {
			return refuse("the run is %s", r.State)
		}
	case SkipStep:
		if steps := r.skippable(); !slices.Contains(steps, v.Step) {
			if r.Step(v.Step) == nil {
				return refuse("the run has no step %q", v.Step)
			}
			if len(steps) == 0 {
				return refuse("no step can be skipped now")
			}
			return refuse("step %q cannot be skipped now, but %s", v.Step, strings.Join(steps, ", "))
		}
	case Compensate, Cancel:
		if !forward {
			return refuse("the run is %s", r.State)
		}
	case Hold:
		if over || r.held() {
			return refuse("the run is %s", r.State)
		}
		if r.WaitsFor != "" {
			return refuse("it waits for run %s anyway", r.WaitsFor)
		}
	default:
		return refuse("there is no such action")
	}
	return nil
}

func (r *Run) held() bool {
	return r.State == Waiting && r.Reason != nil && r.Reason.Kind == WaitsForOperator
}

// skippable names the steps that an operator may skip as the run stands.
func (r *Run) skippable() []string {
	var names []string
	for i := range r.Steps {
		s := &r.Steps[i]
		forward := r.Cause == nil && !r.State.Ended() && s.Optional && !s.Done() && s.State != StepRunning
		undo := r.Cause != nil && !r.State.Ended() &&
			(s.State == StepUndoFailed || s.Begun() && s.State == StepUndoing || s.RetryAt != nil && s.Undos > 0)
		if forward || undo {
			names = append(names, s.Name)
		}
	}
	return names
}
