// Package conformance holds what keystone/v3 and the in-memory Keystone take for granted about Keystone against a running one.
package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Conformance runs every method of keystone.Identity, by keystone/v3, against the target.
func Conformance(t *testing.T, target Target) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *fixture){
		"a domain is found by id and by name":                       domains,
		"roles are resolved by name, admin is refused":              roles,
		"User: known, disabled, absent":                             users,
		"Forget: a role made anew is found":                         forget,
		"a project is made once":                                    projectIsMadeOnce,
		"eight at once make one project":                            projectIsMadeOnceByMany,
		"a project is removed by its mark alone":                    projectIsRemovedByMark,
		"a name has at most 64 characters":                          projectNames,
		"an assignment may be made and taken twice":                 assignments,
		"a token tells whose it is":                                 validation,
		"an unscoped token is exchanged":                            exchanges,
		"a delegated token is told apart and not exchanged":         delegated,
		"a revoked token of the service is replaced":                revokedOwnToken,
		"an application credential logs the service in":             applicationCredential,
		"a wrong password is the operator's to mend":                wrongPassword,
		"a service without its role is the operator's to mend":      withoutRole,
		"a service in a disabled project is the operator's to mend": disabledServiceProject,
		"writes outside of what is ours are not sent":               guarded,
	} {
		t.Run(name, func(t *testing.T) { test(t, newFixture(t, target)) })
	}
}

func users(_ *testing.T, f *fixture) {
	for _, enabled := range []bool{true, false} {
		name := "user-" + random()
		id := f.do("POST", "/users", f.admin, fmt.Sprintf(`{"user":{"name":%q,"domain_id":"default","password":"x","enabled":%t}}`, name, enabled)).get("user", "id")
		got, err := f.cloud.User(f.ctx, id)
		f.ok(err)
		same(f, "user", got, keystone.User{ID: id, Name: name, DomainID: "default", Enabled: enabled})
		f.do("DELETE", "/users/"+id, f.admin, "")
		_, err = f.cloud.User(f.ctx, id)
		f.wants(err, keystone.ErrNotFound)
	}
}

func forget(_ *testing.T, f *fixture) {
	name := "role-" + random()
	var ids []string
	for range 2 {
		id := f.do("POST", "/roles", f.admin, fmt.Sprintf(`{"role":{"name":%q}}`, name)).get("role", "id")
		f.cloud.Forget()
		got, err := f.cloud.Roles(f.ctx, []string{name})
		f.ok(err)
		same(f, "roles", got, []keystone.Role{{ID: id, Name: name}})
		f.do("DELETE", "/roles/"+id, f.admin, "")
		ids = append(ids, id)
	}
	if ids[0] == ids[1] {
		f.Error("the role made anew has the same id: nothing was shown")
	}
}

func random() string { return strings.ToLower(rand.Text()[:12]) }

// fixture is a cloud as the service uses it, and an administrator beside it.
type fixture struct {
	*testing.T
	raw

	ctx    context.Context //nolint:containedctx // of one test
	cloud  *v3.Cloud
	config v3.Config
	admin  string // a token
}

func newFixture(t *testing.T, target Target) *fixture {
	f := &fixture{T: t, raw: raw{t, target.URL}, ctx: t.Context()}
	f.config = v3.Config{
		URL: target.URL,
		Credential: v3.Credential{
			Username: "admin", UserDomainName: "Default", Password: target.Password, ProjectName: "admin", ProjectDomainID: "default",
		},
		MayWriteDomain: func(id string) bool { return id == "default" },
	}
	f.cloud = f.newCloud(f.config)
	f.admin = f.must(201, "POST", "/auth/tokens", "", passwordLogin(adminUser, target.Password, adminScope)).token()
	return f
}

func (f *fixture) newCloud(cfg v3.Config) *v3.Cloud {
	f.Helper()
	cloud, err := v3.New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	return cloud
}

// user makes a user, who goes when the test ends, and an unscoped token.
func (f *fixture) user() (id, token string) {
	f.Helper()
	id = f.must(201, "POST", "/users", f.admin, fmt.Sprintf(`{"user":{"name":"u-%s","password":"pw"}}`, random())).get("user", "id")
	f.Cleanup(func() { f.must(204, "DELETE", "/users/"+id, f.admin, "") })
	return id, f.must(201, "POST", "/auth/tokens", "", passwordLogin(fmt.Sprintf(`"id":%q`, id), "pw", `"unscoped"`)).token()
}

