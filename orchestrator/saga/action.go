package saga

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ActionName is the name of an action that an operator or merchant can request for a run.
type ActionName string

// The actions.
const (
	Retry      ActionName = "retry"      // continue a waiting or stuck run now, or repeat a compensated run as a new run
	SkipStep   ActionName = "skip"       // skip an optional step; during the compensation, skip the undo of a step
	Compensate ActionName = "compensate" // undo the steps of the run
	Hold       ActionName = "hold"       // start no further call
	Cancel     ActionName = "cancel"     // like Compensate, but merchants may request it, too
)

// Action is a request of an operator, a merchant or a replica to change a run. The replica that executes the run applies the action
// at the next checkpoint.
type Action struct {
	ID    int64
	RunID string
	Name  ActionName
	Step  string // for SkipStep
	Who   string
	Why   string
	At    time.Time

	// IfVersion is the version of the run for which the action is meant. 0 means any version. IfVersion is not stored.
	IfVersion int64
}

// replicaPrefix is the beginning of Action.Who if a replica requests the action by itself.
const replicaPrefix = "replica "

// ByReplica returns the value of Action.Who for an action that a replica requests by itself. Such an action does not extend
// Limits.GiveUpAfter.
func ByReplica(replica string) string { return replicaPrefix + replica }

// IsReplica reports whether `who` is a replica: see [ByReplica].
func IsReplica(who string) bool { return strings.HasPrefix(who, replicaPrefix) }

func (v Action) byPerson() bool { return !IsReplica(v.Who) }

// RefusedError reports why the state of a run does not allow an action.
type RefusedError struct {
	Action ActionName
	Why    string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s refused: %s", e.Action, e.Why) }

// Actions lists the actions that the run's state allows.
func (r *Run) Actions() []ActionName {
	var fit []ActionName
	for _, v := range []ActionName{Retry, SkipStep, Compensate, Hold, Cancel} {
		if v == SkipStep && len(r.skippable()) > 0 || v != SkipStep && r.Accepts(Action{Name: v}) == nil {
			fit = append(fit, v)
		}
	}
	return fit
}

// Accepts returns a *RefusedError if the run's state does not allow the action, and nil otherwise.
func (r *Run) Accepts(v Action) error {
	refuse := func(why string, args ...any) error {
		return &RefusedError{v.Name, fmt.Sprintf(why, args...)}
	}
	over := r.State.Ended() || r.State == Stuck
	forward := !over && r.Cause == nil
	switch v.Name {
	case Retry:
		if r.State == Compensated && r.RetriedBy != "" {
			return refuse("the run was already retried: see run %s", r.RetriedBy)
		}
		if r.State == Waiting && r.WaitsFor != "" && !r.held() {
			return refuse("the run waits for run %s, which has the same subject", r.WaitsFor)
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
			return refuse("step %q cannot be skipped now; steps that can be skipped: %s", v.Step, strings.Join(steps, ", "))
		}
	case Compensate, Cancel:
		if !forward {
			return refuse("the run is %s", r.State)
		}
		if pivot := r.pivot(); pivot != nil {
			return refuse("step %s has begun, and cannot be undone", pivot.Name)
		}
	case Hold:
		if over || r.held() {
			return refuse("the run is %s", r.State)
		}
		if r.WaitsFor != "" {
			return refuse("the run already waits for run %s", r.WaitsFor)
		}
	default:
		return refuse("there is no such action")
	}
	return nil
}

func (r *Run) held() bool {
	return r.State == Waiting && r.Reason != nil && r.Reason.Kind == WaitsForOperator
}

// The method `skippable` returns the names of the steps that an operator may skip now.
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

// The method `consume` applies an action or refuses it, and adds an event in both cases.
func (t *turn) consume(a Action) {
	event := Event{Kind: EventAction, Action: string(a.Name), Step: a.Step, Who: a.Who, Why: upstream.Clean(a.Why)}
	err := t.run.Accepts(a)
	if t.run.State.Ended() { // the run ended after the action was stored; only Engine.Act retries ended runs
		err = &RefusedError{a.Name, fmt.Sprintf("the run is %s", t.run.State)}
	}
	if err != nil {
		event.Failure = &Failure{Code: "refused", Detail: upstream.Clean(err.Error()), FixBy: FixByNobody, At: t.now}
	}
	t.tell(event)
	if err == nil {
		t.apply(a)
	}
	t.Consumed = append(t.Consumed, a.ID)
}

// The method `apply` carries out an action that the run's state allows.
func (t *turn) apply(a Action) {
	run := t.run
	run.AttentionAt = nil // the action counts as progress: see attend
	why := Failure{Detail: upstream.Clean(a.Why), FixBy: FixByNobody, At: t.now}
	switch a.Name {
	case Retry:
		t.goOn(a)
	case SkipStep:
		row := run.Step(a.Step)
		if run.Cause != nil {
			run.leaveBehind(row)
		}
		row.State, row.RetryAt, row.EndedAt = StepSkipped, nil, new(t.now)
		t.changed(row)
		if run.WaitsFor == "" {
			t.goOn(a)
		}
	case Compensate, Cancel:
		why.Code = "compensated-by-operator"
		if a.Name == Cancel {
			why.Code = "cancelled"
		}
		run.Hold = nil
		t.turnBack(why)
	case Hold:
		why.Code, why.FixBy = "held", FixByOperator
		t.hold(Reason{Kind: WaitsForOperator, Failure: why})
	}
}

// goOn lets a waiting or stuck run continue at once. If a person has requested the action, the time limits start again. If the run
// was held while its predecessor was live, the run waits for the predecessor again.
func (t *turn) goOn(a Action) {
	run := t.run
	run.Hold, run.TakeOvers = nil, 0
	if a.byPerson() {
		run.BudgetFrom, run.Worked = t.now, 0
	}
	run.State, run.Reason = Running, nil
	if run.Cause != nil {
		run.State = Compensating
	}
	if run.WaitsFor != "" {
		run.queue(t.now)
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
		t.changed(row)
	}
}

// leaveBehind is called when an operator skips the undo of a step, or when the undo keeps the step's object. leaveBehind records the
// objects of the step, and the objects that belong to the step's objects. All these objects stay upstream.
func (r *Run) leaveBehind(row *StepRow) {
	stays := func(o Object) bool { return o.Step == row.Name && o.Origin == Own && o.RemovedAt == nil }
	left := []LeftBehind{}
	for _, o := range r.AsStored().Objects {
		part := func(on Object) bool { return stays(on) && o.partOf(&on) }
		if stays(o) || o.RemovedAt == nil && slices.ContainsFunc(r.Objects, part) {
			left = append(left, LeftBehind{Step: row.Name, Kind: o.Kind, ID: o.ID, Name: o.Name})
		}
	}
	if len(left) == 0 {
		left = append(left, LeftBehind{Step: row.Name})
	}
	r.LeftBehind = append(slices.Clip(r.LeftBehind), left...)
}
