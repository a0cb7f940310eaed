package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
)

func eachProject(_ *testing.T, f *fixture) {
	domain, other := f.newDomain(), f.newDomain()
	const customer, upper = "bs-customer-2c9b0a52-1f0e-4c53-9d64-6ec7d1d5b0a1", "BS-CUSTOMER-2c9b0a52-1f0e-4c53-9d64-6ec7d1d5b0a1"
	const subscription, underscore, backslash = "bs-subscription-4", "bs_customer-1", `a\b`
	id := f.projectIn(domain, customer)
	for _, name := range []string{upper, subscription, underscore, backslash, `a\c`, "payroll"} {
		f.projectIn(domain, name)
	}
	f.projectIn(other, customer)
	f.must(200, "PATCH", "/projects/"+id, f.admin, `{"project":{"enabled":false}}`)

	found, whole := f.projects(f.cloud, domain, customer)
	slices.Sort(found[id].Tags)
	same(f, "projects", found, map[string]keystone.Project{id: {ID: id, Name: customer, DomainID: domain, Tags: []string{"a", "b"}}})
	same(f, "whole", whole, true)

	f.names(f.cloud, domain, "", customer, upper, subscription, underscore, backslash, `a\c`, "payroll")
	f.names(f.cloud, domain, "bs-", customer, subscription)
	f.names(f.cloud, domain, "bs_", underscore)
	f.names(f.cloud, domain, "b%")
	f.names(f.cloud, domain, `a\b`, backslash)
	f.names(f.cloud, "nope", "")
	_, err := f.cloud.EachProject(f.ctx, "", "", func(keystone.Project) { f.Error("got a project, want none") })
	f.wants(err, nil)
}

func eachAssignment(_ *testing.T, f *fixture) {
	c := f.cast()
	onProject, onDomain := "/projects/"+c.inside, "/domains/"+c.domain
	ofUser, ofGroup := "/users/"+c.plain+"/roles/"+c.member, "/groups/"+c.group+"/roles/"+c.member
	for _, path := range []string{
		onProject + ofGroup, onDomain + ofUser, onDomain + ofGroup,
		"/OS-INHERIT" + onProject + ofUser + "/inherited_to_projects", "/OS-INHERIT" + onDomain + ofUser + "/inherited_to_projects",
		"/OS-INHERIT" + onProject + ofGroup + "/inherited_to_projects", "/OS-INHERIT" + onDomain + ofGroup + "/inherited_to_projects",
		"/projects/" + c.outside + ofUser, "/system" + ofUser,
	} {
		f.grant(path)
		f.grant(path) // a repeated assignment has no effect, and is no error
	}
	project := keystone.Granted{RoleID: c.member, ProjectID: c.inside}
	domain := keystone.Granted{RoleID: c.member, DomainID: c.domain}
	with := func(g keystone.Granted, user, group string, inherited bool) keystone.Granted {
		g.UserID, g.GroupID, g.Inherited = user, group, inherited
		return g
	}
	want := map[keystone.Granted]int{
		with(project, c.plain, "", false): 1, with(project, c.plain, "", true): 1,
		with(project, "", c.group, false): 1, with(project, "", c.group, true): 1,
		with(domain, c.plain, "", false): 1, with(domain, c.plain, "", true): 1,
		with(domain, "", c.group, false): 1, with(domain, "", c.group, true): 1,
		{RoleID: c.member, UserID: c.plain, ProjectID: c.outside}: 1,
		{RoleID: c.role, UserID: c.manager, DomainID: c.domain}:   1,
	}
	matching := func(fits func(keystone.Granted) bool) map[keystone.Granted]int {
		some := maps.Clone(want)
		maps.DeleteFunc(some, func(g keystone.Granted, _ int) bool { return !fits(g) })
		return some
	}
	onInside := func(g keystone.Granted) bool { return g.ProjectID == c.inside }
	ofPlain := func(g keystone.Granted) bool { return g.UserID == c.plain }
	same(f, "on the project", f.assignments(f.cloud, keystone.AssignmentFilter{ProjectID: c.inside}), matching(onInside))
	same(f, "of the user", f.assignments(f.cloud, keystone.AssignmentFilter{UserID: c.plain}), matching(ofPlain))
	same(f, "of the user on the project", f.assignments(f.cloud, keystone.AssignmentFilter{ProjectID: c.inside, UserID: c.plain}),
		matching(func(g keystone.Granted) bool { return onInside(g) && ofPlain(g) }))
	same(f, "on no project", f.assignments(f.cloud, keystone.AssignmentFilter{ProjectID: "nope"}), map[keystone.Granted]int{})

	all := f.assignments(f.cloud, keystone.AssignmentFilter{})
	maps.DeleteFunc(all, func(g keystone.Granted, _ int) bool { return want[g] == 0 }) // drop the assignments of other tests
	same(f, "all", all, want)
	same(f, "all for the manager", f.assignments(c.ofManager, keystone.AssignmentFilter{}),
		matching(func(g keystone.Granted) bool { return g.ProjectID != c.outside }))

	f.must(204, "DELETE", "/groups/"+c.group, f.admin, "")
	f.must(204, "DELETE", "/OS-INHERIT"+onProject+ofUser+"/inherited_to_projects", f.admin, "")
	same(f, "after the group was deleted, and the inherited role revoked",
		f.assignments(f.cloud, keystone.AssignmentFilter{ProjectID: c.inside}), map[keystone.Granted]int{with(project, c.plain, "", false): 1})
}

