package workflowstest

import (
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// deleteIntended: whatever was removed upstream was a run's own, and the run had stored before that it would remove it.
func deleteIntended(v *view, broken report) {
	for _, gone := range v.Removals {
		what := gone.Kind + " " + gone.ID
		if find(v.others, gone.Kind, gone.ID) != nil {
			broken(gone.Run, "an object that no run made was removed", what)
			continue
		}
		owned, intended := false, false
		for _, x := range v.ordered {
			if gone.Run != "" && gone.Run != x.run.ID {
				continue
			}
			steps := x.stepsOf(gone)
			owned = owned || len(steps) > 0
			intended = intended || has(steps, func(name string) bool { return v.undoes(x.run, name, gone) })
		}
		switch {
		case !owned:
			broken(gone.Run, "the run removed an object that is not its own", what)
		case !intended:
			broken(gone.Run, "an object was removed before the intent was stored", what)
		}
	}
}

// stepsOf returns the steps whose Undo may remove the object: the step that made it, and the step that made the object it belongs
// to. It returns none if the run did not create the object.
func (x ordered) stepsOf(gone Removal) (steps []string) {
	for _, e := range x.expected {
		own := e.ID == gone.ID && e.Origin == saga.Own
		if gone.Kind == project { // the answer with its id may be lost, so the tags decide
			own = slices.Contains(gone.Tags, "tenantry-run-"+x.run.ID)
			if gone.Tags == nil { // the tags are not known, so the run's objects decide
				own = has(x.run.Objects, func(o saga.Object) bool { return o.ID == gone.ID && o.Origin == saga.Own })
			}
		}
		if e.Kind != gone.Kind || !own {
			continue
		}
		steps = append(steps, e.Step)
		for _, on := range x.expected {
			if e.On != "" && on.ID == e.On && on.Origin == saga.Own {
				steps = append(steps, on.Step)
			}
		}
	}
	return steps
}

// undoes reports whether the run had stored before the removal that it undoes the step.
func (v *view) undoes(r *saga.Run, name string, gone Removal) bool {
	s := r.Step(name)
	return s != nil && s.Undos > 0 && (gone.Step == "" || gone.Step == name) &&
		has(v.Events[r.ID], func(e saga.Event) bool {
			return e.Kind == saga.EventCompensating && (gone.At.IsZero() || !gone.At.Before(e.At.Add(-v.Skew)))
		})
}
