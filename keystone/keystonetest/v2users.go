package keystonetest

import (
	"maps"
	"net/http"
	"strings"
)

func (k *Keystone) createUser2(c call) (int, any, error) {
	if err := k.requireAdmin(c); err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["user"].(object)
	if name, _ := wanted["name"].(string); strings.TrimSpace(name) == "" {
		return 0, nil, badRequest("Name field is required and cannot be empty")
	}
	if err := malformedUser(wanted); err != nil {
		return 0, nil, err
	}
	if err := k.refusesPassword(wanted["password"]); err != nil {
		return 0, nil, err
	}
	u := &user{domain: DefaultDomain, enabled: true}
	u.set(fields2(wanted))
	if k.userNamed(u.name, is(DefaultDomain)) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store user - Duplicate entry found with name %s at domain ID %s.",
			u.name, DefaultDomain)
	}
	k.setPassword(u, u.password, false)
	return http.StatusOK, object{"user": k.addUser(u).show2()}, nil
}

// fields2 returns the fields of the request without `username` and `tenantId`, which the method `set` would store as unknown fields.
func fields2(wanted object) object {
	fields := cloned(wanted)
	delete(fields, "username")
	delete(fields, "tenantId")
	return fields
}

func (u *user) show2() object {
	shown := cloned(u.extra)
	maps.Copy(shown, object{"id": u.id, "name": u.name, "username": u.name, "enabled": u.enabled, "options": cloned(u.options)})
	return shown
}

// listUsers2 lists all users of the domain "default". With a name in the query, the answer contains one user, not a list.
func (k *Keystone) listUsers2(c call) (int, any, error) {
	if err := k.requireAdmin(c); err != nil {
		return 0, nil, err
	}
	if names, ok := c.query["name"]; ok {
		u := k.userNamed(names[0], is(DefaultDomain))
		if u == nil {
			return 0, nil, notFound2("user", names[0])
		}
		return http.StatusOK, object{"user": u.show2()}, nil
	}
	var found []*user
	for u := range k.users.all() {
		if u.domain == DefaultDomain {
			found = append(found, u)
		}
	}
	return listed2("users", found, (*user).show2)
}

// userOf2 returns the user in the path of the request if the caller is an administrator.
func (k *Keystone) userOf2(c call) (*user, error) {
	if err := k.requireAdmin(c); err != nil {
		return nil, err
	}
	u := k.users.get(c.PathValue("id"))
	if u == nil || u.domain != DefaultDomain {
		return nil, notFound2("user", c.PathValue("id"))
	}
	return u, nil
}

func (k *Keystone) getUser2(c call) (int, any, error) {
	u, err := k.userOf2(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"user": u.show2()}, nil
}

func (k *Keystone) updateUser2(c call) (int, any, error) {
	u, err := k.userOf2(c)
	if err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["user"].(object)
	if wanted == nil {
		return 0, nil, badRequest("Expecting to find user in request body.")
	}
	if err := malformedUser(wanted); err != nil {
		return 0, nil, err
	}
	wanted = fields2(wanted)
	u, err = k.change(u, wanted, u.withFields(wanted))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"user": u.show2()}, nil
}

func (k *Keystone) deleteUser2(c call) (int, any, error) {
	u, err := k.userOf2(c)
	if err != nil {
		return 0, nil, err
	}
	k.removeUser(u)
	return http.StatusNoContent, nil, nil
}

func (r *role) show2() object { return object{"id": r.id, "name": r.name, "domain_id": nil} }

func (k *Keystone) createRole2(c call) (int, any, error) {
	if err := k.requireAdmin(c); err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["role"].(object)
	name, _ := wanted["name"].(string)
	if name == "" {
		return 0, nil, badRequest("Name field is required and cannot be empty")
	}
	if k.roles.find(func(r *role) bool { return k.same(r.name, name) }) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store role - Duplicate entry found with name %s.", name)
	}
	return http.StatusOK, object{"role": k.addRole(name, false).show2()}, nil
}

// listRoles2 lists all roles. It ignores a name in the query.
func (k *Keystone) listRoles2(c call) (int, any, error) {
	if err := k.requireAdmin(c); err != nil {
		return 0, nil, err
	}
	shown := []object{}
	for r := range k.roles.all() {
		shown = append(shown, r.show2())
	}
	return http.StatusOK, object{"roles": shown}, nil
}

func (k *Keystone) roleOf2(c call) (*role, error) {
	if err := k.requireAdmin(c); err != nil {
		return nil, err
	}
	r := k.roles.get(c.PathValue("id"))
	if r == nil {
		return nil, notFound2("role", c.PathValue("id"))
	}
	return r, nil
}

func (k *Keystone) getRole2(c call) (int, any, error) {
	r, err := k.roleOf2(c)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, object{"role": r.show2()}, nil
}

func (k *Keystone) deleteRole2(c call) (int, any, error) {
	r, err := k.roleOf2(c)
	if err != nil {
		return 0, nil, err
	}
	k.removeRole(r)
	return http.StatusNoContent, nil, nil
}
