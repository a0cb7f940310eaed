package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `patches` is a transport that stores the names of the fields in each update of a project. If `late` is true, the transport does
// not send an update, but stores it in `kept`. In Identity v2.0, the tags are in the description.
type patches struct {
	next   http.RoundTripper
	late   bool
	kept   *http.Request
	fields []string // "enabled", "tags" or "enabled tags"
}

// RoundTrip implements [http.RoundTripper].
func (u *patches) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPatch && (req.Method != http.MethodPut || strings.Contains(req.URL.Path, "/OS-KSADM/")) {
		return u.next.RoundTrip(req)
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	var content map[string]map[string]any // the key is "project" or "tenant"
	if err := json.NewDecoder(body).Decode(&content); err != nil {
		return nil, err
	}
	var fields []string
	for _, one := range content {
		for field := range one {
			fields = append(fields, strings.Replace(field, "description", "tags", 1))
		}
	}
	slices.Sort(fields)
	u.fields = append(u.fields, strings.Join(fields, " "))
	if !u.late {
		return u.next.RoundTrip(req)
	}
	u.kept = req.Clone(context.WithoutCancel(req.Context()))
	u.kept.Body, err = req.GetBody()
	if err != nil {
		return nil, err
	}
	return nil, io.ErrUnexpectedEOF
}

// The method `watched` replaces the Cloud under test, and returns the transport of the new Cloud.
func (f *fixture) watched() *patches {
	f.Helper()
	u := &patches{next: conn.NewTransport(nil)}
	f.config.Base = u
	f.cloud = f.newCloud(f.config)
	return u
}

// The method `changes` makes a change twice. The first call must send an update with the given fields. If `fields` is empty, the first
// call must send no update. The second call must never send an update.
func (f *fixture) changes(p keystone.Project, c keystone.ProjectChange, fields string, want keystone.Project) {
	f.Helper()
	u := f.watched()
	for _, wantChanged := range []bool{fields != "", false} {
		after, changed, err := f.cloud.ChangeProject(f.ctx, keystone.Project{ID: p.ID}, c)
		f.ok(err)
		same(f, "after", sorted(after), want)
		same(f, "changed", changed, wantChanged)
		f.is(want)
	}
	var wantFields []string
	if fields != "" {
		wantFields = []string{fields}
	}
	same(f, "updates", u.fields, wantFields)
}

// The method `refuses` requests a change. The change must be refused, and the project must stay the same.
func (f *fixture) refuses(p keystone.Project, c keystone.ProjectChange, sentinel error) {
	f.Helper()
	_, changed, err := f.cloud.ChangeProject(f.ctx, keystone.Project{ID: p.ID}, c)
	f.wants(err, sentinel)
	same(f, "changed", changed, false)
	f.is(p)
}

var enable, disable = keystone.ProjectChange{Enabled: new(true)}, keystone.ProjectChange{Enabled: new(false)}

// The function `tagged` returns the project with the tags in `add`, and without the tags in `remove`.
func tagged(p keystone.Project, add, remove []string) keystone.Project {
	p.Tags = slices.DeleteFunc(slices.Concat(p.Tags, add), func(tag string) bool { return slices.Contains(remove, tag) })
	return sorted(p)
}

func changeState(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.changes(p, keystone.ProjectChange{}, "", p)
	f.changes(p, enable, "", p)
	f.set(p, `"enabled":false`) // by an administrator
	f.changes(p, disable, "", marked(p, false))
	f.changes(p, enable, "enabled", p)
	f.changes(p, disable, "enabled", marked(p, false))
	f.changes(p, enable, "enabled", p)

	f.changes(p, keystone.ProjectChange{Enabled: new(false), Add: []string{markA}}, "enabled tags", marked(p, false, markA))
	f.enables(p, p, true, markA) // EnableProject treats this mark like a mark that DisableProject added
	f.disables(p, markB, marked(p, false, markB))
	f.changes(p, enable, "enabled", marked(p, true, markB))
}

func changeTags(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.changes(p, keystone.ProjectChange{Add: []string{"gold", "tenantry"}, Remove: []string{"silver"}}, "", p)
	f.changes(p, keystone.ProjectChange{Add: []string{"a", "b", "a"}}, "tags", tagged(p, []string{"a", "b"}, nil))
	f.changes(p, keystone.ProjectChange{Remove: []string{"b", "gold"}}, "tags", tagged(p, []string{"a"}, []string{"gold"}))
	f.changes(p, keystone.ProjectChange{Add: []string{"gold"}, Remove: []string{"a"}}, "tags", p)
	f.changes(p, keystone.ProjectChange{Add: []string{"gold"}, Remove: []string{"gold"}}, "", p)
	f.changes(p, keystone.ProjectChange{Add: []string{"é ü"}, Remove: []string{"é ü"}}, "tags", tagged(p, []string{"é ü"}, nil))
	f.changes(p, keystone.ProjectChange{Remove: []string{"é ü"}}, "tags", p)

	// Replace the merchant's tag: first alone, then together with a change of the state.
	f.set(p, `"enabled":false`)
	old, other := []string{keystone.MerchantTag("m")}, []string{keystone.MerchantTag("n")}
	f.changes(p, keystone.ProjectChange{Add: other, Remove: old}, "tags", marked(tagged(p, other, old), false))
	f.changes(p, keystone.ProjectChange{Enabled: new(true), Add: old, Remove: other}, "enabled tags", p)
}

