package saga

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// DryRun describes the effects of a run that would be accepted now.
type DryRun struct {
	Workflow string
	Merchant string
	// State is the state in which the run would end or wait: Succeeded, Compensated or Waiting. A run in state Waiting would wait
	// for an operator.
	State RunState
	Steps []DryStep // each step comes after the steps in its After
}

// DryStep describes the effects of one step of a run.
type DryStep struct {
	Name     string
	After    []string
	Optional bool
	Outcome  DryOutcome
	Why      string   // reason why Outcome is WouldSkip, Undecided or NotReached
	Failure  *Failure // failure of the step if Outcome is InConflict
	// Objects are the objects that the step would create, change, remove or adopt, or that the dry run has found. If the upstream
	// would choose the id of an object, the id is empty. If the id of an object is derived from the id of the run, the object of
	// the real run has a different id.
	Objects []Object
	// Undo describes the compensation of the step. Undo begins with "none: " if the step needs no compensation, and with "pivot: "
	// if the step cannot be undone.
	Undo string
}

// DryOutcome is the effect that a step of a run would have.
type DryOutcome string

// The outcomes of a step in a dry run.
const (
	WouldCreate  DryOutcome = "would-create"
	WouldChange  DryOutcome = "would-change"
	WouldRemove  DryOutcome = "would-remove"
	WouldAdopt   DryOutcome = "would-adopt"   // the object exists, and the run would use it
	AlreadyThere DryOutcome = "already-there" // the run has created the object already
	InConflict   DryOutcome = "conflict"      // the step would fail: see DryStep.Failure
	OnlyReads    DryOutcome = "only-reads"    // the step only reads, and the dry run has read the data
	NothingToDo  DryOutcome = "nothing-to-do"
	WouldSkip    DryOutcome = "would-skip"
	Undecided    DryOutcome = "undecided"   // the outcome depends on the result of an earlier step
	NotReached   DryOutcome = "not-reached" // an earlier step is in conflict
)

// The method `writes` reports whether the step would change something upstream.
func (o DryOutcome) writes() bool { return o == WouldCreate || o == WouldChange || o == WouldRemove }

// DryRun makes the decisions of a run. The run is not stored, and its calls change nothing. Instead of Do, a dry run calls Find. If the
// effect of a step is absent, the dry run continues as if Do had succeeded and had not changed the state. If a step only reads, the dry run
// calls Do. There is one exception: if the reading step depends on a step that would change something upstream, the dry run does not call
// Do, and the outcome of the reading step is Undecided. If a step depends on an undecided step, the step's outcome is Undecided, too, unless
// the undecided step only checks a condition. The dry run assumes that the condition holds.
//
// If a step is in conflict, the dry run still looks for the effects of the steps that do not depend on this step. A real run starts
// these steps, too, if they are ready before the step in conflict has failed. If an effect cannot be looked up, for example because
// an upstream is down, DryRun returns the error.
func (m Machine) DryRun(ctx context.Context, q Request, now time.Time) (DryRun, error) {
	run, _, err := m.Accept(q, now)
	if err != nil {
		return DryRun{}, err
	}
	caller := upstream.CallerOf(ctx)
	caller.ReadOnly = true
	ctx = upstream.WithCaller(ctx, caller)
	w := dryWalk{def: m.Def, now: now, seen: map[string]*DryStep{}}
	var conflicts []Outcome // passed to the machine after all other outcomes
	for in := (Input{Now: now}); ; {
		d := m.Next(run, in)
		run, w.run, in = d.Run, d.Run, Input{Now: now, State: d.State}
		for _, c := range d.Calls {
			o, err := w.call(ctx, c)
			switch {
			case err != nil:
				return DryRun{}, fmt.Errorf("looking for the effect of step %s: %w", c.Step, err)
			case o.Err != nil && o.Skipped == "":
				conflicts = append(conflicts, o)
			default:
				in.Outcomes = append(in.Outcomes, o)
			}
		}
		if len(in.Outcomes) == 0 {
			break
		}
	}
	last := m.Next(run, Input{Now: now, Outcomes: conflicts}).Run
	return w.result(last)
}

// dryWalk is a dry run in progress.
type dryWalk struct {
	def  *Definition
	run  *Run
	now  time.Time
	seen map[string]*DryStep // the steps whose call was made
}

// The method `call` looks for the effect of a step instead of making the effect. If the effect cannot be looked up, `call` returns
// an error.
func (w *dryWalk) call(ctx context.Context, c Call) (Outcome, error) {
	s, step := w.def.step(c.Step), &DryStep{}
	w.seen[c.Step] = step
	o := Outcome{Call: c, StartedAt: w.now, EndedAt: w.now}
	written, undecided := w.before(c.Step)
	switch {
	case undecided != "":
		step.Outcome, step.Why = Undecided, dependsOn(undecided)
		return o, nil
	case written != "" && (s.effect.reads() || s.satisfied != nil): // the result of the earlier step may satisfy this step
		step.Outcome, step.Why = Undecided, dependsOn(written)
		return o, nil
	}
	h := &Handle{Call: c}
	found, output, err := h.look(ctx, s)
	if found == Foreign && err == nil {
		err = errForeign
	}
	if err != nil {
		o.Skipped, o.Err = skipped(err), w.def.classified(err, true)
	}
	switch {
	case o.Skipped != "" && s.Optional:
		step.Outcome, step.Why = WouldSkip, upstream.Clean(o.Skipped)
		return o, nil
	case o.Err != nil && (o.Err.Log != nil || o.Err.Class != upstream.Permanent && o.Err.Class != upstream.Blocked):
		return o, err
	case o.Err != nil:
		step.Outcome, o.Skipped = InConflict, ""
		return o, nil
	}
	step.Outcome = s.foreseen(found)
	if found != Absent {
		o.Output, o.Objects, step.Objects = output, h.objects, h.objects
	}
	return o, nil
}