// project makes a project of ours, which goes when the test ends.
func (f *fixture) project(n keystone.NewProject) keystone.Project {
	f.Helper()
	p, made, err := f.cloud.EnsureProject(f.ctx, n)
	if err != nil || !made {
		f.Fatalf("EnsureProject: made %t, %v", made, err)
	}
	f.Cleanup(func() { f.do("DELETE", "/projects/"+p.ID, f.admin, "") })
	return p
}

func newProject() keystone.NewProject {
	return keystone.NewProject{
		Name: "bs-customer-" + random(), DomainID: "default", Description: "for a test", Tags: []string{"tenantry"}, RunTag: "tenantry-run-1",
	}
}

func (f *fixture) role(name string) string {
	f.Helper()
	roles, err := f.cloud.Roles(f.ctx, []string{name})
	if err != nil {
		f.Fatal(err)
	}
	return roles[0].ID
}

// wants compares an error's sentinel, if there is one, and wants it to be a refusal for good.
func (f *fixture) wants(err, sentinel error) {
	f.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) || e.Class != upstream.Permanent || sentinel != nil && !errors.Is(err, sentinel) || e.MaybeDone {
		f.Errorf("got %v (%+v), want %v, permanent, not done", err, e, sentinel)
	}
}

func (f *fixture) wantsOperator(err error) {
	f.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) || e.Class != upstream.Unavailable || !e.OwnCredential || e.MaybeDone {
		f.Errorf("got %v (%+v), want unavailable for the service's own credential", err, e)
	}
}

func same[T any](f *fixture, what string, got, want T) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func domains(_ *testing.T, f *fixture) {
	for _, nameOrID := range []string{"default", "Default"} {
		got, err := f.cloud.Domain(f.ctx, nameOrID)
		f.ok(err)
		same(f, nameOrID, got, keystone.Domain{ID: "default", Name: "Default"})
	}
	for _, absent := range []string{"nope", "not an id", "../roles", ""} {
		_, err := f.cloud.Domain(f.ctx, absent)
		f.wants(err, keystone.ErrNotFound)
	}
	f.ok(f.cloud.Ping(f.ctx))
}

func roles(_ *testing.T, f *fixture) {
	got, err := f.cloud.Roles(f.ctx, []string{"reader", "member", "reader"})
	f.ok(err)
	if len(got) != 3 || got[0].Name != "reader" || got[1].Name != "member" || got[0] != got[2] || got[0].ID == "" {
		f.Errorf("got %+v", got)
	}
	_, err = f.cloud.Roles(f.ctx, []string{"member", "nope"})
	f.wants(err, keystone.ErrNotFound)
	for _, name := range []string{"admin", "Admin"} {
		_, err = f.cloud.Roles(f.ctx, []string{name})
		f.wants(err, keystone.ErrRefusedRole)
	}
	f.config.AllowAdminRole = true
	_, err = f.newCloud(f.config).Roles(f.ctx, []string{"admin"})
	f.ok(err)
}

func projectIsMadeOnce(_ *testing.T, f *fixture) {
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
		{Name: n.Name, DomainID: "default", RunTag: "tenantry-run-2"},
		{Name: n.Name, DomainID: "default", RunTag: "tenantry-run-2"},
	} {
		p, made, err := f.cloud.EnsureProject(f.ctx, again)
		f.ok(err)
		slices.Sort(p.Tags)
		same(f, "found", p, want)
		same(f, "made", made, again.RunTag == "tenantry-run-1")
	}
	p, err := f.cloud.FindProject(f.ctx, "default", n.Name)
	f.ok(err)
	slices.Sort(p.Tags)
	same(f, "FindProject", p, want)
	for _, absent := range [][2]string{{"default", n.Name + "x"}, {"nope", n.Name}, {"", n.Name}, {"default", ""}} {
		_, err = f.cloud.FindProject(f.ctx, absent[0], absent[1])
		f.wants(err, keystone.ErrNotFound)
	}
}