// changeLate lets ChangeProject fail, and then delivers its write to Keystone. Before the delivery, an administrator changes a field that
// the write does not contain. The late write must keep the administrator's change.
func changeLate(_ *testing.T, f *fixture) {
	p := f.newTenant()
	late := func(c keystone.ProjectChange, meanwhile string) {
		f.Helper()
		u := f.watched()
		u.late = true
		_, changed, err := f.cloud.ChangeProject(f.ctx, p, c)
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Transient || !e.MaybeDone || changed {
			f.Fatalf("got changed %t, %v (%+v); want class Transient with MaybeDone", changed, err, e)
		}
		f.set(p, meanwhile)
		resp, err := u.next.RoundTrip(u.kept)
		f.ok(err)
		f.ok(resp.Body.Close())
		same(f, "status of the late write", resp.StatusCode, http.StatusOK)
	}
	silver := tagged(p, []string{"silver"}, nil)
	late(keystone.ProjectChange{Enabled: new(false), Add: []string{"gold"}}, fmt.Sprintf(`"tags":["%s"]`, strings.Join(silver.Tags, `","`)))
	f.is(marked(silver, false))

	late(keystone.ProjectChange{Enabled: new(false), Add: []string{"a"}}, `"enabled":true`)
	f.is(tagged(silver, []string{"a"}, nil))
}

func changeAbsent(_ *testing.T, f *fixture) {
	p := f.newTenant()
	f.ok(only(f.cloud.RemoveProject(f.ctx, p, keystone.RunTag("1"))))
	for id, sentinel := range map[string]error{p.ID: keystone.ErrNotFound, "nope": keystone.ErrNotFound, "": nil} {
		_, changed, err := f.cloud.ChangeProject(f.ctx, keystone.Project{ID: id}, disable)
		f.wants(err, sentinel)
		same(f, "changed", changed, false)
	}
}

// changeGuarded checks that the guard refuses a change of a foreign project. The guard must also refuse new tags that lack a tag of
// Tenantry's tenants.
func changeGuarded(_ *testing.T, f *fixture) {
	p := f.newTenant()
	for _, tag := range []string{"tenantry", keystone.RunTag("1"), keystone.MerchantTag("m")} {
		f.refuses(p, keystone.ProjectChange{Remove: []string{tag}}, keystone.ErrGuard)
		f.refuses(p, keystone.ProjectChange{Enabled: new(false), Remove: []string{tag}}, keystone.ErrGuard)
	}

	untagged := sorted(f.project(newProject())) // the project has the name of a tenant, but lacks the tag of a merchant
	f.changes(untagged, disable, "enabled", marked(untagged, false))
	f.changes(untagged, enable, "enabled", untagged)
	f.refuses(untagged, keystone.ProjectChange{Add: []string{"a"}}, keystone.ErrGuard)
	merchant := []string{keystone.MerchantTag("m")}
	f.changes(untagged, keystone.ProjectChange{Add: merchant}, "tags", tagged(untagged, merchant, nil))

	name := "other-" + random()
	tags := slices.Sorted(slices.Values(keystone.TenantTags("1", "m", "i")))
	foreign := keystone.Project{Name: name, DomainID: "default", Enabled: true, Tags: tags}
	foreign.ID = f.created(name, "", tags...)
	f.refuses(foreign, disable, keystone.ErrGuard)
	f.refuses(foreign, keystone.ProjectChange{Add: []string{"a"}}, keystone.ErrGuard)
	f.changes(foreign, enable, "", foreign)
}

// changeRefused requests changes that Keystone refuses. A refused change must change neither the state nor the tags.
func changeRefused(_ *testing.T, f *fixture) {
	p := f.newTenant()
	for _, tag := range []string{"a/b", "a,b", "", strings.Repeat("x", 256)} {
		f.refuses(p, keystone.ProjectChange{Enabled: new(false), Add: []string{tag}}, nil)
	}

	var more []string
	for i := range 80 - len(p.Tags) {
		more = append(more, fmt.Sprintf("t%02d", i))
	}
	full := tagged(p, more, nil)
	f.changes(p, keystone.ProjectChange{Add: more}, "tags", full)
	f.refuses(full, keystone.ProjectChange{Add: []string{"a"}}, nil)
	f.changes(full, keystone.ProjectChange{Add: []string{"a"}, Remove: []string{"gold"}}, "tags", tagged(full, []string{"a"}, []string{"gold"}))
	f.changes(full, disable, "enabled", marked(tagged(full, []string{"a"}, []string{"gold"}), false))
}

// changeFamily changes a project that has a child project, and changes the child project.
func changeFamily(_ *testing.T, f *fixture) {
	p := f.newTenant()
	child := keystone.Project{Name: "bs-customer-" + random(), DomainID: "default", Enabled: true, Tags: p.Tags}
	child.ID = f.created(child.Name, p.ID, child.Tags...)
	f.refuses(p, disable, nil)
	f.changes(p, keystone.ProjectChange{Add: []string{"a"}}, "tags", tagged(p, []string{"a"}, nil))
	f.changes(p, keystone.ProjectChange{Remove: []string{"a"}}, "tags", p)

	f.changes(child, disable, "enabled", marked(child, false))
	f.changes(child, keystone.ProjectChange{Add: []string{"a"}}, "tags", marked(child, false, "a"))
	f.changes(p, disable, "enabled", marked(p, false))
	child = marked(child, false, "a")
	f.refuses(child, enable, nil)
	f.refuses(child, keystone.ProjectChange{Remove: []string{"a"}}, nil)
	f.changes(p, enable, "enabled", p)
	f.changes(child, keystone.ProjectChange{Enabled: new(true), Remove: []string{"a"}}, "enabled tags", tagged(marked(child, true), nil, []string{"a"}))
}