// errForeign is the error of a step whose Find returned Foreign without an error.
var errForeign = errors.New("the effect exists, and the run must not use it")

// The method `look` calls Find. If the step only reads, `look` instead calls Do and returns Usable. The dry run then uses the
// output and the objects of Do. `look` returns a panic as an error.
func (h *Handle) look(ctx context.Context, s *step) (found Found, output json.RawMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError{v}
		}
	}()
	ctx = context.WithValue(ctx, handleKey{}, h)
	switch {
	case s.effect.reads():
		output, err = s.do(ctx, h.State)
		return Usable, output, err
	case s.find == nil:
		return Absent, nil, nil
	}
	return s.find(ctx, h.State)
}

// The method `foreseen` returns the outcome of the step for a result of Find.
func (s *step) foreseen(found Found) DryOutcome {
	switch {
	case s.effect.reads():
		return OnlyReads
	case found == Absent:
		return map[Effect]DryOutcome{Creates: WouldCreate, Changes: WouldChange, Removes: WouldRemove}[s.effect]
	case s.effect != Creates:
		return NothingToDo
	case found == Usable:
		return WouldAdopt
	}
	return AlreadyThere
}

// The method `before` searches the steps on which the named step depends, directly or through other steps. The result `written`
// names a step that would change something upstream. The result `undecided` names a step whose outcome is Undecided. If there is no
// such step, the result is empty.
func (w *dryWalk) before(name string) (written, undecided string) {
	for _, after := range w.run.Step(name).After {
		if s := w.seen[after]; s != nil && s.Outcome == Undecided {
			if w.def.step(after).effect != Checks {
				undecided = after
			}
		} else if s != nil && s.Outcome.writes() {
			written = after
		}
		earlier, unclear := w.before(after)
		written, undecided = cmp.Or(written, earlier), cmp.Or(undecided, unclear)
	}
	return written, undecided
}

// The method `result` returns the result of the dry run. The argument `run` is the run after its last outcome.
func (w *dryWalk) result(run *Run) (DryRun, error) {
	w.run = run
	all := DryRun{Workflow: run.Workflow, Merchant: run.Merchant, State: run.State}
	if run.Cause != nil {
		all.State = Compensated
	}
	state, err := run.Data()
	if err != nil {
		return DryRun{}, err
	}
	expected, err := w.def.expect(state)
	if err != nil {
		return DryRun{}, err
	}
	for i := range run.Steps {
		row := &run.Steps[i]
		step := w.seen[row.Name]
		if step == nil {
			step = w.uncalled(row)
		}
		step.Name, step.After, step.Optional = row.Name, row.After, row.Optional
		if step.Outcome == InConflict {
			step.Failure = row.Error
		}
		if step.Outcome.writes() {
			step.Objects = planned(expected, row.Name)
		}
		step.Undo = w.def.step(row.Name).undoText
		if keeps := []DryOutcome{WouldAdopt, NothingToDo, WouldSkip}; slices.Contains(keeps, step.Outcome) && !w.reads(row) {
			step.Undo = noUndo + "the run changes nothing here"
		}
		all.Steps = append(all.Steps, *step)
	}
	return all, nil
}

func (w *dryWalk) reads(row *StepRow) bool { return w.def.step(row.Name).effect.reads() }

// The method `uncalled` describes a step for which no call was made. The outcome is Undecided if the step depends on an undecided
// step, NothingToDo if the step is done without a call, and NotReached otherwise.
func (w *dryWalk) uncalled(row *StepRow) *DryStep {
	_, undecided := w.before(row.Name)
	switch {
	case undecided != "":
		return &DryStep{Outcome: Undecided, Why: dependsOn(undecided)}
	case row.Done():
		return &DryStep{Outcome: NothingToDo}
	}
	return &DryStep{Outcome: NotReached, Why: "an earlier step is in conflict"}
}

func dependsOn(step string) string { return "the outcome depends on the result of step " + step }

// The function `planned` returns the expected objects of a step: the objects that should exist when the run has succeeded, and the
// objects that should then be gone.
func planned(all []Expected, step string) (objects []Object) {
	for _, e := range all {
		if e.Step != step {
			continue
		}
		if e.Origin == "" && !e.Gone { // the state does not contain the origin yet, but the step would create the object
			e.Origin = Own
		}
		objects = append(objects, e.Object)
	}
	return objects
}

const noUndo = "none: "

// undoText describes the compensation of a step.
func undoText(of Effect, none, pivot string) string {
	switch {
	case none != "":
		return noUndo + none
	case pivot != "":
		return "pivot: " + pivot
	}
	return map[Effect]string{Creates: "remove", Changes: "change back", Removes: "create again"}[of]
}
