package workflowstest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The kinds of objects. A run stores these names with its objects.
const (
	project        = "project"
	roleAssignment = "role-assignment"
	customer       = "customer"
	subscription   = "subscription"
	user           = "user"
	used           = "usage"
)

// The type `thing` is an object in one of the upstreams.
type thing struct {
	kind, id, name string
	marks          []string // tags and other values that show which run created the object
	fields         map[string]string
}

func (t thing) String() string { return t.kind + " " + t.id }

// The method `bears` reports whether the thing has the mark of the run. A project's mark is a tag. A subscription's mark is its
// resource_id, until a step replaces the resource_id by the tenant's id.
func (t thing) bears(runID string) bool {
	return has(marksOf(runID), func(m string) bool { return slices.Contains(t.marks, m) })
}

// marksOf returns the two marks of a run: a project has the first one, and a subscription the second one.
func marksOf(runID string) []string { return []string{"tenantry-run-" + runID, "pending:" + runID} }

// The method `things` returns all objects of o.
func (o Outside) things() (all []thing) {
	for _, c := range o.Customers {
		all = append(all, thing{kind: customer, id: c.ID, name: c.Name, fields: map[string]string{"merchant_id": c.MerchantID}})
	}
	for _, s := range o.Subscriptions {
		all = append(all, thing{kind: subscription, id: s.ID, marks: []string{s.ResourceID}, fields: map[string]string{
			"plan_id": s.PlanID, "customer_id": s.CustomerID, "resource_id": s.ResourceID,
		}})
	}
	for _, u := range o.Usage {
		all = append(all, thing{kind: used, id: u.ID, fields: map[string]string{"subscription_id": u.SubscriptionID, "product_id": u.ProductID}})
	}
	for _, p := range o.Projects {
		all = append(all, thing{kind: project, id: p.ID, name: p.Name, marks: p.Tags, fields: map[string]string{
			"domain_id": p.DomainID, "enabled": fmt.Sprint(p.Enabled),
		}})
	}
	for _, u := range o.Users {
		if u.RunID == "" { // no run has created the user, and tests may create and change such users at any time
			continue
		}
		all = append(all, thing{kind: user, id: u.ID, name: u.Name, marks: []string{keystone.RunTag(u.RunID)}, fields: map[string]string{
			"domain_id": u.DomainID, "enabled": fmt.Sprint(u.Enabled),
		}})
	}
	for _, a := range o.Assignments {
		all = append(all, thing{kind: roleAssignment, id: assignmentID(a)})
	}
	return all
}

// The type `things` has objects in the field `all`. The fields byID and byMark contain the indexes of the objects in this field.
type things struct {
	all          []thing
	byID, byMark map[string][]int
}

func indexed(all []thing) things {
	t := things{all, map[string][]int{}, map[string][]int{}}
	for i, one := range all {
		t.byID[one.id] = append(t.byID[one.id], i)
		for _, mark := range one.marks {
			t.byMark[mark] = append(t.byMark[mark], i)
		}
	}
	return t
}

// The method `find` returns the thing with this kind and id, or nil if there is none.
func (t things) find(kind, id string) *thing {
	for _, i := range t.byID[id] {
		if t.all[i].kind == kind {
			return &t.all[i]
		}
	}
	return nil
}

// The method `marked` returns the things with this mark.
func (t things) marked(mark string) (all []thing) {
	for _, i := range t.byMark[mark] {
		all = append(all, t.all[i])
	}
	return all
}

// madeBy returns the things whose ids the run expects, and the things that have a mark of the run, in the sequence of t.all.
func (t things) madeBy(x ordered) (all []thing) {
	var at []int
	for _, e := range x.expected {
		at = append(at, t.byID[e.ID]...)
	}
	for _, mark := range marksOf(x.run.ID) {
		at = append(at, t.byMark[mark]...)
	}
	slices.Sort(at)
	for _, i := range slices.Compact(at) {
		all = append(all, t.all[i])
	}
	return all
}

// The type `ordered` is a run and its expected objects.
type ordered struct {
	run      *saga.Run
	expected []saga.Expected
}

// The type `made` is an object that a run created, with the name of the creating step.
type made struct {
	thing

	step string
}

// The method `made` returns the objects that the run created. These objects have the run's tag, or an id that the run chose. The
// result has no role assignments, because a role assignment has no mark.
func (v *view) made(x ordered) (all []made) {
	for _, t := range v.now.madeBy(x) {
		if t.kind == roleAssignment || v.others.find(t.kind, t.id) != nil {
			continue
		}
		if e := x.expects(t); e != nil && (t.bears(x.run.ID) || e.Origin == saga.Own && e.ID == t.id) {
			all = append(all, made{t, e.Step})
		}
	}
	return all
}

