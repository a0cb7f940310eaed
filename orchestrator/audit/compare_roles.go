package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/explain"
)

// compareRoles reports role assignments that are missing, that no run has made, or whose user is gone or disabled.
func (c *comparison) compareRoles() {
	users := map[string]int{}                                                 // indexes in c.candidates, by code, cloud, user and subject
	expected := map[ref]bool{}                                                // the users that c.expects has counted
	for _, at := range slices.SortedFunc(maps.Keys(c.tenants), ref.compare) { // sorted, so that each audit makes the same findings
		t := c.tenants[at]
		p := c.project(t)
		if t.gone || t.replaced || p == nil {
			continue
		}
		for _, r := range c.wanted(t) {
			if user := (ref{t.cloud, r.user}); !expected[user] {
				expected[user] = true
				c.expects(partUsers, listOf(partUsers, t.cloud), Finding{Cloud: t.cloud, MerchantID: t.merchant})
			}
			c.compareRole(users, t, p, r, slices.Contains(p.grants, given{role: r.role, user: r.user}))
		}
		for _, g := range p.grants {
			c.compareGrant(users, t, p, g)
		}
	}
	c.compareInherited()
}

// wanted returns the assignments that should be on the tenant. If a role was deleted and created again, the assignment has the new
// role: see remade. If a run has assigned or revoked the user's new role, wanted leaves out the assignment of the old role.
func (c *comparison) wanted(t *tenant) (all []role) {
	for _, old := range t.roles {
		r := c.remade(t, old)
		if !old.gone && (r.role == old.role || t.role(r.grant) == nil) {
			all = append(all, r)
		}
	}
	return all
}

// remade returns the assignment that should exist now. If somebody has deleted the role of the assignment, and has created a role
// with the same name, the returned assignment has the new role, because runs look up roles by their names. In all other cases,
// remade returns the assignment unchanged.
func (c *comparison) remade(t *tenant, r role) role {
	cloud := c.cloudFound(t.cloud)
	if !cloud.rolesRead || cloud.roles[r.role] != "" {
		return r
	}
	var named []string
	for id, name := range cloud.roles {
		if name == r.name {
			named = append(named, id)
		}
	}
	if len(named) > 0 {
		r.was, r.role = r.role, slices.Min(named)
	}
	return r
}

// expectsRemade reports whether the assignment replaces an expected assignment of a deleted role: see remade.
func (c *comparison) expectsRemade(t *tenant, g given) bool {
	return slices.ContainsFunc(t.roles, func(r role) bool {
		return !r.gone && r.user == g.user && r.role != g.role && c.remade(t, r).role == g.role
	})
}

// compareRole compares an assignment that should exist.
func (c *comparison) compareRole(users map[string]int, t *tenant, p *foundProject, r role, found bool) {
	g := r.grant
	cloud := c.cloudFound(t.cloud)
	list := listOf(partAssignments, t.cloud)
	c.expects(partAssignments, list, Finding{Cloud: t.cloud, MerchantID: t.merchant, ProjectID: t.id})
	state := cloud.users[g.user]
	if found && !cloud.admin[g.role] && state != userGone && state != userDisabled {
		return // the assignment is as expected
	}
	about := c.aboutRole(t, p, given{role: g.role, user: g.user}, r.name)
	about.RunID = r.run
	switch {
	case state == userGone:
		c.reportUser(users, SubscriberGone, about, t, g.user, "the user to whom Tenantry has given the roles no longer exists")
	case !found:
		about.Repair.Action, about.Repair.Values = AssignRole, roleValues(t, g.user, g.role, r.name)
		about.Repair.Advice = explain.Command("openstack", "role", "add", "--project", t.id, "--user", g.user, g.role)
		detail := fmt.Sprintf("user %s does not have role %s on %s; run %s assigned the role", c.userName(t.cloud, g.user), r.name, t.name, r.run)
		if r.was != "" {
			detail = fmt.Sprintf("user %s does not have role %s (%s) on %s: run %s assigned role %s, which was deleted, and a new role now has the same name",
				c.userName(t.cloud, g.user), r.name, g.role, t.name, r.run, r.was)
		}
		if cloud.admin[g.role] && !c.allowAdmin {
			about.Repair = Repair{Advice: "role " + r.name + " is, or implies, role admin: Tenantry does not give this role to users"}
		}
		if cloud.rolesRead && cloud.roles[g.role] == "" {
			about.Repair.Action, about.Repair.Values = "", nil
			about.Repair.Advice = "create a role of this name: the next audit then offers to assign it"
			detail = fmt.Sprintf("role %s (%s) no longer exists", r.name, g.role)
		}
		c.report(RoleMissing, about, t.subject, list, detail, t.id, g.user, g.role)
	case state == userDisabled:
		c.reportUser(users, RoleOfDisabledUser, about, t, g.user, "the user to whom Tenantry has given the roles is disabled")
	}
	if found && cloud.admin[g.role] {
		about.Repair.Action, about.Repair.Values = RevokeRole, roleValues(t, g.user, g.role, r.name)
		f := c.reportAdmin(about, t.subject, g.user, g.role)
		if c.allowAdmin {
			f.Severity, f.Repair = Info, Repair{Advice: "allow_cloud_admin_role allows it"}
		}
	}
}

