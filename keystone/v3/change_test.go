package v3_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `repaired` is the fixture `house` with one tenant. The tenant's project has the tags of a tenant, and the tag "gold".
type repaired struct {
	*house

	id string
}

func newRepaired(t *testing.T, enabled bool) repaired {
	t.Helper()
	h := newHouse(t)
	id := h.AddProject(keystone.Project{Name: "bs-customer-1", Tags: append(keystone.TenantTags("1", "m", "i"), "gold")})
	h.EnableProject(id, enabled)
	if err := h.cloud.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	return repaired{h, id}
}

func (r repaired) change(t *testing.T, c keystone.ProjectChange) (keystone.Project, bool, error) {
	t.Helper()
	return r.cloud.ChangeProject(t.Context(), keystone.Project{ID: r.id}, c)
}

// The method `is` checks the state and the tags of the tenant. The first tags must be Tenantry's own tags. The parameter `tags` lists
// the tags that must follow.
func (r repaired) is(t *testing.T, enabled bool, tags ...string) {
	t.Helper()
	all := r.Projects()
	p := all[slices.IndexFunc(all, func(p keystone.Project) bool { return p.ID == r.id })]
	want := append(keystone.TenantTags("1", "m", "i"), tags...)
	if p.Enabled != enabled || !slices.Equal(p.Tags, want) {
		t.Errorf("got enabled %t, tags %v; want %t, %v", p.Enabled, p.Tags, enabled, want)
	}
}

// The method `updates` records the bodies of all later updates, and passes the updates on to Keystone. It returns a function that returns
// the recorded bodies.
func (r repaired) updates(t *testing.T) func() []map[string]any {
	var sent []map[string]any
	r.wire.intercept(isPatch, roundTrip(func(req *http.Request) (*http.Response, error) {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		var content struct {
			Project map[string]any `json:"project"`
		}
		if err := json.NewDecoder(body).Decode(&content); err != nil {
			t.Error(err)
		}
		sent = append(sent, content.Project)
		return r.wire.next.RoundTrip(req)
	}))
	return func() []map[string]any { return sent }
}

func TestAChangeSendsOnlyWhatChanges(t *testing.T) {
	on, off := new(true), new(false)
	list := func(more ...string) (all []any) {
		for _, tag := range append(keystone.TenantTags("1", "m", "i"), more...) {
			all = append(all, tag)
		}
		return all
	}
	for _, c := range []struct {
		what    string
		enabled bool // before the change
		change  keystone.ProjectChange
		want    map[string]any // nil if no update is sent
		after   bool           // whether the project is enabled after the change
		tags    []string       // the tags that must follow Tenantry's own tags
	}{
		{"nothing", true, keystone.ProjectChange{}, nil, true, []string{"gold"}},
		{"nothing, disabled", false, keystone.ProjectChange{}, nil, false, []string{"gold"}},
		{"the same state", false, keystone.ProjectChange{Enabled: off}, nil, false, []string{"gold"}},
		{"the same tags", true, keystone.ProjectChange{Add: []string{"gold"}, Remove: []string{"silver"}}, nil, true, []string{"gold"}},
		{"the same state and tags", true, keystone.ProjectChange{Enabled: on, Add: []string{"gold", "tenantry"}}, nil, true, []string{"gold"}},
		{"enable", false, keystone.ProjectChange{Enabled: on}, map[string]any{"enabled": true}, true, []string{"gold"}},
		{"disable", true, keystone.ProjectChange{Enabled: off}, map[string]any{"enabled": false}, false, []string{"gold"}},
		{
			"enable, the same tags", false,
			keystone.ProjectChange{Enabled: on, Add: []string{"gold"}, Remove: []string{"silver"}},
			map[string]any{"enabled": true},
			true,
			[]string{"gold"},
		},
		{"add", true, keystone.ProjectChange{Add: []string{"a"}}, map[string]any{"tags": list("gold", "a")}, true, []string{"gold", "a"}},
		{"add twice", true, keystone.ProjectChange{Add: []string{"a", "a"}}, map[string]any{"tags": list("gold", "a")}, true, []string{"gold", "a"}},
		{"add, disabled", false, keystone.ProjectChange{Add: []string{"a"}}, map[string]any{"tags": list("gold", "a")}, false, []string{"gold", "a"}},
		{"add, the same state", false, keystone.ProjectChange{Enabled: off, Add: []string{"a"}}, map[string]any{"tags": list("gold", "a")}, false, []string{"gold", "a"}},
		{"remove", true, keystone.ProjectChange{Remove: []string{"gold", "silver"}}, map[string]any{"tags": list()}, true, nil},
		{"replace", true, keystone.ProjectChange{Add: []string{"a"}, Remove: []string{"gold"}}, map[string]any{"tags": list("a")}, true, []string{"a"}},
		{
			"add and remove the same", true,
			keystone.ProjectChange{Add: []string{"a", "gold"}, Remove: []string{"a", "gold"}},
			map[string]any{"tags": list("gold", "a")},
			true,
			[]string{"gold", "a"},
		},
		{
			"disable and add", true,
			keystone.ProjectChange{Enabled: off, Add: []string{mark}},
			map[string]any{"enabled": false, "tags": list("gold", mark)},
			false,
			[]string{"gold", mark},
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := newRepaired(t, c.enabled)
			sent := r.updates(t)
			for i := range 2 {
				after, changed, err := r.change(t, c.change)
				if want := c.want != nil && i == 0; err != nil || changed != want || after.ID != r.id || after.Enabled != c.after {
					t.Errorf("got %+v, changed %t, %v; want changed %t, enabled %t", after, changed, err, want, c.after)
				}
				if want := append(keystone.TenantTags("1", "m", "i"), c.tags...); !slices.Equal(after.Tags, want) {
					t.Errorf("got tags %v, want %v", after.Tags, want)
				}
				r.is(t, c.after, c.tags...)
			}
			var want []map[string]any
			if c.want != nil {
				want = append(want, c.want)
			}
			if !reflect.DeepEqual(sent(), want) {
				t.Errorf("sent %v, want %v", sent(), want)
			}
		})
	}
}

