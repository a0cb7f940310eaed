package workflowstest

import (
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// deleteIntended: whatever was removed upstream was a run's own, and that run had stored that it would.
func deleteIntended(v *view, broken report) {
	for _, gone := range v.Removals {
		what := gone.Kind + " " + gone.ID
		if find(v.others, gone.Kind, gone.ID) != nil {
			broken(gone.Run, "what others have made was removed", what)
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
			broken(gone.Run, "what was removed was not its own", what)
		case !intended:
			broken(gone.Run, "what was removed no run had stored to remove", what)
		}
	}
}

// stepsOf names the steps whose Undo may remove the object: the one that made it, and the one that made what it stands on.
// It returns none if the run did not create the object.
func (x ordered) stepsOf(gone Removal) (steps []string) {
	for _, e := range x.expected {
		own := e.ID == gone.ID && e.Origin == saga.Own
		if gone.Kind == project { // its answer, which would have told the id, may be lost
			own = slices.Contains(gone.Tags, "tenantry-run-"+x.run.ID)
			if gone.Tags == nil { // not known: then what the run has noted has to do
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

// undoes tells whether the run had stored, by then, that it undoes the step.
func (v *view) undoes(r *saga.Run, name string, gone Removal) bool {
	s := r.Step(name)
	return s != nil && s.Undos > 0 && (gone.Step == "" || gone.Step == name) &&
		has(v.Events[r.ID], func(e saga.Event) bool {
			return e.Kind == saga.EventCompensating && (gone.At.IsZero() || !gone.At.Before(e.At.Add(-v.Skew)))
		})
}
