package conformance

import (
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/keystone"
)

// usersGuarded tries writes to users that do not belong to Tenantry.
func usersGuarded(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	foreign := f.plainUser("u-"+random(), "")
	f.wants(f.cloud.SetPassword(f.ctx, foreign, "Another-horse-2"), keystone.ErrGuard)
	name := f.shown(foreign, "name")
	f.ok(only(f.cloud.LogIn(f.ctx, "default", name, password)))

	// An administrator removes the mark.
	f.must(200, "PATCH", "/users/"+u.ID, f.admin, `{"user":{"tenantry_run":null}}`)
	f.wants(f.cloud.SetPassword(f.ctx, u.ID, "Another-horse-2"), keystone.ErrGuard)
	f.must(200, "PATCH", "/users/"+u.ID, f.admin, fmt.Sprintf(`{"user":{"tenantry_run":%q}}`, n.RunID))
	f.ok(f.cloud.SetPassword(f.ctx, u.ID, "Another-horse-2"))

	n2 := newUser()
	n2.RunID = ""
	_, _, _, err := f.cloud.EnsureUser(f.ctx, n2)
	f.wants(err, keystone.ErrGuard)

	// Sign-up is no longer allowed in the domain. A run may then only undo a registration.
	f.config.MaySignUp = func(string) bool { return false }
	mayWrite := f.config.MayWriteDomain
	f.config.MayWriteDomain = nil
	cloud := f.newCloud(f.config)
	_, _, _, err = cloud.EnsureUser(f.ctx, newUser())
	f.wants(err, keystone.ErrGuard)
	f.wants(cloud.SetPassword(f.ctx, u.ID, password), keystone.ErrGuard)
	_, _, err = cloud.RemoveUser(f.ctx, "default", n.Name, n.RunID)
	f.wants(err, keystone.ErrGuard)
	f.ok(only(f.cloud.User(f.ctx, u.ID)))
	f.config.MaySignUp = nil
	f.wants(f.newCloud(f.config).SetPassword(f.ctx, u.ID, password), keystone.ErrGuard)
	f.config.MayWriteDomain = mayWrite
	_, _, err = f.newCloud(f.config).RemoveUser(f.ctx, "default", n.Name, n.RunID)
	f.ok(err)
	f.wants(only(f.cloud.User(f.ctx, u.ID)), keystone.ErrNotFound)
}

// usersRefused calls the methods for users with a credential that lacks the role admin.
func usersRefused(_ *testing.T, f *fixture) {
	mine := f.signedUp(newUser())
	n := newUser()
	signed := f.signedUp(n)
	user := f.plainUser("u-"+random(), "")
	project := f.project(newProject())
	f.ok(f.cloud.EnsureAssignment(f.ctx, keystone.Assignment{ProjectID: project.ID, UserID: user, RoleID: f.role("member")}))
	f.config.Credential.Username, f.config.Credential.Password = f.shown(user, "name"), password
	f.config.Credential.UserDomainName, f.config.Credential.UserDomainID = "", "default"
	if f.second {
		f.config.Credential.UserDomainID = ""
	}
	f.config.Credential.ProjectName, f.config.Credential.ProjectID, f.config.Credential.ProjectDomainID = "", project.ID, ""
	cloud := f.newCloud(f.config)
	_, _, _, err := cloud.EnsureUser(f.ctx, newUser())
	f.wantsPermission(err, "identity:create_user")
	f.wantsPermission(cloud.SetPassword(f.ctx, mine.ID, password), "identity:get_user") // the guard's read
	f.wantsPermission(only(cloud.FindUser(f.ctx, "default", mine.Name)), "identity:list_users")
	f.wantsPermission(only(cloud.SimilarUser(f.ctx, "default", mine.Name)), "identity:list_users")
	_, kept, err := cloud.RemoveUser(f.ctx, "default", n.Name, n.RunID)
	f.wantsPermission(err, "identity:list_users")
	same(f, "kept", kept, "")
	f.ok(only(f.cloud.User(f.ctx, signed.ID)))
	f.ok(only(cloud.LogIn(f.ctx, "default", n.Name, password))) // needs no permission
}

func ensureUserDomains(_ *testing.T, f *fixture) {
	domain := f.newDomain()
	f.config.MaySignUp = func(id string) bool { return id == domain || id == "nope" }
	f.cloud = f.newCloud(f.config)
	n := newUser()
	_, _, _, err := f.cloud.EnsureUser(f.ctx, n)
	f.wants(err, keystone.ErrGuard)
	n.DomainID = "nope"
	_, _, _, err = f.cloud.EnsureUser(f.ctx, n)
	f.wants(err, keystone.ErrNotFound)
	n.DomainID = domain
	u := f.signedUp(n)
	t, err := f.cloud.LogIn(f.ctx, domain, n.Name, password)
	f.ok(err)
	same(f, "user", t.UserID, u.ID)
	f.wants(only(f.cloud.LogIn(f.ctx, "default", n.Name, password)), keystone.ErrWrongLogin)
	f.must(200, "PATCH", "/domains/"+domain, f.admin, `{"domain":{"enabled":false}}`)
	f.wants(only(f.cloud.LogIn(f.ctx, domain, n.Name, password)), keystone.ErrWrongLogin)
	f.must(200, "PATCH", "/domains/"+domain, f.admin, `{"domain":{"enabled":true}}`)
	removed, _, err := f.cloud.RemoveUser(f.ctx, domain, n.Name, n.RunID)
	f.ok(err)
	same(f, "removed", removed, u)
}
