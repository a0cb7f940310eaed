package workflowstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// oneChain checks the runs that have the same idempotency key. Each run except the first must be the only retry of a compensated run. A
// run without a key begins a new chain, unless it is a retry.
func oneChain(v *view, broken report) {
	first, retries := map[[2]string]string{}, map[string]string{}
	for _, r := range v.Runs {
		if r.RetryOf == "" && r.Key == "" { // a follow-up has started the run
			continue
		}
		if r.RetryOf == "" {
			key := [2]string{r.Merchant, r.Key}
			if r.Key != "" && first[key] != "" {
				broken(r.ID, "the run's idempotency key already has another run", first[key])
			}
			first[key] = r.ID
			continue
		}
		if retries[r.RetryOf] != "" {
			broken(r.ID, "the run retries a run that already has a retry", r.RetryOf, retries[r.RetryOf])
		}
		retries[r.RetryOf] = r.ID
		before := v.byID[r.RetryOf]
		switch {
		case before == nil:
			broken(r.ID, "the run retries a run that does not exist", r.RetryOf)
		case before.State != saga.Compensated:
			broken(r.ID, fmt.Sprintf("the run retries a run that is %s, not compensated", before.State), before.ID)
		case before.Merchant != r.Merchant || before.Key != r.Key:
			broken(r.ID, "the run retries a run that has another merchant or idempotency key", before.ID)
		}
	}
}

// oneEach checks that each step created at most one object, even if a run was retried. Objects that an operator left behind do not
// count.
func oneEach(v *view, broken report) {
	type slot struct{ chain, step string }
	var slots []slot
	filled := map[slot][]string{}
	for _, x := range v.ordered {
		for _, t := range v.made(x) {
			if x.left(t.step, t.id) {
				continue
			}
			s := slot{v.chain(x.run), t.step}
			if filled[s] == nil {
				slots = append(slots, s)
			}
			filled[s] = append(filled[s], t.String())
		}
	}
	for _, s := range slots {
		if len(filled[s]) > 1 {
			broken("", fmt.Sprintf("%s has more than one object of step %s", s.chain, s.step), filled[s]...)
		}
	}
}

// The method `chain` returns a text that identifies the chain of a run: the run's idempotency key and merchant. If the run has no
// key, the text names the first run of the chain.
func (v *view) chain(r *saga.Run) string {
	if r.Key != "" {
		return fmt.Sprintf("key %q of merchant %s", r.Key, r.Merchant)
	}
	for v.byID[r.RetryOf] != nil {
		r = v.byID[r.RetryOf]
	}
	return "run " + r.ID
}

// succeededWhole checks that a succeeded run has done all its steps. Each expected object of the run must exist, with the values
// that the newest succeeded run about the object expects. If the newest run has removed the object, the object must not exist.
func succeededWhole(v *view, broken report) {
	for _, x := range v.ordered {
		if x.run.State != saga.Succeeded {
			continue
		}
		fault := func(detail string, objects ...string) { broken(x.run.ID, "the run succeeded, but "+detail, objects...) }
		for i := range x.run.Steps {
			if s := &x.run.Steps[i]; !s.Done() {
				fault(fmt.Sprintf("a step is %s", s.State), s.Name)
			}
		}
		for _, e := range x.expected {
			if x.skipped(e) {
				continue
			}
			what := fmt.Sprintf("%s %s of %s", e.Kind, e.ID, e.Step)
			t, gone := v.now.find(e.Kind, e.ID), v.removed(e.Object)
			switch {
			case t == nil && !gone && !v.removing(e.Object):
				fault("an expected object is missing", what)
			case t != nil && gone:
				fault("an object still exists, although the newest run about the object has removed it", what)
			case t != nil:
				if wrong := differs(*t, v.newest(e)); len(wrong) > 0 {
					fault("an object differs from the expected object: "+strings.Join(wrong, ", "), what)
				}
			}
		}
	}
}

// The method `removed` reports whether the newest succeeded run about the object has removed the object. For a role assignment, the
// removal of its project counts too.
func (v *view) removed(o saga.Object) (gone bool) {
	var at time.Time
	for _, x := range v.about(o.ID) {
		for _, e := range x.expected {
			about := e.Kind == o.Kind && e.ID == o.ID || e.Gone && strings.HasPrefix(o.ID, e.ID+"/")
			if about && x.run.State == saga.Succeeded && !x.skipped(e) && x.run.EndedAt.After(at) {
				gone, at = e.Gone, *x.run.EndedAt
			}
		}
	}
	return gone
}

// The method `removing` reports whether a run that has not ended may have removed the object. For a role assignment, the removal of its
// project counts too.
func (v *view) removing(o saga.Object) bool {
	return has(v.about(o.ID), func(x ordered) bool {
		return !x.run.State.Ended() && has(x.expected, func(e saga.Expected) bool {
			return e.Gone && (e.Kind == o.Kind && e.ID == o.ID || strings.HasPrefix(o.ID, e.ID+"/")) && x.run.Step(e.Step).Begun()
		})
	})
}

