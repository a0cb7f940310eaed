package workflowstest

import (
	"slices"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// deleteIntended checks each removed object. An object may be removed by an undo of the run that created it, or by a step whose Do
// removes objects. In both cases, the run must have stored the intent before the removal. A removed project must have had the tags of
// this installation and of one of its runs.
func deleteIntended(v *view, broken report) {
	for _, gone := range v.Removals {
		what := gone.Kind + " " + gone.ID
		if v.others.find(gone.Kind, gone.ID) != nil {
			broken(gone.Run, "an object that no run created was removed", what)
			continue
		}
		owned, intended := false, false
		for _, x := range v.removers(gone) {
			steps := x.stepsOf(gone)
			owned = owned || len(steps) > 0 || x.removes(gone) != nil
			intended = intended || has(steps, func(name string) bool { return v.undoes(x.run, name, gone) })
			intended = intended || x.removes(gone) != nil && x.run.Step(x.removes(gone).Step).Attempts > 0
		}
		switch {
		case !owned:
			broken(gone.Run, "a run removed an object that it did not create", what)
		case !intended:
			broken(gone.Run, "a run removed an object before the run stored the intent of the undo", what)
		case gone.Kind == project && gone.Tags != nil && !v.tagged(gone.Tags):
			broken(gone.Run, "a run removed a project without the tags of a run of this installation", what)
		}
	}
}

// The method `removers` returns the run that has removed the object. If this run is not known, the result has all runs.
func (v *view) removers(gone Removal) []ordered {
	if gone.Run == "" {
		return v.ordered
	}
	return v.concerned[marksOf(gone.Run)[0]]
}

// The method `tagged` reports whether a project with these tags was created by a run of this installation.
func (v *view) tagged(tags []string) bool {
	return (v.Installation == "" || slices.Contains(tags, "tenantry-installation-"+v.Installation)) &&
		has(tags, func(tag string) bool {
			id, is := strings.CutPrefix(tag, "tenantry-run-")
			return is && v.byID[id] != nil
		})
}

// The method `removes` returns the run's expected object if the Do of one of the run's steps may remove the object. Otherwise, the
// result is nil.
func (x ordered) removes(gone Removal) *saga.Expected {
	for i, e := range x.expected {
		if e.Gone && e.Kind == gone.Kind && e.ID == gone.ID && (gone.Step == "" || gone.Step == e.Step) {
			return &x.expected[i]
		}
	}
	return nil
}

// stepsOf returns the steps whose Undo may remove the object: the step that created the object, and the step that created the
// object's tenant or customer. The result is empty if the run did not create the object.
func (x ordered) stepsOf(gone Removal) (steps []string) {
	for _, e := range x.expected {
		own := e.ID == gone.ID && e.Origin == saga.Own
		if gone.Kind == project { // check the tags, because the answer with the project's id may be lost
			own = slices.Contains(gone.Tags, "tenantry-run-"+x.run.ID)
			if gone.Tags == nil { // the tags are not known: check the objects that the run has stored
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

// The method `undoes` reports whether the run stored the intent of the step's undo before the removal.
func (v *view) undoes(r *saga.Run, name string, gone Removal) bool {
	s := r.Step(name)
	return s != nil && s.Undos > 0 && (gone.Step == "" || gone.Step == name) &&
		has(v.Events[r.ID], func(e saga.Event) bool {
			return e.Kind == saga.EventCompensating && (gone.At.IsZero() || !gone.At.Before(e.At.Add(-v.Skew)))
		})
}
