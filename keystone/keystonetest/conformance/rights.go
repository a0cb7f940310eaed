package conformance

import (
	"fmt"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

// managersRights checks the rights of a domain token with role manager.
func managersRights(_ *testing.T, f *fixture) {
	c := f.cast()
	role := f.must(200, "GET", "/roles/"+c.role, f.admin, "").get("role", "name")
	f.reaches(c.ofManager, keystone.Reach{DomainID: c.domain}, role, "member", "reader")

	found, whole := f.projects(c.ofManager, c.domain, "")
	same(f, "projects", len(found), 1)
	same(f, "whole", whole, true)
	for what, id := range map[string]string{"the other domain": c.foreign, "the default domain": "default"} {
		found, whole = f.projects(c.ofManager, id, "")
		same(f, "projects of "+what, len(found), 0)
		same(f, "projects of "+what+": whole", whole, true)
		users, whole := f.users(c.ofManager, id)
		same(f, "users of "+what, len(users), 0)
		same(f, "users of "+what+": whole", whole, true)
	}
	users, _ := f.users(c.ofManager, c.domain)
	same(f, "users", len(users), 2)
	// The test eachAssignment lists the assignments in the manager's own domain. Here, the manager lists assignments in the other domain.
	same(f, "assignments on a project of the other domain", f.assignments(c.ofManager, keystone.AssignmentFilter{ProjectID: c.outside}),
		map[keystone.Granted]int{})

	_, err := c.ofManager.AllRoles(f.ctx)
	f.wantsPermission(err, "identity:list_roles")
	_, err = c.ofManager.Implied(f.ctx)
	f.wantsPermission(err, "identity:list_role_inference_rules")
	f.ok(only(c.ofManager.Project(f.ctx, c.inside)))
	f.ok(only(c.ofManager.User(f.ctx, c.plain)))
	f.ok(only(c.ofManager.Domain(f.ctx, c.domain)))
	for _, id := range []string{c.outside, "nope"} {
		f.wantsPermission(only(c.ofManager.Project(f.ctx, id)), "identity:get_project")
	}
	for _, id := range []string{c.stranger, "nope"} {
		f.wantsPermission(only(c.ofManager.User(f.ctx, id)), "identity:get_user")
	}
	f.wantsPermission(only(c.ofManager.Domain(f.ctx, "default")), "identity:get_domain")

	// If a project does not exist, a search by name returns ErrNotFound, but a request by id returns ErrForbidden.
	_, err = c.ofManager.FindProject(f.ctx, c.domain, "bs-customer-nope")
	f.wants(err, keystone.ErrNotFound)
	has, err := c.ofManager.HasAssignment(f.ctx, keystone.Assignment{ProjectID: c.inside, UserID: c.plain, RoleID: c.member})
	f.ok(err)
	same(f, "HasAssignment", has, true)
}

// plainRights checks the rights of a project token with role member.
func plainRights(_ *testing.T, f *fixture) {
	c := f.cast()
	f.reaches(c.ofPlain, keystone.Reach{ProjectID: c.inside}, "member", "reader")
	f.readsNothing(c.ofPlain, c)
	f.ok(only(c.ofPlain.Project(f.ctx, c.inside)))
	f.ok(only(c.ofPlain.User(f.ctx, c.plain)))
	f.ok(only(c.ofPlain.Domain(f.ctx, c.domain)))
	f.wantsPermission(only(c.ofPlain.Project(f.ctx, "nope")), "identity:get_project")
}

// domainAdministratorsRights checks the rights of a domain token with role admin.
func domainAdministratorsRights(_ *testing.T, f *fixture) {
	c := f.cast()
	roles, err := f.cloud.AllRoles(f.ctx)
	f.ok(err)
	for _, r := range roles {
		if r.Name == "admin" {
			f.grant("/domains/" + c.domain + "/users/" + c.stranger + "/roles/" + r.ID)
		}
	}
	cloud := f.as(conn.Credential{UserID: c.stranger, Password: "pw", DomainID: c.domain})
	for domain, want := range map[string]int{c.domain: 1, c.foreign: 0} {
		found, whole := f.projects(cloud, domain, "")
		same(f, "projects", len(found), want)
		same(f, "whole", whole, true)
		users, _ := f.users(cloud, domain)
		same(f, "users", len(users), 2*want)
	}
	same(f, "assignments", len(f.assignments(cloud, keystone.AssignmentFilter{})), 3)
	f.ok(only(cloud.AllRoles(f.ctx)))
	f.ok(only(cloud.Implied(f.ctx)))
	f.ok(only(cloud.Domain(f.ctx, "Default")))
	f.ok(only(cloud.Project(f.ctx, c.outside)))
	f.wants(only(cloud.Project(f.ctx, "nope")), keystone.ErrNotFound)
	f.wants(only(cloud.User(f.ctx, "nope")), keystone.ErrNotFound)
}

// rightsWithoutReader checks the rights of a domain token whose user does not have role reader on the domain.
func rightsWithoutReader(_ *testing.T, f *fixture) {
	c := f.cast()
	name := "bare-" + random()
	role := f.must(201, "POST", "/roles", f.admin, fmt.Sprintf(`{"role":{"name":%q}}`, name)).get("role", "id")
	f.Cleanup(func() { f.must(204, "DELETE", "/roles/"+role, f.admin, "") })
	f.grant("/domains/" + c.domain + "/users/" + c.plain + "/roles/" + role)
	cloud := f.as(conn.Credential{UserID: c.plain, Password: "pw", DomainID: c.domain})
	f.reaches(cloud, keystone.Reach{DomainID: c.domain}, name)
	f.readsNothing(cloud, c)
	f.wantsPermission(only(cloud.Project(f.ctx, c.inside)), "identity:get_project")
	f.ok(only(cloud.Domain(f.ctx, c.domain)))
}

// readsNothing checks that the user of the Cloud may read neither a list nor another user.
func (f *fixture) readsNothing(cloud keystone.Cloud, c cast) {
	f.Helper()
	_, err := cloud.EachProject(f.ctx, c.domain, "", func(keystone.Project) { f.Error("got a project") })
	f.wantsPermission(err, "identity:list_projects")
	err = cloud.EachAssignment(f.ctx, keystone.AssignmentFilter{ProjectID: c.inside}, func(keystone.Granted) { f.Error("got an assignment") })
	f.wantsPermission(err, "identity:list_role_assignments")
	_, err = cloud.EachUser(f.ctx, c.domain, func(keystone.User) { f.Error("got a user") })
	f.wantsPermission(err, "identity:list_users")
	_, err = cloud.AllRoles(f.ctx)
	f.wantsPermission(err, "identity:list_roles")
	_, err = cloud.Implied(f.ctx)
	f.wantsPermission(err, "identity:list_role_inference_rules")
	f.wantsPermission(only(cloud.User(f.ctx, c.manager)), "identity:get_user")
}

// systemReadersRights checks the rights of a system token with role reader.
func systemReadersRights(_ *testing.T, f *fixture) {
	c := f.cast()
	f.grant("/system/users/" + c.plain + "/roles/" + f.role("reader"))
	cloud := f.as(conn.Credential{UserID: c.plain, Password: "pw", System: true})
	f.reaches(cloud, keystone.Reach{System: true}, "reader")
	for _, domain := range []string{c.domain, c.foreign} {
		found, whole := f.projects(cloud, domain, "")
		same(f, "projects", len(found), 1)
		same(f, "whole", whole, true)
	}
	users, _ := f.users(cloud, c.foreign)
	same(f, "users", len(users), 1)
	same(f, "assignments", f.assignments(cloud, keystone.AssignmentFilter{ProjectID: c.inside}),
		map[keystone.Granted]int{{RoleID: c.member, UserID: c.plain, ProjectID: c.inside}: 1})
	f.ok(only(cloud.AllRoles(f.ctx)))
	f.ok(only(cloud.Implied(f.ctx)))
	f.ok(only(cloud.Domain(f.ctx, "Default")))
	f.wants(only(cloud.Project(f.ctx, "nope")), keystone.ErrNotFound)
	f.wants(only(cloud.User(f.ctx, "nope")), keystone.ErrNotFound)
}