// TestALateChangeKeepsTheRest lets ChangeProject fail, and then delivers its write to Keystone. Before the delivery, an administrator
// changes a field that the write does not contain. The late write must keep the administrator's change.
func TestALateChangeKeepsTheRest(t *testing.T) {
	t.Run("the state", func(t *testing.T) {
		r := newRepaired(t, false)
		deliver := r.delay(t)
		_, changed, err := r.change(t, keystone.ProjectChange{Enabled: new(true), Add: []string{"gold"}})
		compare(t, "the call", err, classification{class: upstream.Transient, maybeDone: true})
		if changed {
			t.Error("got changed true, together with an error")
		}
		r.TagProject(r.id, append(keystone.TenantTags("1", "m", "i"), "silver")...)
		deliver()
		r.is(t, true, "silver")
	})
	t.Run("the tags", func(t *testing.T) {
		r := newRepaired(t, true)
		deliver := r.delay(t)
		_, changed, err := r.change(t, keystone.ProjectChange{Enabled: new(true), Add: []string{"silver"}})
		compare(t, "the call", err, classification{class: upstream.Transient, maybeDone: true})
		if changed {
			t.Error("got changed true, together with an error")
		}
		r.EnableProject(r.id, false)
		deliver()
		r.is(t, false, "gold", "silver")
	})
}

func TestTheAnswerToAChangeMustShowTheChange(t *testing.T) {
	const enabled, disabled = `"enabled":true`, `"enabled":false`
	list := func(more ...string) string {
		return `"tags":["` + strings.Join(append(keystone.TenantTags("1", "m", "i"), more...), `","`) + `"]`
	}
	disable, add := keystone.ProjectChange{Enabled: new(false)}, keystone.ProjectChange{Add: []string{"silver"}}
	for _, c := range []struct {
		what                string
		change              keystone.ProjectChange
		answer              string // the fields of the answer that follow domain_id
		passes, wantEnabled bool
		wantTags            []string // the tags that must follow Tenantry's own tags
	}{
		{"the new state", disable, disabled + "," + list("gold"), true, false, []string{"gold"}},
		{"the new state, and tags that another client set", disable, disabled + "," + list("x"), true, false, []string{"x"}},
		{"the old state", disable, enabled + "," + list("gold"), false, false, nil},
		{"the new state without tags", disable, disabled, false, false, nil},
		{"the new tags in another order", add, enabled + "," + list("silver", "gold"), true, true, []string{"silver", "gold"}},
		{"the new tags, and the state that another client set", add, disabled + "," + list("gold", "silver"), true, false, []string{"gold", "silver"}},
		{"the old tags", add, enabled + "," + list("gold"), false, false, nil},
		{"the new tags without a state", add, list("gold", "silver"), false, false, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := newRepaired(t, true)
			r.wire.intercept(isPatch, answer(200, fmt.Sprintf(
				`{"project":{"id":%q,"name":"bs-customer-1","domain_id":"default",%s}}`, r.id, c.answer)))
			after, changed, err := r.change(t, c.change)
			if changed != c.passes {
				t.Errorf("changed %t, want %t", changed, c.passes)
			}
			if !c.passes {
				compare(t, "the call", err, classification{class: upstream.Transient, maybeDone: true})
				return
			}
			want := keystone.Project{
				ID: r.id, Name: "bs-customer-1", DomainID: "default", Enabled: c.wantEnabled,
				Tags: append(keystone.TenantTags("1", "m", "i"), c.wantTags...),
			}
			if err != nil || !reflect.DeepEqual(after, want) {
				t.Errorf("got  %+v, %v\nwant %+v", after, err, want)
			}
		})
	}
}
