package conformance

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `eavesdropper` stores the last token that a request contained, and counts the logins and the POST requests with a token.
type eavesdropper struct {
	next          http.RoundTripper
	token         atomic.Value
	logins, posts atomic.Int32
}

// RoundTrip implements [http.RoundTripper].
func (e *eavesdropper) RoundTrip(req *http.Request) (*http.Response, error) {
	if token := req.Header.Get("X-Auth-Token"); token != "" {
		e.token.Store(token)
		if req.Method == http.MethodPost {
			e.posts.Add(1)
		}
	} else {
		e.logins.Add(1)
	}
	return e.next.RoundTrip(req)
}

func ownTokenRevoked(_ *testing.T, f *fixture) {
	e := &eavesdropper{next: conn.NewTransport(nil)}
	f.config.Base = e
	f.cloud = f.newCloud(f.config)
	f.ok(f.cloud.Ping(f.ctx))
	f.must(204, "DELETE", "/auth/tokens", f.admin, "", "X-Subject-Token", e.token.Load().(string))
	f.project(newProject()) // sends the POST twice, because the token was revoked
	same(f, "logins", e.logins.Load(), int32(2))
	same(f, "POSTs", e.posts.Load(), int32(2))
}

func applicationCredential(_ *testing.T, f *fixture) {
	me := f.must(200, "GET", "/auth/tokens", f.admin, "", "X-Subject-Token", f.admin).get("token", "user", "id")
	id, secret := f.credential(me, f.admin)
	f.config.Credential = conn.Credential{ApplicationCredentialID: id, ApplicationCredentialSecret: secret}
	f.cloud = f.newCloud(f.config)
	n := newProject()
	p := f.project(n)
	f.ok(only(f.cloud.RemoveProject(f.ctx, p, n.RunTag)))
	f.ok(f.cloud.Ping(f.ctx))

	f.must(204, "DELETE", "/users/"+me+"/application_credentials/"+id, f.admin, "")
	f.wantsOperator(f.newCloud(f.config).Ping(f.ctx))
}

func wrongPassword(_ *testing.T, f *fixture) {
	f.config.Credential.Password = "wrong"
	cloud := f.newCloud(f.config)
	f.wantsOperator(cloud.Ping(f.ctx))
	_, _, err := cloud.EnsureProject(f.ctx, newProject())
	f.wantsOperator(err)
}

// The method `service` is a helper that creates a user with role admin on a new project, and a Cloud that logs in as this user.
func (f *fixture) service() (cloud keystone.Cloud, own keystone.Assignment) {
	f.Helper()
	f.config.AllowAdminRole = true
	f.cloud = f.newCloud(f.config)
	user, _ := f.user()
	own = keystone.Assignment{ProjectID: f.newTenant().ID, UserID: user, RoleID: f.role("admin")}
	f.ok(f.cloud.EnsureAssignment(f.ctx, own))
	cfg := f.config
	cfg.Credential = conn.Credential{UserID: user, Password: "pw", ProjectID: own.ProjectID}
	return f.newCloud(cfg), own
}

func withoutRole(_ *testing.T, f *fixture) {
	cloud, own := f.service()
	f.ok(cloud.Ping(f.ctx))
	member := own
	member.RoleID = f.role("member")
	f.ok(f.cloud.EnsureAssignment(f.ctx, member))
	f.ok(only(f.cloud.RemoveAssignment(f.ctx, own)))
	n := newProject()
	_, _, err := cloud.EnsureProject(f.ctx, n)
	f.wantsPermission(err, "identity:create_project")
	_, err = cloud.RemoveProject(f.ctx, keystone.Project{Name: n.Name, DomainID: "default"}, n.RunTag)
	f.wantsPermission(err, "identity:list_projects")
	f.wantsPermission(only(cloud.RemoveAssignment(f.ctx, own)), "identity:revoke_grant")
	p := f.newTenant()
	f.wantsPermission(only(cloud.DisableProject(f.ctx, p, markA)), "identity:get_project")
	f.wantsPermission(only(cloud.DisableProject(f.ctx, keystone.Project{ID: own.ProjectID}, markA)), "identity:update_project")
	f.disables(p, markA, marked(p, false, markA))
	_, _, err = cloud.EnableProject(f.ctx, p, markA)
	f.wantsPermission(err, "identity:get_project")
	_, _, err = cloud.ChangeProject(f.ctx, p, enable)
	f.wantsPermission(err, "identity:get_project")
	_, _, err = cloud.ChangeProject(f.ctx, keystone.Project{ID: own.ProjectID}, disable)
	f.wantsPermission(err, "identity:update_project")
	if f.second { // only administrators may list tenants
		f.wantsPermission(cloud.Ping(f.ctx), "")
	} else {
		f.ok(cloud.Ping(f.ctx))
	}

	f.ok(only(f.cloud.RemoveAssignment(f.ctx, member)))
	f.wantsOperator(cloud.Ping(f.ctx))
}

