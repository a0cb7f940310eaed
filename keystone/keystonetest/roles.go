package keystonetest

import (
	"fmt"
	"net/http"
	"slices"
)

func (k *Keystone) createRole(c call) (int, any, error) {
	wanted, _ := c.body["role"].(object)
	name, _ := wanted["name"].(string)
	if name == "" {
		return 0, nil, badRequest("'name' is a required property")
	}
	if err := k.require(c, "create_role"); err != nil {
		return 0, nil, err
	}
	if k.roles.find(func(r *role) bool { return k.same(r.name, name) }) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store role - Duplicate entry found with name %s.", name)
	}
	return http.StatusCreated, object{"role": k.addRole(name, false).show(c)}, nil
}

func (k *Keystone) listRoles(c call) (int, any, error) {
	if err := k.require(c, "list_roles", k.readsSystem(c)); err != nil {
		return 0, nil, err
	}
	var found []*role
	for r := range k.roles.all() {
		if k.hasName(c, r.name) {
			found = append(found, r)
		}
	}
	return listed(c, "roles", found, false, (*role).show)
}

func (k *Keystone) getRole(c call) (int, any, error) {
	r, err := k.roleOf(c, "get_role", k.readsSystem(c))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"role": r.show(c)}, nil
}

// roleOf returns the role in the path of the request if the policy rule allows the call. If the role does not exist, every caller with a
// token gets a 404.
func (k *Keystone) roleOf(c call, rule string, others ...bool) (*role, error) {
	if c.token == nil {
		return nil, unauthorized
	}
	r := k.roles.get(c.PathValue("id"))
	if r == nil {
		return nil, notFound("role", c.PathValue("id"))
	}
	return r, k.require(c, rule, others...)
}

func (k *Keystone) deleteRole(c call) (int, any, error) {
	r, err := k.roleOf(c, "delete_role")
	if err != nil {
		return 0, nil, err
	}
	k.removeRole(r)
	return http.StatusNoContent, nil, nil
}

// removeRole also removes the role assignments with the role, and the rules by which the role implies other roles or is implied.
func (k *Keystone) removeRole(r *role) {
	k.roles.remove(r.id)
	delete(k.implied, r.id)
	for prior, implied := range k.implied {
		k.implied[prior] = slices.DeleteFunc(implied, is(r.id))
	}
	for g := range k.grants.all() {
		if g.role == r.id {
			k.revoke(*g)
		}
	}
}

func (r *role) show(c call) any {
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
	if err := k.require(c, "list_role_inference_rules", k.readsSystem(c)); err != nil {
		return 0, nil, err
	}
	short := func(r *role) object {
		return object{"id": r.id, "name": r.name, "links": object{"self": c.self + "/roles/" + r.id}}
	}
	rules := []object{}
	for prior := range k.roles.all() {
		implies := []object{}
		for _, id := range k.implied[prior.id] {
			implies = append(implies, short(k.roles.get(id)))
		}
		if len(implies) > 0 {
			rules = append(rules, object{"prior_role": short(prior), "implies": implies})
		}
	}
	return http.StatusOK, object{"role_inferences": rules}, nil
}

func (k *Keystone) createInference(c call) (int, any, error) {
	prior, implied, err := k.inferenceOf(c, "create_implied_role")
	switch {
	case err != nil:
		return 0, nil, err
	case implied.name == "admin": // in Keystone, no role may imply role admin (option prohibited_implied_role)
		return 0, nil, forbidden(fmt.Sprintf("%s cannot be an implied roles.", implied.id))
	}
	if !slices.Contains(k.implied[prior.id], implied.id) {
		k.implied[prior.id] = append(k.implied[prior.id], implied.id)
	}
	return http.StatusCreated, object{"role_inference": object{
		"prior_role": object{"id": prior.id, "name": prior.name}, "implies": object{"id": implied.id, "name": implied.name},
	}}, nil
}

func (k *Keystone) deleteInference(c call) (int, any, error) {
	prior, implied, err := k.inferenceOf(c, "delete_implied_role")
	if err != nil {
		return 0, nil, err
	}
	k.implied[prior.id] = slices.DeleteFunc(k.implied[prior.id], is(implied.id))
	return http.StatusNoContent, nil, nil
}

// inferenceOf returns the two roles in the path of the request if the policy rule allows the call.
func (k *Keystone) inferenceOf(c call, rule string) (prior, implied *role, err error) {
	if prior, err = k.roleOf(c, rule); err != nil {
		return nil, nil, err
	}
	if implied = k.roles.get(c.PathValue("implied")); implied == nil {
		return nil, nil, notFound("role", c.PathValue("implied"))
	}
	return prior, implied, nil
}
