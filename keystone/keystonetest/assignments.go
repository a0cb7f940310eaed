package keystonetest

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/tenantry/tenantry/keystone"
)

// assignmentOf returns the role assignment in the path of the request. The user, the project and the role must exist.
func (k *Keystone) assignmentOf(c call, rule string) (keystone.Assignment, error) {
	a := keystone.Assignment{ProjectID: c.PathValue("id"), UserID: c.PathValue("user"), RoleID: c.PathValue("role")}
	if err := k.require(c, rule); err != nil {
		return a, err
	}
	switch {
	case a.RoleID != "" && k.role(a.RoleID) == nil:
		return a, notFound("role", a.RoleID)
	case k.project(a.ProjectID) == nil:
		return a, notFound("project", a.ProjectID)
	case k.user(a.UserID) == nil:
		return a, notFound("user", a.UserID)
	}
	return a, nil
}

func (k *Keystone) grant(c call) (int, any, error) {
	a, err := k.assignmentOf(c, "create_grant")
	if err != nil {
		return 0, nil, err
	}
	if !slices.Contains(k.grants, a) {
		k.grants = append(k.grants, a)
	}
	return http.StatusNoContent, nil, nil
}

// checkGrant answers HEAD and GET requests for a role assignment. The answer is 404 if the user has the role only because another
// role implies it.
func (k *Keystone) checkGrant(c call) (int, any, error) {
	a, err := k.assignmentOf(c, "check_grant")
	if err != nil {
		return 0, nil, err
	}
	if !slices.Contains(k.grants, a) {
		return 0, nil, noSuchGrant(a)
	}
	return http.StatusNoContent, nil, nil
}

func (k *Keystone) revoke(c call) (int, any, error) {
	a, err := k.assignmentOf(c, "revoke_grant")
	if err != nil {
		return 0, nil, err
	}
	if !slices.Contains(k.grants, a) {
		return 0, nil, noSuchGrant(a)
	}
	k.grants = slices.DeleteFunc(k.grants, func(g keystone.Assignment) bool { return g == a })
	return http.StatusNoContent, nil, nil
}

func noSuchGrant(a keystone.Assignment) error {
	return fault{status: http.StatusNotFound, message: fmt.Sprintf("Could not find role assignment with role: %s, user or group: %s, "+
		"project, domain, or system: %s.", a.RoleID, a.UserID, a.ProjectID)}
}

func (k *Keystone) listGrants(c call) (int, any, error) {
	a, err := k.assignmentOf(c, "list_grants")
	if err != nil {
		return 0, nil, err
	}
	var found []object
	for _, g := range k.grants {
		if g.ProjectID == a.ProjectID && g.UserID == a.UserID {
			found = append(found, k.role(g.RoleID).show(c))
		}
	}
	return c.listed("roles", found)
}

func (k *Keystone) listAssignments(c call) (int, any, error) {
	if err := k.require(c, "list_role_assignments"); err != nil {
		return 0, nil, err
	}
	var found []object
	for _, g := range k.grants {
		if !c.matches("scope.project.id", g.ProjectID) || !c.matches("user.id", g.UserID) || !c.matches("role.id", g.RoleID) {
			continue
		}
		found = append(found, object{
			"role": object{"id": g.RoleID}, "user": object{"id": g.UserID}, "scope": object{"project": object{"id": g.ProjectID}},
			"links": object{"assignment": fmt.Sprintf("%s/projects/%s/users/%s/roles/%s", c.self, g.ProjectID, g.UserID, g.RoleID)},
		})
	}
	return c.listed("role_assignments", found)
}

func (k *Keystone) createRole(c call) (int, any, error) {
	wanted, _ := c.body["role"].(object)
	name, _ := wanted["name"].(string)
	if name == "" {
		return 0, nil, badRequest("'name' is a required property")
	}
	if err := k.require(c, "create_role"); err != nil {
		return 0, nil, err
	}
	if find(k.roles, func(r *role) bool { return k.same(r.name, name) }) != nil {
		return 0, nil, fault{
			status:  http.StatusConflict,
			message: "Conflict occurred attempting to store role - Duplicate entry found with name " + name + ".",
		}
	}
	return http.StatusCreated, object{"role": k.addRole(name, false).show(c)}, nil
}

func (k *Keystone) listRoles(c call) (int, any, error) {
	if err := k.require(c, "list_roles"); err != nil {
		return 0, nil, err
	}
	var found []object
	for _, r := range k.roles {
		if k.hasName(c, r.name) {
			found = append(found, r.show(c))
		}
	}
	return c.listed("roles", found)
}

func (k *Keystone) getRole(c call) (int, any, error) {
	if err := k.require(c, "get_role"); err != nil {
		return 0, nil, err
	}
	r := k.role(c.PathValue("id"))
	if r == nil {
		return 0, nil, notFound("role", c.PathValue("id"))
	}
	return http.StatusOK, object{"role": r.show(c)}, nil
}

func (k *Keystone) deleteRole(c call) (int, any, error) {
	if err := k.require(c, "delete_role"); err != nil {
		return 0, nil, err
	}
	r := k.role(c.PathValue("id"))
	if r == nil {
		return 0, nil, notFound("role", c.PathValue("id"))
	}
	k.roles = slices.DeleteFunc(k.roles, func(other *role) bool { return other == r })
	k.grants = slices.DeleteFunc(k.grants, func(g keystone.Assignment) bool { return g.RoleID == r.id })
	return http.StatusNoContent, nil, nil
}

func (r *role) show(c call) object {
	options := object{}
	if r.immutable {
		options["immutable"] = true
	}
	return object{
		"id": r.id, "name": r.name, "domain_id": nil, "description": nil, "options": options,
		"links": object{"self": c.self + "/roles/" + r.id},
	}
}

func (k *Keystone) listInferences(c call) (int, any, error) {
	if err := k.require(c, "list_role_inference_rules"); err != nil {
		return 0, nil, err
	}
	short := func(r *role) object {
		return object{"id": r.id, "name": r.name, "links": object{"self": c.self + "/roles/" + r.id}}
	}
	rules := []object{}
	for _, prior := range k.roles {
		implies := []object{}
		for _, id := range k.implied[prior.id] {
			implies = append(implies, short(k.role(id)))
		}
		if len(implies) > 0 {
			rules = append(rules, object{"prior_role": short(prior), "implies": implies})
		}
	}
	return http.StatusOK, object{"role_inferences": rules}, nil
}

func (k *Keystone) createInference(c call) (int, any, error) {
	if err := k.require(c, "create_implied_role"); err != nil {
		return 0, nil, err
	}
	prior, implied := k.role(c.PathValue("id")), k.role(c.PathValue("implied"))
	switch {
	case prior == nil:
		return 0, nil, notFound("role", c.PathValue("id"))
	case implied == nil:
		return 0, nil, notFound("role", c.PathValue("implied"))
	case implied.name == "admin": // in Keystone, no role may imply role admin (option prohibited_implied_role)
		return 0, nil, fault{status: http.StatusForbidden, message: fmt.Sprintf("%s cannot be an implied roles.", implied.id)}
	}
	if !slices.Contains(k.implied[prior.id], implied.id) {
		k.implied[prior.id] = append(k.implied[prior.id], implied.id)
	}
	return http.StatusCreated, object{"role_inference": object{
		"prior_role": object{"id": prior.id, "name": prior.name}, "implies": object{"id": implied.id, "name": implied.name},
	}}, nil
}
