package keystonetest

import (
	"net/http"
)

func (k *Keystone) addGroup(name, domainID string) *group {
	g := &group{id: k.randomID(), name: name, domain: domainID}
	k.groups.put(g.id, g)
	return g
}

// removeGroup also removes the group's role assignments and memberships.
func (k *Keystone) removeGroup(g *group) {
	k.groups.remove(g.id)
	delete(k.members, g.id)
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
	return http.StatusCreated, object{"group": g.show(c)}, nil
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

// AddToGroup makes the user a member of the group.
func (k *Keystone) AddToGroup(userID, groupID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.addToGroup(userID, groupID)
}

func (k *Keystone) addToGroup(userID, groupID string) {
	if k.members[groupID] == nil {
		k.members[groupID] = map[string]bool{}
	}
	k.members[groupID][userID] = true
}

// memberIn returns the ids of the group and the user in the path of the request. Both must exist.
func (k *Keystone) memberIn(c call, rule string) (groupID, userID string, err error) {
	groupID, userID = c.PathValue("id"), c.PathValue("user")
	if err := k.require(c, rule); err != nil {
		return "", "", err
	}
	if k.groups.get(groupID) == nil {
		return "", "", notFound("group", groupID)
	}
	if k.users.get(userID) == nil {
		return "", "", notFound("user", userID)
	}
	return groupID, userID, nil
}

func (k *Keystone) addMember(c call) (int, any, error) {
	groupID, userID, err := k.memberIn(c, "add_user_to_group")
	if err != nil {
		return 0, nil, err
	}
	k.addToGroup(userID, groupID)
	return http.StatusNoContent, nil, nil
}

func (k *Keystone) checkMember(c call) (int, any, error) {
	groupID, userID, err := k.memberIn(c, "check_user_in_group")
	if err == nil && !k.members[groupID][userID] {
		err = notMember(groupID, userID)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

func (k *Keystone) removeMember(c call) (int, any, error) {
	groupID, userID, err := k.memberIn(c, "remove_user_from_group")
	if err == nil && !k.members[groupID][userID] {
		err = notMember(groupID, userID)
	}
	if err != nil {
		return 0, nil, err
	}
	delete(k.members[groupID], userID)
	return http.StatusNoContent, nil, nil
}

func notMember(groupID, userID string) error {
	return fault{status: http.StatusNotFound, message: "User '" + userID + "' not found in group '" + groupID + "'"}
}

// listGroupsOf lists the groups of a user. Users may list their own groups.
func (k *Keystone) listGroupsOf(c call) (int, any, error) {
	id := c.PathValue("id")
	u := k.users.get(id)
	self := u != nil && c.token != nil && c.token.user == id
	if err := k.require(c, "list_groups_for_user", self, u != nil && k.readsDomain(c, u.domain), k.readsSystem(c)); err != nil {
		return 0, nil, err
	}
	if u == nil {
		return 0, nil, notFound("user", id)
	}
	var found []*group
	for g := range k.groups.all() {
		if k.members[g.id][id] {
			found = append(found, g)
		}
	}
	return listed(c, "groups", found, false, func(g *group, c call) any {
		shown := g.show(c)
		shown["membership_expires_at"] = nil
		return shown
	})
}

func (g *group) show(c call) object {
	return object{
		"id": g.id, "name": g.name, "domain_id": g.domain, "description": "", "links": object{"self": c.self + "/groups/" + g.id},
	}
}
