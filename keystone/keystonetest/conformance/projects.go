package conformance

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

func ensureProjectRepeated(_ *testing.T, f *fixture) {
	n := newProject()
	p := f.project(n)
	slices.Sort(p.Tags)
	want := keystone.Project{
		ID: p.ID, Name: n.Name, DomainID: "default", Enabled: true, Tags: []string{"tenantry", "tenantry-run-1"},
	}
	same(f, "made", p, want)
	for _, again := range []keystone.NewProject{
		n,
		{Name: n.Name, DomainID: "default", RunTag: "tenantry-run-1"},
		{Name: n.Name, DomainID: "default", RunTag: "tenantry-run-2"}, // not the run that created the project
		{Name: n.Name, DomainID: "default", RunTag: "tenantry-run-2"},
	} {
		p, made, err := f.cloud.EnsureProject(f.ctx, again)
		f.ok(err)
		slices.Sort(p.Tags)
		same(f, "found", p, want)
		same(f, "made", made, again.RunTag == "tenantry-run-1")
	}
}

func ensureProjectAtOnce(_ *testing.T, f *fixture) {
	n := newProject()
	ids := make([]string, 8)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			p, made, err := f.cloud.EnsureProject(f.ctx, n)
			if err != nil || !made {
				f.Errorf("made %t, %v", made, err)
			}
			ids[i] = p.ID
		})
	}
	group.Wait()
	f.Cleanup(func() { f.do("DELETE", "/projects/"+ids[0], f.admin, "") })
	if slices.Sort(ids); ids[0] == "" || len(slices.Compact(ids)) != 1 {
		f.Errorf("got projects %v", ids)
	}
}

func ensureProjectLongName(_ *testing.T, f *fixture) {
	n := newProject()
	n.Name += strings.Repeat("é", 64-len(n.Name))
	same(f, "name", f.project(n).Name, n.Name)
	n.Name += "é"
	_, _, err := f.cloud.EnsureProject(f.ctx, n)
	f.wants(err, nil)
}

func ensureProjectMalformedTag(_ *testing.T, f *fixture) {
	n := newProject()
	n.Tags = []string{"a/b"}
	_, _, err := f.cloud.EnsureProject(f.ctx, n)
	f.wants(err, nil)
}

func findProject(_ *testing.T, f *fixture) {
	n := newProject()
	want := f.project(n)
	slices.Sort(want.Tags)
	p, err := f.cloud.FindProject(f.ctx, "default", n.Name)
	f.ok(err)
	slices.Sort(p.Tags)
	same(f, "found", p, want)
	for _, absent := range [][2]string{{"default", n.Name + "x"}, {"nope", n.Name}, {"", n.Name}, {"default", ""}} {
		_, err = f.cloud.FindProject(f.ctx, absent[0], absent[1])
		f.wants(err, keystone.ErrNotFound)
	}
}

// The method `exists` is a helper that checks whether Keystone has the project. The parameter `want` is the expected result.
func (f *fixture) exists(p keystone.Project, want bool) {
	f.Helper()
	same(f, "is there", f.do("GET", "/projects/"+p.ID, f.admin, "").status == 200, want)
}

func removeProjectOfAnotherRun(_ *testing.T, f *fixture) {
	p := f.project(newProject())
	for _, runTag := range []string{"tenantry-run-2", "tenantry-run", ""} {
		f.ok(only(f.cloud.RemoveProject(f.ctx, p, runTag)))
		f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{ID: p.ID}, runTag)))
	}
	f.exists(p, true)
}

func removeProjectRepeated(_ *testing.T, f *fixture) {
	n := newProject()
	p := f.project(n)
	f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{Name: n.Name, DomainID: "default"}, n.RunTag)))
	f.exists(p, false)
	f.ok(only(f.cloud.RemoveProject(f.ctx, p, n.RunTag)))
	f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{ID: p.ID}, n.RunTag)))

	p = f.project(n)
	f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{ID: p.ID}, n.RunTag)))
	f.exists(p, false)
}

// removeProjectMadeAgain tests a late effect: a lost request is executed after the removal of the project, and creates the project
// again under another id.
func removeProjectMadeAgain(_ *testing.T, f *fixture) {
	n := newProject()
	old := f.project(n)
	f.ok(only(f.cloud.RemoveProject(f.ctx, old, n.RunTag)))
	p := f.project(n)
	f.ok(only(f.cloud.RemoveProject(f.ctx, old, n.RunTag)))
	f.exists(p, false)
}