func inheritedRole(_ *testing.T, f *fixture) {
	c := f.cast()
	token := f.must(201, "POST", "/auth/tokens", "", passwordLogin(fmt.Sprintf(`"id":%q`, c.stranger), "pw", "")).token()
	child := f.must(201, "POST", "/projects", f.admin, fmt.Sprintf(
		`{"project":{"name":"bs-child-%s","domain_id":%q,"parent_id":%q}}`, random(), c.domain, c.inside)).get("project", "id")
	f.Cleanup(func() { f.must(204, "DELETE", "/projects/"+child, f.admin, "") })
	enters := func(projectID string, want bool) {
		f.Helper()
		_, err := f.cloud.ExchangeToken(f.ctx, token, projectID)
		if (err == nil) != want || !want && !errors.Is(err, keystone.ErrNoAccess) {
			f.Errorf("got %v; want a token: %t", err, want)
		}
	}
	f.grant("/OS-INHERIT/projects/" + c.inside + "/users/" + c.stranger + "/roles/" + c.member + "/inherited_to_projects")
	enters(c.inside, false)
	enters(child, true)
	f.grant("/OS-INHERIT/domains/" + c.domain + "/users/" + c.stranger + "/roles/" + c.member + "/inherited_to_projects")
	enters(c.inside, true)
	enters(c.outside, false)
}

func eachUser(_ *testing.T, f *fixture) {
	c := f.cast()
	f.must(200, "PATCH", "/users/"+c.plain, f.admin, `{"user":{"enabled":false}}`)
	found, whole := f.users(f.cloud, c.domain)
	same(f, "whole", whole, true)
	same(f, "number of users", len(found), 2)
	for id, enabled := range map[string]bool{c.manager: true, c.plain: false} {
		u, err := f.cloud.User(f.ctx, id)
		f.ok(err)
		same(f, "user", found[id], u)
		same(f, "user is enabled", u.Enabled, enabled)
	}
	found, whole = f.users(f.cloud, "nope")
	same(f, "users of an unknown domain", len(found), 0)
	same(f, "whole", whole, true)
}

func allRoles(_ *testing.T, f *fixture) {
	c := f.cast()
	roles, err := f.cloud.AllRoles(f.ctx)
	f.ok(err)
	ids := map[string]string{}
	for _, r := range roles {
		ids[r.Name] = r.ID
	}
	same(f, "role member", ids["member"], c.member)
	implied, err := f.cloud.Implied(f.ctx)
	f.ok(err)
	same(f, "roles that the manager's role implies", implied[c.role], []string{c.member})
	same(f, "roles that role admin implies", implied[ids["admin"]], []string{c.member})
	same(f, "roles that role member implies", implied[c.member], []string{ids["reader"]})
	same(f, "roles that role reader implies", implied[ids["reader"]], nil)
}

// The method `reaches` checks the result of Reach. The order of the roles is not checked.
func (f *fixture) reaches(cloud keystone.Cloud, want keystone.Reach, roles ...string) {
	f.Helper()
	got, err := cloud.Reach(f.ctx)
	f.ok(err)
	var names []string
	for _, r := range got.Roles {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	slices.Sort(roles)
	same(f, "roles", names, roles)
	got.Roles = nil
	same(f, "reach", got, want)
}

func reach(_ *testing.T, f *fixture) {
	e := &eavesdropper{next: conn.NewTransport(nil)}
	f.config.Base = e
	f.cloud = f.newCloud(f.config)
	me := f.must(200, "GET", "/auth/tokens", f.admin, "", "X-Subject-Token", f.admin).get("token", "project", "id")
	for range 2 {
		f.reaches(f.cloud, keystone.Reach{ProjectID: me}, "admin", "member", "reader")
	}
	same(f, "logins", e.logins.Load(), int32(1))
	f.must(204, "DELETE", "/auth/tokens", f.admin, "", "X-Subject-Token", e.token.Load().(string))
	f.reaches(f.cloud, keystone.Reach{ProjectID: me}, "admin", "member", "reader")
	same(f, "logins after the token was revoked", e.logins.Load(), int32(2))

	system := f.config.Credential
	system.ProjectName, system.ProjectDomainID, system.System = "", "", true
	f.reaches(f.as(system), keystone.Reach{System: true}, "admin", "member", "reader")
}