func projectIsMadeOnceByMany(_ *testing.T, f *fixture) {
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

func projectIsRemovedByMark(_ *testing.T, f *fixture) {
	n := newProject()
	p := f.project(n)
	there := func(want bool) {
		f.Helper()
		same(f, "is there", f.do("GET", "/projects/"+p.ID, f.admin, "").status == 200, want)
	}
	for _, runTag := range []string{"tenantry-run-2", "tenantry-run", ""} {
		f.ok(only(f.cloud.RemoveProject(f.ctx, p, runTag)))
		f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{ID: p.ID}, runTag)))
	}
	there(true)
	f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{Name: n.Name, DomainID: "default"}, n.RunTag)))
	there(false)
	f.ok(only(f.cloud.RemoveProject(f.ctx, p, n.RunTag)))
	f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{ID: p.ID}, n.RunTag)))

	// A request that was thought lost makes it after all, under another id.
	old := p
	p = f.project(n)
	f.ok(only(f.cloud.RemoveProject(f.ctx, old, n.RunTag)))
	there(false)

	p = f.project(n)
	f.ok(only(f.cloud.RemoveProject(f.ctx, keystone.Project{ID: p.ID}, n.RunTag)))
	there(false)
}

func projectNames(_ *testing.T, f *fixture) {
	n := newProject()
	n.Name += strings.Repeat("é", 64-len(n.Name))
	same(f, "name", f.project(n).Name, n.Name)
	n.Name += "é"
	_, _, err := f.cloud.EnsureProject(f.ctx, n)
	f.wants(err, nil)
	n = newProject()
	n.Tags = []string{"a/b"}
	_, _, err = f.cloud.EnsureProject(f.ctx, n)
	f.wants(err, nil)
}

func assignments(_ *testing.T, f *fixture) {
	user, _ := f.user()
	a := keystone.Assignment{ProjectID: f.project(newProject()).ID, UserID: user, RoleID: f.role("member")}
	reader := a
	reader.RoleID = f.role("reader")
	check := func(wantMember bool, want ...string) {
		f.Helper()
		has, err := f.cloud.HasAssignment(f.ctx, a)
		f.ok(err)
		same(f, "has member", has, wantMember)
		got, err := f.cloud.AssignedRoles(f.ctx, a.ProjectID, a.UserID)
		f.ok(err)
		slices.Sort(want)
		same(f, "roles", got, append([]string{}, want...))
	}
	check(false)
	for range 2 {
		f.ok(f.cloud.EnsureAssignment(f.ctx, a))
		check(true, a.RoleID)
		has, err := f.cloud.HasAssignment(f.ctx, reader)
		f.ok(err)
		same(f, "has reader, which is only implied", has, false)
	}
	f.ok(f.cloud.EnsureAssignment(f.ctx, reader))
	check(true, a.RoleID, reader.RoleID)
	for range 2 {
		f.ok(only(f.cloud.RemoveAssignment(f.ctx, a)))
		check(false, reader.RoleID)
	}
	for _, wrong := range []keystone.Assignment{
		{ProjectID: a.ProjectID, UserID: "nope", RoleID: a.RoleID},
		{ProjectID: a.ProjectID, UserID: a.UserID, RoleID: "nope"},
		{ProjectID: "nope", UserID: a.UserID, RoleID: a.RoleID},
	} {
		f.wants(f.cloud.EnsureAssignment(f.ctx, wrong), keystone.ErrNotFound)
		f.ok(only(f.cloud.RemoveAssignment(f.ctx, wrong)))
	}
}

func validation(_ *testing.T, f *fixture) {
	user, unscoped := f.user()
	got, err := f.cloud.ValidateToken(f.ctx, unscoped)
	f.ok(err)
	if got.UserName == "" || time.Until(got.ExpiresAt) <= 0 || time.Since(got.IssuedAt) > time.Hour || got.Scoped() || got.Delegated() {
		f.Errorf("got %+v", got)
	}
	same(f, "unscoped", got, keystone.Token{
		UserID: user, UserName: got.UserName, UserDomainID: "default", Methods: []string{"password"},
		IssuedAt: got.IssuedAt, ExpiresAt: got.ExpiresAt,
	})
	got, err = f.cloud.ValidateToken(f.ctx, f.admin)
	f.ok(err)
	if got.ProjectID == "" || !got.Scoped() || !slices.ContainsFunc(got.Roles, func(r keystone.Role) bool { return r.Name == "admin" }) {
		f.Errorf("got %+v", got)
	}
	f.must(204, "DELETE", "/auth/tokens", f.admin, "", "X-Subject-Token", unscoped)
	project := f.project(newProject()).ID
	for _, bad := range []string{unscoped, "garbage", "", "a b", "a\nb", "ü", strings.Repeat("x", 1<<20)} {
		_, err = f.cloud.ValidateToken(f.ctx, bad)
		f.wants(err, keystone.ErrTokenInvalid)
		_, err = f.cloud.ExchangeToken(f.ctx, bad, project)
		f.wants(err, keystone.ErrTokenInvalid)
	}
}

