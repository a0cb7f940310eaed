package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

// newTenant creates a project with all tags of a tenant, and with one tag of an administrator.
func (f *fixture) newTenant() keystone.Project {
	f.Helper()
	n := newProject()
	n.Tags = append(keystone.TenantTags("1", "m", "i"), "gold")
	return sorted(f.project(n))
}

func sorted(p keystone.Project) keystone.Project {
	p.Tags = slices.Sorted(slices.Values(p.Tags))
	return p
}

// The function `marked` returns the project with this state, and with these marks as additional tags.
func marked(p keystone.Project, enabled bool, marks ...string) keystone.Project {
	p.Enabled, p.Tags = enabled, slices.Concat(p.Tags, marks)
	return sorted(p)
}

// The method `is` checks that Keystone returns exactly this project. The order of the tags is not checked.
func (f *fixture) is(want keystone.Project) {
	f.Helper()
	got, err := f.cloud.Project(f.ctx, want.ID)
	f.ok(err)
	same(f, "project", sorted(got), want)
}

func (f *fixture) disables(p keystone.Project, mark string, want keystone.Project) {
	f.Helper()
	after, err := f.cloud.DisableProject(f.ctx, p, mark)
	f.ok(err)
	same(f, "disabled", sorted(after), want)
	f.is(want)
}

func (f *fixture) enables(p, want keystone.Project, wantChanged bool, marks ...string) {
	f.Helper()
	after, changed, err := f.cloud.EnableProject(f.ctx, p, marks...)
	f.ok(err)
	same(f, "enabled", sorted(after), want)
	same(f, "changed", changed, wantChanged)
	f.is(want)
}

// The method `set` changes a project as an administrator would.
func (f *fixture) set(p keystone.Project, fields string) {
	f.Helper()
	if !f.second {
		f.must(200, "PATCH", "/projects/"+p.ID, f.admin, `{"project":{`+fields+`}}`)
		return
	}
	var changed map[string]any
	f.ok(json.Unmarshal([]byte(`{`+fields+`}`), &changed))
	if tags, ok := changed["tags"].([]any); ok {
		all := []string{}
		for _, tag := range tags {
			all = append(all, tag.(string))
		}
		delete(changed, "tags")
		changed["description"] = keystone.Describe("for a test", all)
	}
	admin := raw{f.T, f.adminURL}
	admin.must(200, "PUT", "/tenants/"+p.ID, f.admin, encoded(f.T, map[string]any{"tenant": changed}))
}

func projectKnown(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.is(p)
	f.set(p, `"enabled":false,"tags":[]`)
	p.Enabled, p.Tags = false, nil
	f.is(p)
	for _, absent := range []string{"nope", "0123456789abcdef0123456789abcdef"} {
		_, err := f.cloud.Project(f.ctx, absent)
		f.wants(err, keystone.ErrNotFound)
	}
	_, err := f.cloud.Project(f.ctx, "")
	f.wants(err, nil)
}

var markA, markB = keystone.DisabledTag("a"), keystone.DisabledTag("b")

func disableRepeated(_ *testing.T, f *fixture) {
	p := f.newTenant()
	for range 2 {
		f.disables(keystone.Project{ID: p.ID}, markA, marked(p, false, markA))
	}
	for i := range 2 {
		f.enables(keystone.Project{ID: p.ID}, p, i == 0, markA)
	}
	f.disables(p, markB, marked(p, false, markB))
}

func disableAtOnce(_ *testing.T, f *fixture) {
	p := f.newTenant()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if after, err := f.cloud.DisableProject(f.ctx, p, markA); err != nil || after.Enabled || !after.HasTag(markA) {
				f.Errorf("got %+v, %v", after, err)
			}
		})
	}
	group.Wait()
	f.is(marked(p, false, markA))
}

func disableDisabled(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.set(p, `"enabled":false`) // by an administrator
	f.disables(p, markA, marked(p, false))
	f.enables(p, marked(p, false), false, markA)

	f.set(p, `"enabled":true`)
	f.disables(p, markA, marked(p, false, markA)) // by run a
	f.disables(p, markB, marked(p, false, markA))
	f.enables(p, marked(p, false, markA), false, markB)
	f.enables(p, p, true, markB, markA)
}

