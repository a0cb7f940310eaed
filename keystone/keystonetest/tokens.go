package keystonetest

import (
	"cmp"
	"encoding/base64"
	"maps"
	"net/http"
	"time"
)

// The method `issue` stores the token and returns its text. If t.expires is zero, the token expires after k.lifetime.
func (k *Keystone) issue(t *token) string {
	if len(k.tokens) >= k.sweepAt {
		maps.DeleteFunc(k.tokens, func(_ string, t *token) bool { return !k.now().Before(t.expires) })
		k.sweepAt = 2*len(k.tokens) + 64
	}
	t.issued = k.now().UTC().Truncate(time.Second)
	if t.expires.IsZero() {
		t.expires = t.issued.Add(k.lifetime)
	}
	t.audit = append([]string{k.randomText(16)}, t.audit...)
	size := 117 // the text of an unscoped token has 163 characters, and the text of a scoped token has 201
	if t.project != "" || t.domain != "" {
		size = 145
	}
	text := "gAAAAAB" + k.randomText(size)
	k.tokens[text] = t
	return text
}

func (k *Keystone) randomText(size int) string {
	return base64.RawURLEncoding.EncodeToString(k.randomBytes(size))
}

// The method `valid` returns the token with this text. If the token's project is disabled, `valid` returns both the token and an
// error.
func (k *Keystone) valid(text string) (*token, error) {
	t := k.tokens[text]
	if t == nil || !k.now().Before(t.expires) {
		return nil, fault{status: http.StatusNotFound, message: "Could not recognize Fernet token"}
	}
	invalid := fault{status: http.StatusNotFound, message: "Failed to validate token"}
	if u := k.users.get(t.user); u == nil || !u.enabled || t.revoked || k.bornRevoked(t) {
		return nil, invalid
	}
	if !t.system && t.project == "" && t.domain == "" {
		return t, nil
	}
	p := k.projects.get(t.project)
	switch {
	case t.project != "" && p == nil, t.credential != nil && k.credentials.get(t.credential.id) == nil:
		return nil, invalid
	case p != nil && !p.enabled:
		return t, p.disabled()
	case len(k.tokenRoles(t)) == 0:
		return nil, invalid
	}
	return t, nil
}

// bornRevoked reports whether the last change of the user's password makes the token invalid. At a change, Keystone 22 revokes all earlier
// tokens of the user. Keystone compares whole seconds. Therefore a token that is issued in the second of the change is invalid, even if it is
// issued after the change.
func (k *Keystone) bornRevoked(t *token) bool {
	at, ok := k.passwordSet[t.user]
	return ok && !t.issued.After(at)
}

// The method `disabled` returns the answer to a request with a token of the disabled project.
func (p *project) disabled() error {
	return fault{status: http.StatusNotFound, message: "Unable to validate token because project " + p.id + " is disabled"}
}

// tokenRoles returns the roles that the token's user currently has in the token's scope.
func (k *Keystone) tokenRoles(t *token) []*role {
	switch {
	case t.system:
		return k.rolesOnSystem(t.user)
	case t.domain != "":
		if d := k.domains.get(t.domain); d == nil || !d.enabled {
			return nil
		}
		return k.rolesOnDomain(t.user, t.domain)
	}
	p := k.projects.get(t.project)
	if p == nil {
		return nil
	}
	return k.rolesOn(t.user, p)
}

// homeOf returns the domain of a new object if the request names no domain. The parameter `t` is the token of the request.
func (k *Keystone) homeOf(t *token) string {
	if p := k.projects.get(t.project); p != nil {
		return p.domain
	}
	return cmp.Or(t.domain, DefaultDomain)
}

func (k *Keystone) validateToken(c call) (int, any, error) {
	text, t, err := k.subject(c, "validate_token")
	if err != nil {
		return 0, nil, err
	}
	c.header.Set("X-Subject-Token", text)
	return http.StatusOK, object{"token": k.show(c, t)}, nil
}

func (k *Keystone) revokeToken(c call) (int, any, error) {
	_, t, err := k.subject(c, "revoke_token")
	if err != nil {
		return 0, nil, err
	}
	t.revoked = true
	return http.StatusNoContent, nil, nil
}

// The method `subject` returns the text in the header X-Subject-Token, and the token with this text. Every user may validate and
// revoke their own tokens.
func (k *Keystone) subject(c call, rule string) (string, *token, error) {
	text := c.Header.Get("X-Subject-Token")
	if c.token == nil {
		return "", nil, unauthorized
	}
	if text == "" {
		return "", nil, fault{status: http.StatusNotFound, message: "No token in the request"}
	}
	t, err := k.valid(text)
	if err != nil {
		return "", nil, err
	}
	return text, t, k.require(c, rule, t.user == c.token.user)
}

// The method `show` returns the token in the JSON format of Keystone's API.
func (k *Keystone) show(c call, t *token) object {
	const layout = "2006-01-02T15:04:05.000000Z"
	u := k.users.get(t.user)
	shown := object{
		"methods":    t.methods,
		"user":       object{"id": u.id, "name": u.name, "domain": k.shortDomain(u.domain), "password_expires_at": nil},
		"audit_ids":  t.audit,
		"issued_at":  t.issued.Format(layout),
		"expires_at": t.expires.Format(layout),
	}
	p := k.projects.get(t.project)
	switch {
	case t.system:
		shown["system"] = object{"all": true}
	case t.domain != "":
		shown["domain"] = k.shortDomain(t.domain)
	case p != nil:
		shown["project"] = object{"id": p.id, "name": p.name, "domain": k.shortDomain(p.domain)}
		shown["is_domain"] = false
	default:
		return shown
	}
	roles := []object{}
	for _, r := range k.tokenRoles(t) {
		roles = append(roles, object{"id": r.id, "name": r.name})
	}
	shown["roles"] = roles
	if a := t.credential; a != nil {
		shown["application_credential"] = object{"id": a.id, "name": a.name, "restricted": true}
	}
	if !c.URL.Query().Has("nocatalog") {
		shown["catalog"] = []object{{"id": "identity", "name": "keystone", "type": "identity", "endpoints": []object{
			{"id": "public", "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": c.self},
		}}}
	}
	return shown
}

func (k *Keystone) shortDomain(id string) object {
	d := k.domain(id)
	return object{"id": d.id, "name": d.name}
}
