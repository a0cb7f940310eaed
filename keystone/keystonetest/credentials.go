package keystonetest

import (
	"net/http"
)

// createApplicationCredential creates a credential for the project to which the caller's token is scoped.
func (k *Keystone) createApplicationCredential(c call) (int, any, error) {
	if err := k.requireSelf(c, "create_application_credential"); err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["application_credential"].(object)
	name, _ := wanted["name"].(string)
	if name == "" {
		return 0, nil, badRequest("'name' is a required property")
	}
	if k.credentials.find(func(a *applicationCredential) bool { return a.user == c.token.user && a.name == name }) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store application_credential - Duplicate entry found with name %s.", name)
	}
	a := &applicationCredential{id: k.randomID(), name: name, secret: k.randomText(64), user: c.token.user, project: c.token.project}
	k.credentials.put(a.id, a)
	roles := []any{}
	for _, r := range k.tokenRoles(c.token) {
		shown := r.show(c)
		delete(shown.(object), "links")
		roles = append(roles, shown)
	}
	return http.StatusCreated, object{"application_credential": object{
		"id": a.id, "name": a.name, "secret": a.secret, "user_id": a.user, "project_id": a.project, "roles": roles,
		"description": nil, "expires_at": nil, "system": nil, "unrestricted": nil,
		"links": object{"self": c.self + "/application_credentials/" + a.id},
	}}, nil
}

func (k *Keystone) deleteApplicationCredential(c call) (int, any, error) {
	if err := k.requireSelf(c, "delete_application_credential"); err != nil {
		return 0, nil, err
	}
	id := c.PathValue("credential")
	if a := k.credentials.get(id); a == nil || a.user != c.token.user {
		return 0, nil, notFound("application credential", id)
	}
	k.credentials.remove(id)
	return http.StatusNoContent, nil, nil
}

// requireSelf refuses every caller except the user in the path. The caller's token must be scoped to a project, and must not come
// from an application credential.
func (k *Keystone) requireSelf(c call, rule string) error {
	if c.token == nil {
		return unauthorized
	}
	if c.token.user != c.PathValue("id") || c.token.project == "" || c.token.credential != nil {
		return forbidden("You are not authorized to perform the requested action: identity:" + rule + ".")
	}
	return nil
}
