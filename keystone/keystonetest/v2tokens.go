package keystonetest

import (
	"cmp"
	"net/http"
)

// createToken2 answers a login by password, and the exchange of a token. The tenant in the request is the scope of the new token. Without
// a tenant, the new token is unscoped. Identity v2.0 ignores the default tenant of the user in a login.
func (k *Keystone) createToken2(c call) (int, any, error) {
	auth, ok := c.body["auth"].(object)
	if !ok {
		return 0, nil, badRequest("Expecting to find auth in request body.")
	}
	t, err := k.authenticate2(auth)
	if err != nil {
		return 0, nil, err
	}
	p, asked := k.tenantOfScope(auth)
	switch {
	case asked && p == nil:
		return 0, nil, unauthorized
	case asked:
		t.project = p.id
		if err := k.enter(t); err != nil {
			return 0, nil, err
		}
	}
	text := k.issue(t)
	return http.StatusOK, object{"access": k.show2(c, text, t)}, nil
}

// authenticate2 returns a new token for the user whom the request identifies. A refusal does not tell the reason.
func (k *Keystone) authenticate2(auth object) (*token, error) {
	if old, ok := auth["token"].(object); ok {
		text, _ := old["id"].(string)
		if text == "" {
			return nil, badRequest("Expecting to find id in token.")
		}
		from, err := k.valid(text)
		if err != nil || from.credential != nil || k.users.get(from.user).domain != DefaultDomain {
			return nil, unauthorized
		}
		return &token{user: from.user, expires: from.expires, audit: from.audit[len(from.audit)-1:], methods: []string{"token", "password"}}, nil
	}
	who, ok := auth["passwordCredentials"].(object)
	if !ok {
		return nil, badRequest("Expecting to find passwordCredentials in auth.")
	}
	if _, ok := who["password"]; !ok {
		return nil, badRequest("Expecting to find password in passwordCredentials.")
	}
	name, _ := who["username"].(string)
	id, _ := who["userId"].(string)
	if name == "" && id == "" {
		return nil, badRequest("Expecting to find username or userId in passwordCredentials.")
	}
	u := k.users.get(id)
	if id == "" {
		u = k.userNamed(name, is(DefaultDomain))
	}
	if u != nil && u.domain != DefaultDomain {
		u = nil
	}
	if err := k.checked(u, who["password"]); err != nil {
		return nil, err
	}
	return &token{user: u.id, methods: []string{"password"}}, nil
}

// tenantOfScope returns the tenant that a login names by id or by name. The result `asked` reports whether the login names a tenant. If
// the tenant does not exist, the tenant is nil.
func (k *Keystone) tenantOfScope(auth object) (p *project, asked bool) {
	if id, ok := auth["tenantId"].(string); ok && id != "" {
		return k.tenant(id), true
	}
	if name, ok := auth["tenantName"].(string); ok && name != "" {
		return k.projectNamed(name, is(DefaultDomain)), true
	}
	return nil, false
}

// validateToken2 shows the token in the path. If the query names another tenant in `belongsTo`, the answer is 401.
func (k *Keystone) validateToken2(c call) (int, any, error) {
	text, t, err := k.subject2(c)
	if err != nil {
		return 0, nil, err
	}
	if wanted := c.query.Get("belongsTo"); wanted != "" && wanted != t.project {
		return 0, nil, unauthorized
	}
	return http.StatusOK, object{"access": k.show2(c, text, t)}, nil
}

func (k *Keystone) revokeToken2(c call) (int, any, error) {
	_, t, err := k.subject2(c)
	if err != nil {
		return 0, nil, err
	}
	t.revoked = true
	return http.StatusNoContent, nil, nil
}

// subject2 returns the token in the path. Only administrators may validate and revoke tokens.
func (k *Keystone) subject2(c call) (string, *token, error) {
	if err := k.requireAdmin(c); err != nil {
		return "", nil, err
	}
	text := c.PathValue("id")
	t, err := k.valid(text)
	if err != nil || k.users.get(t.user).domain != DefaultDomain {
		return "", nil, notFound2("token", text)
	}
	return text, t, nil
}

// show2 returns the token in the format of Identity v2.0. The user's roles have only names. Their ids are in the metadata, in any order.
func (k *Keystone) show2(c call, text string, t *token) object {
	const layout = "2006-01-02T15:04:05.000000Z"
	u := k.users.get(t.user)
	shown := object{
		"id": text, "audit_ids": t.audit, "issued_at": t.issued.Format(layout), "expires": t.expires.Format(layout),
	}
	names, ids := []object{}, []string{}
	catalog := []object{}
	if p := k.projects.get(t.project); p != nil {
		shown["tenant"] = object{"id": p.id, "name": p.name, "description": p.description, "enabled": p.enabled}
		for _, r := range k.tokenRoles(t) {
			names = append(names, object{"name": r.name})
			ids = append([]string{r.id}, ids...)
		}
		self := "http://" + c.Host + "/v2.0"
		public, admin := cmp.Or(k.urls.public, self), cmp.Or(k.urls.admin, self)
		catalog = append(catalog, object{"name": "keystone", "type": "identity", "endpoints_links": []object{}, "endpoints": []object{
			{"id": "identity", "region": "RegionOne", "publicURL": public, "internalURL": public, "adminURL": admin},
		}})
	}
	return object{
		"token":          shown,
		"user":           object{"id": u.id, "name": u.name, "username": u.name, "roles": names, "roles_links": []object{}},
		"serviceCatalog": catalog,
		"metadata":       object{"roles": ids, "is_admin": 0},
	}
}