// disableEnabledByAdmin tests a project that an administrator enables without removing the marks.
func disableEnabledByAdmin(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.disables(p, markA, marked(p, false, markA))
	f.set(p, `"enabled":true`)
	f.disables(p, markB, marked(p, false, markA, markB))
	f.enables(p, marked(p, true, markA), true, markB)
	f.disables(p, markA, marked(p, false, markA))
	f.set(p, `"enabled":true`)
	f.enables(p, p, true, markA)
}

func disableAbsent(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.disables(p, markA, marked(p, false, markA))
	f.ok(only(f.cloud.RemoveProject(f.ctx, p, keystone.RunTag("1")))) // a disabled project can be deleted
	f.wants(only(f.cloud.DisableProject(f.ctx, p, markA)), keystone.ErrNotFound)
	_, changed, err := f.cloud.EnableProject(f.ctx, p, markA)
	f.wants(err, keystone.ErrNotFound)
	same(f, "changed", changed, false)
}

// disableRefused checks that a refused update changes neither the state nor the tags.
func disableRefused(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.wants(only(f.cloud.DisableProject(f.ctx, p, "a/b")), nil)
	f.is(p)

	child := f.created("bs-child-"+random(), p.ID)
	f.wants(only(f.cloud.DisableProject(f.ctx, p, markA)), nil)
	f.is(p)
	f.must(204, "DELETE", "/projects/"+child, f.admin, "")

	full := p
	for i := range 80 - len(p.Tags) {
		full.Tags = append(slices.Clone(full.Tags), fmt.Sprintf("t%02d", i))
	}
	full = sorted(full)
	f.set(p, fmt.Sprintf(`"tags":["%s"]`, strings.Join(full.Tags, `","`)))
	f.wants(only(f.cloud.DisableProject(f.ctx, p, markA)), nil)
	f.is(full)
}

// disabledKeeps checks that a disabled project keeps its name and its role assignments.
func disabledKeeps(_ *testing.T, f *fixture) {
	p := f.newTenant()
	user, unscoped := f.user()
	a := keystone.Assignment{ProjectID: p.ID, UserID: user, RoleID: f.role("member")}
	reader := a
	reader.RoleID = f.role("reader")
	f.ok(f.cloud.EnsureAssignment(f.ctx, a))
	scoped, err := f.cloud.ExchangeToken(f.ctx, unscoped, p.ID)
	f.ok(err)
	want := marked(p, false, markA)
	f.disables(p, markA, want)

	found, err := f.cloud.FindProject(f.ctx, p.DomainID, p.Name)
	f.ok(err)
	same(f, "found by name", sorted(found), want)
	n := keystone.NewProject{Name: p.Name, DomainID: p.DomainID, RunTag: keystone.RunTag("1")}
	for run, wantMade := range map[string]bool{"1": true, "2": false} {
		n.RunTag = keystone.RunTag(run)
		found, made, err := f.cloud.EnsureProject(f.ctx, n)
		f.ok(err)
		same(f, "project with the name", sorted(found), want)
		same(f, "made by run "+run, made, wantMade)
	}

	f.has(a, a.RoleID)
	f.ok(f.cloud.EnsureAssignment(f.ctx, reader))
	f.has(a, a.RoleID, reader.RoleID)
	f.ok(only(f.cloud.RemoveAssignment(f.ctx, reader)))
	f.has(a, a.RoleID)

	f.ok(only(f.cloud.ValidateToken(f.ctx, unscoped)))
	f.wants(only(f.cloud.ValidateToken(f.ctx, scoped.ID)), keystone.ErrTokenInvalid)
	f.noAccess(unscoped, p.ID)
	f.enables(p, p, true, markA)
	if f.second { // the token stays invalid
		f.wants(only(f.cloud.ValidateToken(f.ctx, scoped.ID)), keystone.ErrTokenInvalid)
	} else {
		f.ok(only(f.cloud.ValidateToken(f.ctx, scoped.ID)))
	}
	f.ok(only(f.cloud.ExchangeToken(f.ctx, unscoped, p.ID)))
}
