package conformance

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func random() string { return strings.ToLower(rand.Text()[:12]) }

// The type `fixture` contains the Cloud under test, and the token of an administrator. The tests use this token to prepare and check
// Keystone.
type fixture struct {
	*testing.T
	raw

	ctx    context.Context //nolint:containedctx // of one test
	cloud  keystone.Cloud
	config conn.Config
	admin  string // a token
	second bool   // the Cloud under test uses Identity v2.0

	adminURL string // of the admin application of Identity v2.0
}

func newFixture(t *testing.T, target Target) *fixture {
	f := &fixture{T: t, raw: raw{t, target.URL}, ctx: t.Context()}
	f.config = conn.Config{
		URL: target.URL,
		Credential: conn.Credential{
			Username: "admin", UserDomainName: "Default", Password: target.Password, ProjectName: "admin", ProjectDomainID: "default",
		},
		MayWriteDomain: func(id string) bool { return id == "default" },
		MaySignUp:      func(id string) bool { return id == "default" },
	}
	if f.second = target.Public != ""; f.second {
		f.adminURL = target.Admin
		f.config.Version, f.config.URL = "2.0", target.Public
		f.config.Credential.UserDomainName, f.config.Credential.ProjectDomainID = "", ""
	}
	f.cloud = f.newCloud(f.config)
	f.admin = f.must(201, "POST", "/auth/tokens", "", passwordLogin(adminUser, target.Password, adminScope)).token()
	return f
}

func (f *fixture) newCloud(cfg conn.Config) keystone.Cloud {
	f.Helper()
	cloud, err := clouds.Open(cfg)
	if err != nil {
		f.Fatal(err)
	}
	return cloud
}

// The method `user` is a helper that creates a Keystone user and an unscoped token of this user. The user is deleted when the test
// ends.
func (f *fixture) user() (id, token string) {
	f.Helper()
	id = f.must(201, "POST", "/users", f.admin, fmt.Sprintf(`{"user":{"name":"u-%s","password":"pw"}}`, random())).get("user", "id")
	f.Cleanup(func() { f.must(204, "DELETE", "/users/"+id, f.admin, "") })
	return id, f.must(201, "POST", "/auth/tokens", "", passwordLogin(fmt.Sprintf(`"id":%q`, id), "pw", `"unscoped"`)).token()
}

// The method `project` is a helper that creates a project with the Cloud under test. The project is deleted when the test ends.
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

// The method `created` creates a project as an administrator would. The parent may be empty. If the Cloud under test uses Identity v2.0,
// the tags are in the description.
func (f *fixture) created(name, parent string, tags ...string) (id string) {
	f.Helper()
	fields := map[string]any{"name": name, "domain_id": "default", "tags": append([]string{}, tags...)}
	if parent != "" {
		fields["parent_id"] = parent
	}
	if f.second {
		delete(fields, "tags")
		fields["description"] = keystone.Describe("", tags)
	}
	id = f.must(201, "POST", "/projects", f.admin, encoded(f.T, map[string]any{"project": fields})).get("project", "id")
	f.Cleanup(func() { f.do("DELETE", "/projects/"+id, f.admin, "") })
	return id
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The method `wants` checks that err has class Permanent, and that MaybeDone is false. If sentinel is not nil, err must wrap sentinel.
func (f *fixture) wants(err, sentinel error) {
	f.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) || e.Class != upstream.Permanent || sentinel != nil && !errors.Is(err, sentinel) || e.MaybeDone {
		f.Errorf("got %v (%+v), want %v with class Permanent and without MaybeDone", err, e, sentinel)
	}
}

func (f *fixture) wantsOperator(err error) {
	f.Helper()
	var e *upstream.Error
	if !errors.As(err, &e) || e.Class != upstream.Unavailable || !e.OwnCredential || e.MaybeDone {
		f.Errorf("got %v (%+v), want class Unavailable with OwnCredential and without MaybeDone", err, e)
	}
}

// wantsPermission checks that err has class Blocked, wraps ErrForbidden, and names the missing permission.
func (f *fixture) wantsPermission(err error, rule string) {
	f.Helper()
	if f.second { // Identity v2.0 has only this rule
		rule = "admin_required"
	}
	var e *upstream.Error
	if !errors.As(err, &e) || e.Class != upstream.Blocked || e.OwnCredential || e.MaybeDone || !errors.Is(err, keystone.ErrForbidden) ||
		!strings.Contains(err.Error(), "lacks a permission: "+rule) {
		f.Errorf("got %v (%+v), want class Blocked with ErrForbidden and %s, without MaybeDone", err, e, rule)
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

// The method `credential` is a helper that creates an application credential for the user. The request uses the user's scoped
// token.
func (f *fixture) credential(user, scoped string) (id, secret string) {
	f.Helper()
	path := "/users/" + user + "/application_credentials"
	made := f.must(201, "POST", path, scoped, fmt.Sprintf(`{"application_credential":{"name":"a-%s"}}`, random()))
	id = made.get("application_credential", "id")
	// Delete the credential before its user. If the user is deleted first, a Keystone on SQLite keeps a part of the credential.
	f.Cleanup(func() { f.do("DELETE", path+"/"+id, scoped, "") })
	return id, made.get("application_credential", "secret")
}

// The function `only` drops the first result of a call that has two results, and returns the call's error.
func only[T any](_ T, err error) error { return err }
