package workflowstest

import (
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// oneChain: the runs of an idempotency key form one chain: each but the first is the only retry of a compensated one.
func oneChain(v *view, broken report) {
	first, retries := map[[2]string]string{}, map[string]string{}
	for _, r := range v.Runs {
		if r.RetryOf == "" {
			key := [2]string{r.Merchant, r.Key}
			if first[key] != "" {
				broken(r.ID, "its idempotency key already has a run", first[key])
			}
			first[key] = r.ID
			continue
		}
		if retries[r.RetryOf] != "" {
			broken(r.ID, "the run that it retries has another retry", r.RetryOf, retries[r.RetryOf])
		}
		retries[r.RetryOf] = r.ID
		before := v.byID[r.RetryOf]
		switch {
		case before == nil:
			broken(r.ID, "the run that it retries does not exist", r.RetryOf)
		case before.State != saga.Compensated:
			broken(r.ID, fmt.Sprintf("the run that it retries is %s", before.State), before.ID)
		case before.Merchant != r.Merchant || before.Key != r.Key:
			broken(r.ID, "the run that it retries has another key", before.ID)
		}
	}
}

// oneEach: an idempotency key has at most one object of each step, except for those that an operator left behind.
func oneEach(v *view, broken report) {
	type slot struct{ merchant, key, step string }
	var slots []slot
	filled := map[slot][]string{}
	for _, x := range v.ordered {
		for _, t := range v.made(x) {
			if x.left(t.step, t.id) {
				continue
			}
			s := slot{x.run.Merchant, x.run.Key, t.step}
			if filled[s] == nil {
				slots = append(slots, s)
			}
			filled[s] = append(filled[s], t.String())
		}
	}
	for _, s := range slots {
		if len(filled[s]) > 1 {
			broken("", fmt.Sprintf("key %q of merchant %s has more than one object of %s", s.key, s.merchant, s.step), filled[s]...)
		}
	}
}

// succeededWhole: a succeeded run has done all its steps, and all objects that it expects exist as expected.
func succeededWhole(v *view, broken report) {
	for _, x := range v.ordered {
		if x.run.State != saga.Succeeded {
			continue
		}
		fault := func(detail string, objects ...string) { broken(x.run.ID, "it succeeded, but "+detail, objects...) }
		for i := range x.run.Steps {
			if s := &x.run.Steps[i]; !s.Done() {
				fault(fmt.Sprintf("a step is %s", s.State), s.Name)
			}
		}
		for _, e := range x.expected {
			if s := x.run.Step(e.Step); s != nil && s.State == saga.StepSkipped {
				continue
			}
			what := fmt.Sprintf("%s %s of %s", e.Kind, e.ID, e.Step)
			if t := find(v.now, e.Kind, e.ID); t == nil {
				fault("an expected object is missing", what)
			} else if wrong := differs(*t, e); len(wrong) > 0 {
				fault("an object is not as expected: "+strings.Join(wrong, ", "), what)
			}
		}
	}
}

// compensatedClean: a compensated run has left nothing but what an operator left behind or another run has adopted.
func compensatedClean(v *view, broken report) {
	for _, x := range v.ordered {
		if x.run.State != saga.Compensated {
			continue
		}
		for _, t := range v.made(x) {
			if !x.left(t.step, t.id) && !v.adopted(x, t.thing) {
				broken(x.run.ID, "it is compensated, but this is left", t.String())
			}
		}
		for _, e := range x.roles() {
			if find(v.now, e.Kind, e.ID) != nil && !v.stands(e.ID) {
				broken(x.run.ID, "it is compensated, but this is left", e.Kind+" "+e.ID)
			}
		}
	}
}

// adopted reports whether another run, which is not compensated, expects the thing.
func (v *view) adopted(x ordered, t thing) bool {
	return has(v.ordered, func(y ordered) bool {
		return y.run != x.run && y.run.State != saga.Compensated &&
			has(y.expected, func(e saga.Expected) bool { return e.Kind == t.kind && e.ID == t.id })
	})
}

// stands reports whether the role assignment may exist: no run made it, a run that is not compensated made it, or an operator
// left it in place.
func (v *view) stands(id string) bool {
	return find(v.others, roleAssignment, id) != nil || has(v.ordered, func(x ordered) bool {
		return has(x.roles(), func(e saga.Expected) bool {
			return e.ID == id && (x.run.State != saga.Compensated || x.leftRole(e))
		})
	})
}