func exchanges(_ *testing.T, f *fixture) {
	user, unscoped := f.user()
	p := f.project(newProject())
	a := keystone.Assignment{ProjectID: p.ID, UserID: user, RoleID: f.role("member")}
	noAccess := func(projectID string) {
		f.Helper()
		_, err := f.cloud.ExchangeToken(f.ctx, unscoped, projectID)
		f.wants(err, keystone.ErrNoAccess)
	}
	noAccess(p.ID)
	noAccess("nope")
	f.ok(f.cloud.EnsureAssignment(f.ctx, a))
	scoped, err := f.cloud.ExchangeToken(f.ctx, unscoped, p.ID)
	f.ok(err)
	names := []string{}
	for _, r := range scoped.Roles {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	same(f, "roles", names, []string{"member", "reader"})
	same(f, "project", scoped.ProjectID, p.ID)
	told, err := f.cloud.ValidateToken(f.ctx, scoped.ID)
	f.ok(err)
	same(f, "project", told.ProjectID, p.ID)
	same(f, "user", told.UserID, user)
	before, err := f.cloud.ValidateToken(f.ctx, unscoped)
	f.ok(err)
	same(f, "expiry", scoped.ExpiresAt, before.ExpiresAt)

	f.must(200, "PATCH", "/projects/"+p.ID, f.admin, `{"project":{"enabled":false}}`)
	noAccess(p.ID)
	_, err = f.cloud.ValidateToken(f.ctx, scoped.ID)
	f.wants(err, keystone.ErrTokenInvalid)
	f.ok(f.cloud.EnsureAssignment(f.ctx, a))
}

// credential makes an application credential of the user with this scoped token.
func (f *fixture) credential(user, scoped string) (id, secret string) {
	f.Helper()
	path := "/users/" + user + "/application_credentials"
	made := f.must(201, "POST", path, scoped, fmt.Sprintf(`{"application_credential":{"name":"a-%s"}}`, random()))
	id = made.get("application_credential", "id")
	f.Cleanup(func() { f.do("DELETE", path+"/"+id, scoped, "") }) // before its user: SQLite keeps a part of it otherwise
	return id, made.get("application_credential", "secret")
}

func delegated(_ *testing.T, f *fixture) {
	user, unscoped := f.user()
	p := f.project(newProject())
	f.ok(f.cloud.EnsureAssignment(f.ctx, keystone.Assignment{ProjectID: p.ID, UserID: user, RoleID: f.role("member")}))
	scoped, err := f.cloud.ExchangeToken(f.ctx, unscoped, p.ID)
	f.ok(err)
	id, secret := f.credential(user, scoped.ID)
	lent := f.must(201, "POST", "/auth/tokens", "", fmt.Sprintf(
		`{"auth":{"identity":{"methods":["application_credential"],"application_credential":{"id":%q,"secret":%q}}}}`, id, secret)).token()
	told, err := f.cloud.ValidateToken(f.ctx, lent)
	f.ok(err)
	same(f, "delegated", []bool{told.ApplicationCredential, told.Trust, told.Delegated()}, []bool{true, false, true})
	_, err = f.cloud.ExchangeToken(f.ctx, lent, p.ID)
	if errors.Is(err, io.EOF) { // Debian's 22.0.2-0+deb12u3 stumbles over it, deb12u6 answers
		f.Log("this Keystone closes the connection when a delegated token is exchanged")
		return
	}
	f.wants(err, keystone.ErrNoAccess)
}

// only drops what a removal found: the case is about its error.
func only[T any](_ T, err error) error { return err }
