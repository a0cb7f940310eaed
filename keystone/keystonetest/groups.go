package keystonetest

import (
	"net/http"
)

func (k *Keystone) addGroup(name, domainID string) *group {
	g := &group{id: k.randomID(), name: name, domain: domainID}
	k.groups.put(g.id, g)
	return g
}

// removeGroup also removes the group's role assignments.
func (k *Keystone) removeGroup(g *group) {
	k.groups.remove(g.id)
	k.revokeAll(k.grantsOf, g.id)
}

func (k *Keystone) createGroup(c call) (int, any, error) {
	wanted, _ := c.body["group"].(object)
	name, _ := wanted["name"].(string)
	if name == "" {
		return 0, nil, badRequest("'name' is a required property")
	}
	if err := k.require(c, "create_group"); err != nil {
		return 0, nil, err
	}
	home, _ := wanted["domain_id"].(string)
	if home == "" {
		home = k.homeOf(c.token)
	}
	if k.domain(home) == nil {
		return 0, nil, notFound("domain", home)
	}
	if k.groups.find(func(g *group) bool { return g.domain == home && k.same(g.name, name) }) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store group - Duplicate entry found with name %s at domain ID %s.", name, home)
	}
	g := k.addGroup(name, home)
	return http.StatusCreated, object{"group": object{
		"id": g.id, "name": g.name, "domain_id": g.domain, "description": "", "links": object{"self": c.self + "/groups/" + g.id},
	}}, nil
}

func (k *Keystone) deleteGroup(c call) (int, any, error) {
	if err := k.require(c, "delete_group"); err != nil {
		return 0, nil, err
	}
	g := k.groups.get(c.PathValue("id"))
	if g == nil {
		return 0, nil, notFound("group", c.PathValue("id"))
	}
	k.removeGroup(g)
	return http.StatusNoContent, nil, nil
}