// The method `has` reports whether the run has recorded the object.
func (x ordered) has(o saga.Object) bool {
	return has(x.run.Objects, func(own saga.Object) bool { return own.Kind == o.Kind && own.ID == o.ID })
}

// The method `skipped` reports whether the step of the expected object was skipped.
func (x ordered) skipped(e saga.Expected) bool {
	s := x.run.Step(e.Step)
	return s != nil && s.State == saga.StepSkipped
}

// The method `newest` returns the expected object with new values of its fields. For each field, the newest succeeded run that
// expects a value determines the value. For example, a run may have disabled a project that another run has created, or may have
// changed the plan of a subscription.
func (v *view) newest(e saga.Expected) saga.Expected {
	fields, at := map[string]string{}, map[string]time.Time{}
	for _, x := range v.about(e.ID) {
		for _, other := range x.expected {
			if x.run.State != saga.Succeeded || other.Kind != e.Kind || other.ID != e.ID {
				continue
			}
			for name, value := range other.Fields {
				if x.run.EndedAt.After(at[name]) {
					fields[name], at[name] = value, *x.run.EndedAt
				}
			}
		}
	}
	e.Fields = fields
	return e
}

// compensatedClean checks that a compensated run has no effect. The objects that the run created must not exist. The objects that the
// run removed must exist again. No project may have the tag with which the run marks disabled projects. No adopted object may have a
// value from the run. The check ignores objects that an operator left behind, and objects that another run has adopted.
func compensatedClean(v *view, broken report) {
	for _, x := range v.ordered {
		if x.run.State != saga.Compensated {
			continue
		}
		for _, t := range v.made(x) {
			if !x.left(t.step, t.id) && !v.adopted(x, t.thing) {
				broken(x.run.ID, "the run is compensated, but one of its objects still exists", t.String())
			}
		}
		for _, e := range x.expected {
			if e.Gone && x.has(e.Object) && v.now.find(e.Kind, e.ID) == nil && !v.removed(e.Object) {
				broken(x.run.ID, "the run is compensated, but an object that it has removed is still missing", e.Kind+" "+e.ID)
			}
		}
		for _, gone := range v.Removals {
			if gone.Run == x.run.ID && gone.Kind != roleAssignment && x.removes(gone) != nil {
				broken(x.run.ID, "the run is compensated, but has removed an object that it cannot make again", gone.Kind+" "+gone.ID)
			}
		}
		for _, t := range v.now.marked("tenantry-disabled-" + x.run.ID) {
			if len(x.run.LeftBehind) == 0 && !v.disables(t) {
				broken(x.run.ID, "the run is compensated, but a project still has the run's tag", t.String())
			}
		}
		for _, e := range x.expected {
			if t := v.now.find(e.Kind, e.ID); t != nil && e.Origin == saga.Adopted && !x.left(e.Step, e.ID) {
				v.unchanged(x, *t, e, broken)
			}
		}
		for _, e := range x.roles() {
			if v.now.find(e.Kind, e.ID) != nil && !v.stands(e.ID) {
				broken(x.run.ID, "the run is compensated, but one of its role assignments still exists", e.Kind+" "+e.ID)
			}
		}
	}
}

// The method `unchanged` compares the thing with the object e of the compensated run x. If a field of the thing has the value that x
// has set, the newest succeeded run about the thing must expect this value too.
func (v *view) unchanged(x ordered, t thing, e saga.Expected, broken report) {
	newest := v.newest(e).Fields
	for _, field := range slices.Sorted(maps.Keys(e.Fields)) {
		if want, known := newest[field]; known && t.fields[field] == e.Fields[field] && t.fields[field] != want {
			broken(x.run.ID, fmt.Sprintf("the run is compensated, but %s is still %q, not %q", field, t.fields[field], want), t.String())
		}
	}
}

// The method `disables` reports whether the newest succeeded run about the project has disabled the project.
func (v *view) disables(t thing) bool {
	return v.newest(saga.Expected{Object: saga.Object{Kind: t.kind, ID: t.id}}).Fields["enabled"] == "false"
}

// The method `adopted` reports whether another run expects the thing. Compensated runs do not count.
func (v *view) adopted(x ordered, t thing) bool {
	return has(v.about(t.id), func(y ordered) bool {
		return y.run != x.run && y.run.State != saga.Compensated &&
			has(y.expected, func(e saga.Expected) bool { return e.Kind == t.kind && e.ID == t.id && !e.Gone })
	})
}

// The method `stands` reports whether the role assignment may exist. A role assignment may exist if no run created it, if a run
// that is not compensated created it, or if an operator left it behind.
func (v *view) stands(id string) bool {
	return v.others.find(roleAssignment, id) != nil || has(v.about(id), func(x ordered) bool {
		return has(x.roles(), func(e saga.Expected) bool {
			return e.ID == id && (x.run.State != saga.Compensated || x.leftRole(e))
		})
	})
}
