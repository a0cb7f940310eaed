package conformance

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
)

// The function `prepare` creates the roles that the tests need, because Keystone Pike does not have them.
func prepare(t *testing.T, target Target) {
	t.Helper()
	r := raw{t, target.URL}
	admin := r.must(201, "POST", "/auth/tokens", "", passwordLogin(adminUser, target.Password, adminScope)).token()
	for _, name := range []string{"member", "reader"} {
		if r.do("GET", "/roles?name="+name, admin, "").get("roles", 0, "id") == "" {
			r.must(201, "POST", "/roles", admin, fmt.Sprintf(`{"role":{"name":%q}}`, name))
		}
	}
}

// chosenID creates projects with ids that the caller has chosen.
func chosenID(_ *testing.T, f *fixture) {
	n := newProject()
	n.ID = "0123456789abcdef0123" + random()
	p := f.project(n)
	same(f, "id", p.ID, n.ID)
	again, made, err := f.cloud.EnsureProject(f.ctx, n)
	f.ok(err)
	same(f, "again", sorted(again), sorted(p))
	same(f, "made", made, true)

	other := newProject()
	other.ID = n.ID
	_, _, err = f.cloud.EnsureProject(f.ctx, other)
	f.wants(err, keystone.ErrConflict) // the id is taken by a project with another name
}

func onlyDomain(_ *testing.T, f *fixture) {
	n := newProject()
	n.DomainID = "other"
	_, _, err := f.cloud.EnsureProject(f.ctx, n)
	f.wants(err, keystone.ErrNotFound)
	_, err = f.cloud.EachProject(f.ctx, "other", "", func(keystone.Project) { f.Error("got a project, want none") })
	f.wants(err, keystone.ErrNotFound)
	_, err = f.cloud.EachUser(f.ctx, "other", func(keystone.User) { f.Error("got a user, want none") })
	f.wants(err, keystone.ErrNotFound)
}

func noProject(_ *testing.T, f *fixture) {
	for what, change := range map[string]func(*conn.Credential){
		"a user, a password and a project": func(c *conn.Credential) { c.ProjectName = "" },
		"no application credentials":       func(c *conn.Credential) { c.ApplicationCredentialID = "x" },
		"no scopes except projects":        func(c *conn.Credential) { c.System = true },
	} {
		cfg := f.config
		change(&cfg.Credential)
		if _, err := clouds.Open(cfg); err == nil || !strings.Contains(err.Error(), what) {
			f.Errorf("got %v, want %q", err, what)
		}
	}
}

// The type `visited` is a transport that stores the requests by the host that got them.
type visited struct {
	next http.RoundTripper

	mu sync.Mutex
	at map[string][]string
}

// RoundTrip implements [http.RoundTripper].
func (v *visited) RoundTrip(req *http.Request) (*http.Response, error) {
	v.mu.Lock()
	v.at[req.URL.Host] = append(v.at[req.URL.Host], req.Method+" "+req.URL.Path)
	v.mu.Unlock()
	return v.next.RoundTrip(req)
}

// twoApplications checks that logins and exchanges go to the public application, and all other requests to the admin application.
func twoApplications(_ *testing.T, f *fixture) {
	host := func(address string) string {
		u, err := url.Parse(address)
		f.ok(err)
		return u.Host
	}
	public, admin := host(f.config.URL), host(f.adminURL)
	for _, fixed := range []string{"", f.adminURL} {
		v := &visited{next: conn.NewTransport(nil), at: map[string][]string{}}
		f.config.Base, f.config.AdminURL = v, fixed
		f.cloud = f.newCloud(f.config)
		user, unscoped := f.user()
		a := keystone.Assignment{ProjectID: f.project(newProject()).ID, UserID: user, RoleID: f.role("member")}
		f.ok(f.cloud.EnsureAssignment(f.ctx, a))
		f.ok(only(f.cloud.ExchangeToken(f.ctx, unscoped, a.ProjectID)))
		same(f, "the public application", v.at[public], []string{"POST /v2.0/tokens", "POST /v2.0/tokens"})
		if got := v.at[admin]; len(got) < 4 || slices.Contains(got, "POST /v2.0/tokens") || len(v.at) != 2 {
			f.Errorf("the admin application got %v", v.at)
		}
	}

	f.config.AdminURL = ""
	f.config.Region = "elsewhere" // the catalog has no address in this region, so the public application gets all requests
	if _, err := f.newCloud(f.config).AllRoles(f.ctx); err == nil || !strings.Contains(err.Error(), "404 Not Found") {
		f.Errorf("got %v, want the public application's 404", err)
	}
}

