package keystonetest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// grantRoutes returns the paths of all kinds of role assignments.
func grantRoutes() (paths []string) {
	for _, target := range []string{"/projects/{project}", "/domains/{domain}"} {
		for _, actor := range []string{"/users/{user}", "/groups/{group}"} {
			path := target + actor + "/roles/{role}"
			paths = append(paths, path, "/OS-INHERIT"+path+"/inherited_to_projects")
		}
	}
	return append(paths, "/system/users/{user}/roles/{role}")
}

// grantIn returns the role assignment in the path of the request. The path of a request for a list contains no role. The role and the
// target must exist. As in Keystone, the user or group must exist if the assignment is not inherited.
func (k *Keystone) grantIn(c call, rule string) (grant, error) {
	g := grant{
		role: c.PathValue("role"), user: c.PathValue("user"), group: c.PathValue("group"),
		project: c.PathValue("project"), domain: c.PathValue("domain"),
		system: strings.HasPrefix(c.URL.Path, "/v3/system/"), inherited: strings.HasPrefix(c.URL.Path, "/v3/OS-INHERIT/"),
	}
	if err := k.require(c, rule, k.readsGrant(c, rule, g)); err != nil {
		return g, err
	}
	switch {
	case g.role != "" && k.roles.get(g.role) == nil:
		return g, notFound("role", g.role)
	case g.project != "" && k.projects.get(g.project) == nil:
		return g, notFound("project", g.project)
	case g.domain != "" && k.domains.get(g.domain) == nil:
		return g, notFound("domain", g.domain)
	case g.inherited:
	case g.user != "" && k.users.get(g.user) == nil:
		return g, notFound("user", g.user)
	case g.group != "" && k.groups.get(g.group) == nil:
		return g, notFound("group", g.group)
	}
	return g, nil
}

// readsGrant reports whether a caller who is not an administrator may read the role assignment. The caller must be a reader of the system,
// or a reader of a domain that contains both the user and the project.
func (k *Keystone) readsGrant(c call, rule string, g grant) bool {
	if rule != "check_grant" && rule != "list_grants" {
		return false
	}
	u, p := k.users.get(g.user), k.projects.get(g.project)
	return k.readsSystem(c) || u != nil && p != nil && u.domain == p.domain && k.readsDomain(c, p.domain)
}

func (k *Keystone) createGrant(c call) (int, any, error) {
	g, err := k.grantIn(c, "create_grant")
	if err != nil {
		return 0, nil, err
	}
	k.assign(g)
	return http.StatusNoContent, nil, nil
}

// checkGrant answers HEAD and GET requests for a role assignment. The answer is 404 if the user has the role only because another
// role implies it.
func (k *Keystone) checkGrant(c call) (int, any, error) {
	g, err := k.grantIn(c, "check_grant")
	if err != nil {
		return 0, nil, err
	}
	if k.grants.get(g) == nil {
		return 0, nil, noSuchGrant(g)
	}
	return http.StatusNoContent, nil, nil
}

func (k *Keystone) deleteGrant(c call) (int, any, error) {
	g, err := k.grantIn(c, "revoke_grant")
	if err != nil {
		return 0, nil, err
	}
	if !k.revoke(g) {
		return 0, nil, noSuchGrant(g)
	}
	return http.StatusNoContent, nil, nil
}

func noSuchGrant(g grant) error {
	return fault{status: http.StatusNotFound, message: fmt.Sprintf("Could not find role assignment with role: %s, user or group: %s, "+
		"project, domain, or system: %s.", g.role, g.actor(), cmp.Or(g.target(), "system"))}
}

func (k *Keystone) listGrants(c call) (int, any, error) {
	g, err := k.grantIn(c, "list_grants")
	if err != nil {
		return 0, nil, err
	}
	var found []*role
	for _, id := range k.assigned(g.user, g.project, false) {
		found = append(found, k.roles.get(id))
	}
	return listed(c, "roles", found, false, (*role).show)
}

// listAssignments lists the role assignments of all kinds. Keystone never cuts this list.
func (k *Keystone) listAssignments(c call) (int, any, error) {
	if err := k.requireReader(c, "list_role_assignments"); err != nil {
		return 0, nil, err
	}
	wanted := func(filter, value string) bool { return c.query.Get(filter) == "" || c.query.Get(filter) == value }
	project, user := c.query.Get("scope.project.id"), c.query.Get("user.id")
	rows := k.grants.rows
	switch {
	case project != "":
		rows = k.grantsOn[project]
	case user != "":
		rows = k.grantsOf[user]
	}
	var found []*grant
	for _, g := range rows {
		if g != nil && wanted("scope.project.id", g.project) && wanted("scope.domain.id", g.domain) && wanted("user.id", g.user) &&
			wanted("group.id", g.group) && wanted("role.id", g.role) && c.inReach(k.domainOfTarget(g)) {
			found = append(found, g)
		}
	}
	return listed(c, "role_assignments", slices.Clip(found), false, (*grant).show)
}

// domainOfTarget returns the id of the domain of a role assignment's target. The result is empty if the target is the system.
func (k *Keystone) domainOfTarget(g *grant) string {
	if p := k.projects.get(g.project); p != nil {
		return p.domain
	}
	return g.domain
}

// The type `ref` contains the id of an object, in the format of Keystone's API.
type ref struct {
	ID string `json:"id"`
}

func refTo(id string) *ref {
	if id == "" {
		return nil
	}
	return &ref{id}
}

// The method `show` returns a struct instead of a map, because the list of all assignments is long.
func (g *grant) show(c call) any {
	type scope struct {
		Project     *ref            `json:"project,omitempty"`
		Domain      *ref            `json:"domain,omitempty"`
		System      map[string]bool `json:"system,omitempty"`
		InheritedTo string          `json:"OS-INHERIT:inherited_to,omitempty"`
	}
	var shown struct {
		Links struct {
			Assignment string `json:"assignment"`
		} `json:"links"`
		Scope scope `json:"scope"`
		User  *ref  `json:"user,omitempty"`
		Group *ref  `json:"group,omitempty"`
		Role  ref   `json:"role"`
	}
	shown.Scope = scope{Project: refTo(g.project), Domain: refTo(g.domain)}
	shown.User, shown.Group, shown.Role = refTo(g.user), refTo(g.group), ref{g.role}
	path := "/projects/" + g.project
	switch {
	case g.domain != "":
		path = "/domains/" + g.domain
	case g.system:
		path = "/system"
		shown.Scope.System = map[string]bool{"all": true}
	}
	path += "/users/" + g.user
	if g.group != "" {
		path = strings.TrimSuffix(path, "/users/") + "/groups/" + g.group
	}
	path += "/roles/" + g.role
	if g.inherited {
		path = "/OS-INHERIT" + path + "/inherited_to_projects"
		shown.Scope.InheritedTo = "projects"
	}
	shown.Links.Assignment = c.self + path
	return shown
}