func unscoped(_ *testing.T, f *fixture) {
	c := &f.config.Credential
	c.ProjectName, c.ProjectDomainID = "", ""
	cloud := f.newCloud(f.config)
	_, _, err := cloud.EnsureProject(f.ctx, newProject())
	for _, err := range []error{err, cloud.Ping(f.ctx)} {
		e, ok := errors.AsType[*upstream.Error](err)
		if !ok || e.Class != upstream.Unavailable || e.MaybeDone || !errors.Is(err, keystone.ErrUnscoped) || !strings.Contains(err.Error(), "OS_PROJECT_NAME") {
			f.Errorf("got %v (%+v), want class Unavailable with ErrUnscoped and the missing variable", err, e)
		}
	}
}

func ownProjectDisabled(_ *testing.T, f *fixture) {
	cloud, own := f.service()
	f.ok(cloud.Ping(f.ctx))
	f.must(200, "PATCH", "/projects/"+own.ProjectID, f.admin, `{"project":{"enabled":false}}`)
	// If the token's project is disabled, Keystone answers 404. The Cloud must not treat this 404 as "the object does not exist".
	n := newProject()
	f.wantsOperator(only(cloud.RemoveProject(f.ctx, keystone.Project{Name: n.Name, DomainID: "default"}, n.RunTag)))
	f.wantsOperator(only(cloud.RemoveAssignment(f.ctx, own)))
	_, err := cloud.HasAssignment(f.ctx, own)
	f.wantsOperator(err)
	_, _, err = cloud.EnsureProject(f.ctx, n)
	f.wantsOperator(err)
	p := f.newTenant()
	f.wantsOperator(only(cloud.DisableProject(f.ctx, p, markA)))
	_, _, err = cloud.EnableProject(f.ctx, p, markA)
	f.wantsOperator(err)
	_, _, err = cloud.ChangeProject(f.ctx, p, disable)
	f.wantsOperator(err)
}

func notOurs(_ *testing.T, f *fixture) {
	user, _ := f.user()
	foreign := f.created("other-"+random(), "", "tenantry-run-1")
	a := keystone.Assignment{ProjectID: foreign, UserID: user, RoleID: f.role("member")}
	f.wants(f.cloud.EnsureAssignment(f.ctx, a), keystone.ErrGuard)
	f.wants(only(f.cloud.RemoveAssignment(f.ctx, a)), keystone.ErrGuard)
	f.wants(only(f.cloud.RemoveProject(f.ctx, keystone.Project{ID: foreign}, "tenantry-run-1")), keystone.ErrGuard)
	f.wants(only(f.cloud.DisableProject(f.ctx, keystone.Project{ID: foreign}, markA)), keystone.ErrGuard)
	untagged := f.project(newProject()) // the project has the name of a tenant, but not a tenant's tags
	f.wants(only(f.cloud.DisableProject(f.ctx, untagged, markA)), keystone.ErrGuard)
	n := newProject()
	n.Name = "other-" + n.Name
	_, _, err := f.cloud.EnsureProject(f.ctx, n)
	f.wants(err, keystone.ErrGuard)

	// A new Cloud does not know the project, and therefore reads the project before the write.
	own := a
	own.ProjectID = f.project(newProject()).ID
	f.ok(f.newCloud(f.config).EnsureAssignment(f.ctx, own))
}
