package conformance

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The method `powers` returns the role assignments of the holder of a cloud's credential.
func (f *fixture) powers(cloud keystone.Cloud) map[keystone.Power]int {
	f.Helper()
	h, err := cloud.Holder(f.ctx)
	f.ok(err)
	all := map[keystone.Power]int{}
	f.ok(cloud.EachPower(f.ctx, h, func(p keystone.Power) { all[p]++ }))
	return all
}

// describedSelf checks what both versions of the Identity API show about the credential.
func describedSelf(_ *testing.T, f *fixture) {
	version, err := f.cloud.Version(f.ctx)
	f.ok(err)
	if want := map[bool]string{false: "v3", true: "v2.0"}[f.second]; !strings.HasPrefix(version, want) {
		f.Errorf("got version %q, want %s", version, want)
	}
	cloud, own := f.service()
	h, err := cloud.Holder(f.ctx)
	f.ok(err)
	if h.UserID != own.UserID || h.UserName == "" || h.UserDomainID != "default" || h.DomainID != "" || h.ProjectID != own.ProjectID || h.Application != nil || len(h.Roles) == 0 {
		f.Errorf("got holder %+v, want user %s", h, own.UserID)
	}
	same(f, "powers", f.powers(cloud), map[keystone.Power]int{
		{Granted: keystone.Granted{RoleID: own.RoleID, UserID: own.UserID, ProjectID: own.ProjectID}}: 1,
	})

	cfg := f.config
	cfg.Credential = conn.Credential{UserID: own.UserID, Password: "pw", ProjectID: strings.Repeat("0", 32)}
	wrong := f.newCloud(cfg)
	if err := wrong.Ping(f.ctx); err == nil {
		f.Error("a login on a project that does not exist succeeded")
	}
	scopes, err := wrong.Scopes(f.ctx)
	f.ok(err)
	if len(scopes) != 1 || scopes[0].ID != own.ProjectID || !strings.HasPrefix(scopes[0].Name, keystone.TenantPrefix) || scopes[0].DomainID != "default" {
		f.Errorf("got scopes %+v, want project %s", scopes, own.ProjectID)
	}
	cfg.Credential.Password = "wrong"
	if _, err := f.newCloud(cfg).Scopes(f.ctx); upstream.RefusedLogin(err) == nil || strings.Contains(err.Error(), "project") {
		f.Errorf("with a wrong password: got %v, want a refused login, without the project", err)
	}
}

func powersOfEveryKind(_ *testing.T, f *fixture) {
	c := f.cast()
	ofUser, ofGroup := "/users/"+c.plain+"/roles/"+c.member, "/groups/"+c.group+"/roles/"+c.member
	for _, path := range []string{
		"/projects/" + c.outside + ofUser, "/domains/" + c.domain + ofGroup, "/system" + ofUser,
		"/OS-INHERIT/domains/" + c.domain + ofUser + "/inherited_to_projects",
	} {
		f.grant(path)
	}
	f.must(204, "PUT", "/groups/"+c.group+"/users/"+c.plain, f.admin, "")
	got := map[keystone.Power]int{}
	f.ok(f.cloud.EachPower(f.ctx, keystone.Holder{UserID: c.plain}, func(p keystone.Power) { got[p]++ }))
	for p, want := range map[keystone.Power]int{
		{Granted: keystone.Granted{RoleID: c.member, UserID: c.plain, ProjectID: c.outside}}:                  1,
		{Granted: keystone.Granted{RoleID: c.member, GroupID: c.group, DomainID: c.domain}}:                   1,
		{Granted: keystone.Granted{RoleID: c.member, UserID: c.plain}, System: true}:                          1,
		{Granted: keystone.Granted{RoleID: c.member, UserID: c.plain, DomainID: c.domain, Inherited: true}}:   1,
		{Granted: keystone.Granted{RoleID: c.role, UserID: c.manager, DomainID: c.domain}}:                    0, // of another user
		{Granted: keystone.Granted{RoleID: c.member, UserID: c.plain, ProjectID: c.outside, Inherited: true}}: 0,
	} {
		if got[p] != want {
			f.Errorf("%+v: got %d, want %d; all: %+v", p, got[p], want, slices.Collect(maps.Keys(got)))
		}
	}
}

func describedApplicationCredential(_ *testing.T, f *fixture) {
	me := f.must(200, "GET", "/auth/tokens", f.admin, "", "X-Subject-Token", f.admin).get("token", "user", "id")
	id, secret := f.credential(me, f.admin)
	f.config.Credential = conn.Credential{ApplicationCredentialID: id, ApplicationCredentialSecret: secret}
	cloud := f.newCloud(f.config)
	h, err := cloud.Holder(f.ctx)
	f.ok(err)
	if h.Application == nil || h.Application.ID != id || h.Application.Name == "" || h.UserID != me || !h.Application.ExpiresAt.Equal(time.Time{}) ||
		h.Application.Unrestricted {
		f.Errorf("got holder %+v, want application credential %s", h, id)
	}
	f.must(204, "DELETE", "/users/"+me+"/application_credentials/"+id, f.admin, "")
	if _, err := f.newCloud(f.config).Holder(f.ctx); upstream.RefusedLogin(err) == nil {
		f.Errorf("after the application credential was deleted: got %v", err)
	}
}
