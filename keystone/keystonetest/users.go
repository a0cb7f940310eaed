package keystonetest

import (
	"net/http"
)

func (k *Keystone) createUser(c call) (int, any, error) {
	wanted, _ := c.body["user"].(object)
	u := &user{enabled: true}
	u.set(wanted)
	if u.name == "" {
		return 0, nil, badRequest("'name' is a required property")
	}
	if err := k.require(c, "create_user"); err != nil {
		return 0, nil, err
	}
	u.domain = k.homeOf(c.token)
	if home, ok := wanted["domain_id"].(string); ok {
		u.domain = home
	}
	if k.domain(u.domain) == nil {
		return 0, nil, notFound("domain", u.domain)
	}
	if k.userNamed(u.name, is(u.domain)) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store user - Duplicate entry found with name %s at domain ID %s.", u.name, u.domain)
	}
	k.addUser(u)
	return http.StatusCreated, object{"user": u.show(c)}, nil
}

func (u *user) set(wanted object) {
	for field, value := range wanted {
		text, _ := value.(string)
		switch field {
		case "name":
			u.name = text
		case "password":
			u.password = text
		case "default_project_id":
			u.defaultProject = text
		case "enabled":
			u.enabled = value != false
		}
	}
}

func (u *user) show(c call) any {
	shown := object{
		"id": u.id, "name": u.name, "domain_id": u.domain, "enabled": u.enabled, "password_expires_at": nil,
		"options": object{}, "links": object{"self": c.self + "/users/" + u.id},
	}
	if u.defaultProject != "" {
		shown["default_project_id"] = u.defaultProject
	}
	return shown
}

func (k *Keystone) listUsers(c call) (int, any, error) {
	if err := k.requireReader(c, "list_users"); err != nil {
		return 0, nil, err
	}
	// If the query has no filter domain_id, a domain token lists the users of its own domain. If the filter names another domain,
	// Keystone first cuts the list, and then drops all users.
	home := c.query.Get("domain_id")
	if home == "" {
		home = c.token.domain
	}
	names := nameFiltersOf(c.query)
	found, truncated := limited(k, k.users.all(), names, (*user).title, func(u *user) bool {
		return k.hasName(c, u.name) && (home == "" || u.domain == home)
	}, func(u *user) bool { return c.inReach(u.domain) })
	return listed(c, "users", found, truncated, (*user).show)
}

func (u *user) title() string { return u.name }

func (k *Keystone) userOf(c call, rule string, others ...bool) (*user, error) {
	if err := k.require(c, rule, others...); err != nil {
		return nil, err
	}
	u := k.users.get(c.PathValue("id"))
	if u == nil {
		return nil, notFound("user", c.PathValue("id"))
	}
	return u, nil
}

func (k *Keystone) getUser(c call) (int, any, error) {
	self, inDomain := false, false
	if u := k.users.get(c.PathValue("id")); u != nil && c.token != nil {
		self, inDomain = c.token.user == u.id, k.readsDomain(c, u.domain)
	}
	u, err := k.userOf(c, "get_user", self, inDomain, k.readsSystem(c))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"user": u.show(c)}, nil
}

func (k *Keystone) patchUser(c call) (int, any, error) {
	u, err := k.userOf(c, "update_user")
	if err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["user"].(object)
	shown := k.updateUser(u, func(u *user) { u.set(wanted) }).show(c).(object)
	shown["extra"] = object{}
	return http.StatusOK, object{"user": shown}, nil
}

func (k *Keystone) deleteUser(c call) (int, any, error) {
	u, err := k.userOf(c, "delete_user")
	if err != nil {
		return 0, nil, err
	}
	k.removeUser(u)
	return http.StatusNoContent, nil, nil
}