// roleValues returns the values for a repair of a user's role on a tenant.
func roleValues(t *tenant, user, role, roleName string) map[string]string {
	v := t.values()
	v["user_id"], v["role_id"], v["role"] = user, role, roleName
	return v
}

// reportUser reports a finding about a user, once for each code and subject. If the finding is already reported, reportUser adds the role
// assignment to the finding's objects.
func (c *comparison) reportUser(users map[string]int, code Code, about Finding, t *tenant, user, detail string) {
	key := string(code) + " " + t.cloud + " " + user + " " + t.subject
	if i, reported := users[key]; reported {
		known := &c.candidates[i]
		known.Objects = append(known.Objects, about.Objects[1:]...)
		slices.SortFunc(known.Objects[1:], func(a, b Object) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
		return
	}
	about.Objects = append([]Object{object(kindUser, user, c.cloudFound(t.cloud).userName[user])}, about.Objects...)
	about.ProjectID, about.SubscriptionID = "", ""
	about.Repair = Repair{} // a repair would change only one of the assignments
	absent := ""
	if code == SubscriberGone {
		absent = listOf(partUsers, t.cloud)
	}
	c.report(code, about, t.subject, absent, detail, user, t.subject)
	users[key] = len(c.candidates) - 1
}

// compareGrant compares an assignment that was found.
func (c *comparison) compareGrant(users map[string]int, t *tenant, p *foundProject, g given) {
	cloud := c.cloudFound(t.cloud)
	r := t.role(grant{g.user, g.role})
	if g.user != "" && (r != nil && !r.gone || r == nil && c.expectsRemade(t, g)) {
		return
	}
	about := c.aboutRole(t, p, g, cloud.roles[g.role])
	id := t.id + "/" + cmp.Or(g.user, g.group) + "/" + g.role
	if g.user != "" {
		about.Repair.Action, about.Repair.Values = RevokeRole, roleValues(t, g.user, g.role, cloud.roles[g.role])
		about.Repair.Advice = explain.Needless + explain.Command("openstack", "role", "remove", "--project", t.id, "--user", g.user, g.role)
	} else {
		about.Repair.Advice = explain.Needless + explain.Command("openstack", "role", "remove", "--project", t.id, "--group", g.group, g.role)
	}
	roleName := cmp.Or(cloud.roles[g.role], g.role)
	run := c.left[left{kindAssignment, t.cloud, id}]
	if t.maker == "" && run == "" && t.role(grant{g.user, g.role}) == nil { // adopted tenant: its owner has given the role
		about.Repair = Repair{Advice: about.Repair.Advice}
	}
	switch {
	case cloud.admin[g.role]:
		c.reportAdmin(about, t.subject, cmp.Or(g.user, g.group), g.role)
	case run != "":
		about.RunID = run
		c.report(ObjectsLeft, about, t.subject, "", "run "+run+" is compensated, but its role assignment still exists", kindAssignment, id)
	case t.maker == "": // an adopted tenant: its owner gives roles, too
	case g.user == "":
		c.report(RoleExtraGroup, about, t.subject, "", fmt.Sprintf("group %s has role %s on %s", g.group, roleName, t.name), id)
	case cloud.users[g.user] == userGone:
		about.Objects = append([]Object{object(kindUser, g.user, "")}, about.Objects...)
		c.report(RoleOfDeletedUser, about, t.subject, "", fmt.Sprintf("user %s, who no longer exists, has role %s on %s", g.user, roleName, t.name), id)
	case cloud.users[g.user] == userDisabled:
		c.reportUser(users, RoleOfDisabledUser, about, t, g.user, "a disabled user has roles that no run has given")
	default:
		c.report(RoleExtraUser, about, t.subject, "", fmt.Sprintf("user %s has role %s on %s, but no run has given the role",
			c.userName(t.cloud, g.user), roleName, t.name), id)
	}
}

// reportAdmin reports that a user or group has the role admin, or a role that implies the role admin.
func (c *comparison) reportAdmin(about Finding, subject, who, role string) *Finding {
	name := c.cloudFound(about.Cloud).roles[role]
	f := c.report(RoleAdmin, about, subject, "", fmt.Sprintf("%s has role %s, which is or implies role admin", who, name),
		about.ProjectID, who, role)
	if keystone.IsAdminRole(name) { // the list of implied roles is not needed
		c.needing(partAssignments, partProjects, partRoles)
	}
	return f
}

// aboutRole returns a Finding with the ids and objects that all findings about a role on a tenant have.
func (c *comparison) aboutRole(t *tenant, p *foundProject, g given, roleName string) Finding {
	f := c.about(t, p)
	f.UserID = g.user
	id := t.id + "/" + cmp.Or(g.user, g.group) + "/" + g.role
	f.Objects = append(f.Objects, object(kindAssignment, id, roleName))
	if g.group != "" {
		f.Objects = append(f.Objects, object("group", g.group, ""))
	}
	return f
}

// userName returns a text with the name and the id of a user. If the name is not known, the text is only the id.
func (c *comparison) userName(cloud, id string) string {
	if name := c.cloudFound(cloud).userName[id]; name != "" {
		return fmt.Sprintf("%s (%s)", name, id)
	}
	return id
}

// compareInherited reports the inherited roles of the domains with tenants. An inherited role is valid on all projects of its domain. It
// is reported once, for the domain, and not for each project.
func (c *comparison) compareInherited() {
	for name, cloud := range c.clouds {
		for _, g := range cloud.inherited {
			if !cloud.domains[g.DomainID] {
				continue
			}
			who, kind := cmp.Or(g.UserID, g.GroupID), "user"
			if g.UserID == "" {
				kind = "group"
			}
			role := cmp.Or(cloud.roles[g.RoleID], g.RoleID)
			about := Finding{Cloud: name, UserID: g.UserID, Objects: []Object{
				object(kindDomain, g.DomainID, ""), object(kind, who, cloud.userName[g.UserID]), object("role", g.RoleID, cloud.roles[g.RoleID]),
			}}
			about.Repair.Advice = explain.Needless + explain.Command("openstack", "role", "remove", "--domain", g.DomainID, "--"+kind, who, "--inherited", g.RoleID)
			if cloud.admin[g.RoleID] {
				c.reportAdmin(about, "", who+" on domain "+g.DomainID, g.RoleID)
				continue
			}
			c.report(RoleExtraInherited, about, "", "", fmt.Sprintf("%s %s has role %s on all projects of domain %s", kind, who, role, g.DomainID),
				g.DomainID, who, g.RoleID)
		}
	}
}
