package keystonetest

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/tenantry/tenantry/keystone"
)

func (k *Keystone) createUser(c call) (int, any, error) {
	wanted, _ := c.body["user"].(object)
	u := &user{domain: DefaultDomain, enabled: true}
	u.set(wanted)
	if u.name == "" {
		return 0, nil, badRequest("'name' is a required property")
	}
	if err := k.require(c, "create_user"); err != nil {
		return 0, nil, err
	}
	if enabled, ok := wanted["enabled"].(bool); ok {
		u.enabled = enabled
	}
	if home, ok := wanted["domain_id"].(string); ok {
		u.domain = home
	}
	if k.domain(u.domain) == nil {
		return 0, nil, notFound("domain", u.domain)
	}
	if find(k.users, func(other *user) bool { return other.domain == u.domain && k.same(other.name, u.name) }) != nil {
		return 0, nil, fault{status: http.StatusConflict, message: fmt.Sprintf("Conflict occurred attempting to store user - "+
			"Duplicate entry found with name %s at domain ID %s.", u.name, u.domain)}
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
		}
	}
}

func (u *user) show(c call) object {
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
	if err := k.require(c, "list_users"); err != nil {
		return 0, nil, err
	}
	var found []object
	for _, u := range k.users {
		if k.hasName(c, u.name) && c.matches("domain_id", u.domain) {
			found = append(found, u.show(c))
		}
	}
	return c.listed("users", found)
}

func (k *Keystone) userOf(c call, rule string, others ...bool) (*user, error) {
	if err := k.require(c, rule, others...); err != nil {
		return nil, err
	}
	u := k.user(c.PathValue("id"))
	if u == nil {
		return nil, notFound("user", c.PathValue("id"))
	}
	return u, nil
}

func (k *Keystone) getUser(c call) (int, any, error) {
	u, err := k.userOf(c, "get_user", c.token != nil && c.token.user == c.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"user": u.show(c)}, nil
}

func (k *Keystone) updateUser(c call) (int, any, error) {
	u, err := k.userOf(c, "update_user")
	if err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["user"].(object)
	u.set(wanted)
	if enabled, ok := wanted["enabled"].(bool); ok {
		k.enableUser(u, enabled)
	}
	shown := u.show(c)
	shown["extra"] = object{}
	return http.StatusOK, object{"user": shown}, nil
}

func (k *Keystone) deleteUser(c call) (int, any, error) {
	u, err := k.userOf(c, "delete_user")
	if err != nil {
		return 0, nil, err
	}
	k.users = slices.DeleteFunc(k.users, func(other *user) bool { return other == u })
	k.grants = slices.DeleteFunc(k.grants, func(g keystone.Assignment) bool { return g.UserID == u.id })
	k.credentials = slices.DeleteFunc(k.credentials, func(a *applicationCredential) bool { return a.user == u.id })
	return http.StatusNoContent, nil, nil
}