// The method `makers` returns the runs that may have created the thing: the runs that expect or have stored the thing's id, and the runs
// whose mark the thing has.
func (v *view) makers(t thing) []ordered {
	all := slices.Clone(v.about(t.id))
	for _, mark := range t.marks {
		all = append(all, v.concerned[mark]...)
	}
	return all
}

// The method `expects` compares the thing with the run's expected objects, and returns the expected object that matches. A match
// has the thing's kind, and the thing's id or name. If there is no match, the result is the first expected object of the thing's
// kind, or nil.
func (x ordered) expects(t thing) *saga.Expected {
	var other *saga.Expected
	for i, e := range x.expected {
		switch {
		case e.Kind != t.kind:
		case e.ID == t.id || e.Name != "" && e.Name == t.name:
			return &x.expected[i]
		case other == nil:
			other = &x.expected[i]
		}
	}
	return other
}

// The method `roles` returns the role assignments that the run is expected to have. The result has no role assignment on a tenant
// whose id is not known yet.
func (x ordered) roles() []saga.Expected {
	return slices.DeleteFunc(slices.Clone(x.expected), func(e saga.Expected) bool { return e.Kind != roleAssignment || e.Gone })
}

// hasRole reports whether the run is expected to have the role assignment.
func (x ordered) hasRole(id string) bool {
	return has(x.expected, func(e saga.Expected) bool { return e.Kind == roleAssignment && e.ID == id && !e.Gone })
}

// The method `left` reports whether an operator left the object of the step behind. If the answer with the object's id was lost,
// the run's entry in LeftBehind has no id.
func (x ordered) left(step, id string) bool {
	return has(x.run.LeftBehind, func(l saga.LeftBehind) bool {
		return l.Step == step && (l.ID == id || l.ID == "")
	})
}

// leftRole reports whether an operator left the role assignment behind, by itself or with its project. Such a role assignment is in the
// run's LeftBehind. If the answer to the request that assigned the role was lost, LeftBehind may contain only the project.
func (x ordered) leftRole(e saga.Expected) bool {
	return x.left(e.Step, e.ID) || has(x.expected, func(on saga.Expected) bool {
		s := x.run.Step(e.Step)
		return on.ID == e.On && (x.left(on.Step, e.ID) || s != nil && s.UnknownAt != nil && x.left(on.Step, on.ID))
	})
}

// The function `differs` returns the differences between a thing and an expected object.
func differs(t thing, e saga.Expected) (all []string) {
	if e.Name != "" && t.name != "" && e.Name != t.name { // a role assignment has no name
		all = append(all, fmt.Sprintf("name is %q, not %q", t.name, e.Name))
	}
	for field, want := range e.Fields {
		if t.fields[field] != want {
			all = append(all, fmt.Sprintf("%s is %q, not %q", field, t.fields[field], want))
		}
	}
	for _, mark := range e.Marks {
		if !slices.Contains(t.marks, mark) {
			all = append(all, "it lacks "+mark)
		}
	}
	slices.Sort(all)
	return all
}

// The method `belongs` reports whether the run may have created the thing. A later run may have changed the thing. `belongs` does
// not call [keystone.TenantTags], so that the check notices a wrong tag from that function.
func (v *view) belongs(x ordered, t thing) bool {
	e := x.expects(t)
	if e == nil {
		return false
	}
	if t.kind == project { // do not compare ids: a late request may have created a second project with another id
		tags := []string{"tenantry", "tenantry-run-" + x.run.ID, "tenantry-merchant-" + x.run.Merchant}
		if v.Installation != "" {
			tags = append(tags, "tenantry-installation-"+v.Installation)
		}
		return t.name == e.Name && t.fields["domain_id"] == e.Fields["domain_id"] &&
			!has(tags, func(tag string) bool { return !slices.Contains(t.marks, tag) })
	}
	if e.ID != t.id {
		return false
	}
	newest := v.newest(*e).Fields
	for field, want := range e.Fields {
		if newer, changed := newest[field]; changed {
			want = newer
		}
		if got := t.fields[field]; got != want && want != "" && !strings.HasPrefix(got, "pending:"+x.run.ID) {
			return false
		}
	}
	return t.bears(x.run.ID) || e.Origin == saga.Own || t.kind == used // no run owns usage
}

// assignmentID returns the id that a run stores for a role assignment.
func assignmentID(a keystone.Assignment) string { return a.ProjectID + "/" + a.UserID + "/" + a.RoleID }

func has[T any](all []T, is func(T) bool) bool { return slices.ContainsFunc(all, is) }