func reach2(_ *testing.T, f *fixture) {
	me := f.must(200, "GET", "/auth/tokens", f.admin, "", "X-Subject-Token", f.admin).get("token", "project", "id")
	got, err := f.cloud.Reach(f.ctx)
	f.ok(err)
	if len(got.Roles) != 1 || got.Roles[0].Name != "admin" || got.Roles[0].ID == "" || got.ProjectID != me || len(got.NotShown) != 3 {
		f.Errorf("got %+v", got)
	}
	implied, err := f.cloud.Implied(f.ctx)
	f.ok(err)
	same(f, "implied roles", len(implied), 0)
}

func lists2(_ *testing.T, f *fixture) {
	p := f.newTenant()
	other := f.created("payroll-"+random(), "")
	found, whole := f.projects(f.cloud, "default", keystone.TenantPrefix)
	same(f, "tenant", sorted(found[p.ID]), p)
	_, listed := found[other]
	same(f, "another project is listed", listed, false)
	same(f, "whole", whole, true)
	all, _ := f.projects(f.cloud, "default", "")
	_, listed = all[other]
	same(f, "another project is listed without a prefix", listed, true)

	id, _ := f.user()
	users, whole := f.users(f.cloud, "default")
	u, err := f.cloud.User(f.ctx, id)
	f.ok(err)
	same(f, "user", users[id], u)
	same(f, "whole", whole, true)
}

func eachAssignment2(_ *testing.T, f *fixture) {
	a, b := f.newAssignment(), f.newAssignment()
	reader := a
	reader.RoleID = f.role("reader")
	for _, one := range []keystone.Assignment{a, reader, b} {
		f.ok(f.cloud.EnsureAssignment(f.ctx, one))
	}
	granted := func(a keystone.Assignment) keystone.Granted {
		return keystone.Granted{RoleID: a.RoleID, UserID: a.UserID, ProjectID: a.ProjectID}
	}
	onA := map[keystone.Granted]int{granted(a): 1, granted(reader): 1}
	same(f, "on a project", f.assignments(f.cloud, keystone.AssignmentFilter{ProjectID: a.ProjectID}), onA)
	same(f, "of a user", f.assignments(f.cloud, keystone.AssignmentFilter{UserID: a.UserID}), onA)
	same(f, "of a user on another project", f.assignments(f.cloud, keystone.AssignmentFilter{UserID: a.UserID, ProjectID: b.ProjectID}),
		map[keystone.Granted]int{})
	all := f.assignments(f.cloud, keystone.AssignmentFilter{})
	for _, one := range []keystone.Assignment{a, reader, b} {
		same(f, "listed", all[granted(one)], 1)
	}
	same(f, "on no project", f.assignments(f.cloud, keystone.AssignmentFilter{ProjectID: "nope"}), map[keystone.Granted]int{})
}

func access2(_ *testing.T, f *fixture) {
	access, err := f.cloud.Access(f.ctx)
	f.ok(err)
	me := f.must(200, "GET", "/auth/tokens", f.admin, "", "X-Subject-Token", f.admin).get("token", "project", "id")
	same(f, "project", access.ProjectID, me)
	same(f, "services", len(access.Catalog), 1)
	if len(access.Catalog) != 1 {
		return
	}
	found := map[string]string{}
	for _, e := range access.Catalog[0].Endpoints {
		found[e.Interface] = e.URL
	}
	same(f, "addresses of Keystone", found, map[string]string{"public": f.config.URL, "internal": f.config.URL, "admin": f.adminURL})
	f.ok(only(f.cloud.ValidateToken(f.ctx, access.Token)))
}
