package keystonetest

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"time"
)

// The method `issue` stores the token and returns its text. If t.expires is zero, the token expires after k.lifetime.
func (k *Keystone) issue(t *token) string {
	maps.DeleteFunc(k.tokens, func(_ string, t *token) bool { return !k.now().Before(t.expires) })
	t.issued = k.now().UTC().Truncate(time.Second)
	if t.expires.IsZero() {
		t.expires = t.issued.Add(k.lifetime)
	}
	t.audit = append([]string{k.randomText(16)}, t.audit...)
	size := 117 // so that the text has 163 characters; the text of a scoped token has 201 characters
	if t.project != "" {
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
	if u := k.user(t.user); u == nil || !u.enabled || t.revoked {
		return nil, invalid
	}
	if t.project == "" {
		return t, nil
	}
	p := k.project(t.project)
	switch {
	case p == nil, t.credential != nil && !slices.Contains(k.credentials, t.credential):
		return nil, invalid
	case !p.enabled:
		return t, p.disabled()
	case len(k.rolesOn(t.user, t.project)) == 0:
		return nil, invalid
	}
	return t, nil
}

// The method `disabled` returns the answer to a request with a token of the disabled project.
func (p *project) disabled() error {
	return fault{status: http.StatusNotFound, message: "Unable to validate token because project " + p.id + " is disabled"}
}

// tokenRoles returns the roles that the token's user currently has in the token's scope.
func (k *Keystone) tokenRoles(t *token) []*role {
	if t.system {
		return k.systemRoles(t.user)
	}
	if t.project == "" {
		return nil
	}
	return k.rolesOn(t.user, t.project)
}

// systemRoles returns the roles of a user on the system. Only the bootstrap administrator has roles on the system.
func (k *Keystone) systemRoles(userID string) []*role {
	if k.users[0].id != userID {
		return nil
	}
	return k.roles[:3]
}

func (k *Keystone) createToken(c call) (int, any, error) {
	auth, ok := c.body["auth"].(object)
	if !ok {
		return 0, nil, badRequest("Expecting to find auth in request body.")
	}
	identity, ok := auth["identity"].(object)
	if !ok {
		return 0, nil, badRequest("'identity' is a required property")
	}
	// Keystone checks the scope before the token. If the project in the scope is missing, the answer is 401 for valid tokens too. An
	// invalid token therefore gets a 404 only if the project exists.
	project, err := k.scopedProject(auth["scope"])
	if err != nil {
		return 0, nil, err
	}
	t, err := k.authenticate(identity)
	if err != nil {
		return 0, nil, err
	}
	if err := k.scope(t, auth["scope"], project); err != nil {
		return 0, nil, err
	}
	c.header.Set("X-Subject-Token", k.issue(t))
	return http.StatusCreated, object{"token": k.show(c, t)}, nil
}

// The method `authenticate` returns a new token for the user that the request identifies.
func (k *Keystone) authenticate(identity object) (*token, error) {
	methods, _ := identity["methods"].([]any)
	if len(methods) != 1 {
		return nil, unauthorized
	}
	method, _ := methods[0].(string)
	content, ok := identity[method].(object)
	if !ok {
		return nil, badRequest("Expecting to find %s in identity.", method)
	}
	t := &token{methods: []string{method}}
	switch method {
	case "password":
		who, ok := content["user"].(object)
		if !ok {
			return nil, badRequest("Expecting to find user in password.")
		}
		u, err := k.named(who)
		if err != nil {
			return nil, err
		}
		if u == nil || !u.enabled || u.password == "" || who["password"] != u.password {
			return nil, unauthorized
		}
		t.user = u.id
	case "token":
		text, _ := content["id"].(string)
		old, err := k.valid(text)
		if err != nil {
			return nil, err
		}
		if old.credential != nil {
			return nil, fault{status: http.StatusForbidden, message: "You are not authorized to perform the requested action: " +
				"Using a delegated token to create another token is not allowed.."}
		}
		t.user, t.expires, t.audit = old.user, old.expires, old.audit[len(old.audit)-1:]
		t.methods = slices.Compact(append([]string{"token"}, old.methods...))
	case "application_credential":
		found := find(k.credentials, func(a *applicationCredential) bool { return a.id == content["id"] })
		if found == nil || content["secret"] != found.secret || !k.user(found.user).enabled {
			return nil, unauthorized
		}
		t.user, t.project, t.credential = found.user, found.project, found
	default:
		return nil, unauthorized
	}
	return t, nil
}

// The method `named` looks up the user of a login. The parameter `who` contains the user's id, or the user's name and domain. If
// there is no such user, `named` returns nil.
func (k *Keystone) named(who object) (*user, error) {
	if id, ok := who["id"].(string); ok {
		return k.user(id), nil
	}
	home, ok := who["domain"].(object)
	if !ok {
		return nil, badRequest("Expecting to find domain in user.")
	}
	return find(k.users, func(u *user) bool { return k.sameValue(who["name"], u.name) && k.isDomain(u.domain, home) }), nil
}

// isDomain reports whether the object contains the id or the name of this domain.
func (k *Keystone) isDomain(id string, named object) bool {
	d := k.domain(id)
	return d != nil && (k.sameValue(named["id"], d.id) || k.sameValue(named["name"], d.name))
}

// scopedProject returns the project of the requested scope, or nil if the request asks for no project. A missing or disabled
// project is refused with a 401.
func (k *Keystone) scopedProject(wanted any) (*project, error) {
	scope, _ := wanted.(object)
	named, ok := scope["project"].(object)
	if !ok {
		return nil, nil
	}
	found, _ := named["id"].(string)
	p := k.project(found)
	if found == "" {
		home, ok := named["domain"].(object)
		if !ok {
			return nil, badRequest("Expecting to find domain in project.")
		}
		p = find(k.projects, func(p *project) bool { return k.sameValue(named["name"], p.name) && k.isDomain(p.domain, home) })
	}
	if p == nil || !p.enabled {
		return nil, unauthorized
	}
	return p, nil
}

// The method `scope` sets the scope of the token to the requested scope. The parameter `asked` is the requested project. As in the
// real Keystone, a refusal contains no reason.
func (k *Keystone) scope(t *token, wanted any, asked *project) error {
	if t.credential != nil {
		if wanted != nil {
			return fault{
				status:  http.StatusUnauthorized,
				message: "Error authenticating with application credential: Application credentials cannot request a scope.",
				more:    object{"identity": object{}},
			}
		}
		if p := k.project(t.project); p != nil && !p.enabled {
			return p.disabled()
		}
		return k.enter(t)
	}
	scope, ok := wanted.(object)
	if !ok {
		if p := k.user(t.user).defaultProject; wanted == nil && p != "" && t.methods[0] != "token" {
			t.project = p
			if k.enter(t) != nil { // ignore a default project on which the user has no role
				t.project = ""
			}
		}
		return nil
	}
	if system, ok := scope["system"].(object); ok && system["all"] == true {
		t.system = len(k.systemRoles(t.user)) > 0
		if !t.system {
			return unauthorized
		}
		return nil
	}
	if asked == nil {
		return unauthorized // no user of this Keystone has a role on a domain
	}
	t.project = asked.id
	return k.enter(t)
}

func (k *Keystone) enter(t *token) error {
	p := k.project(t.project)
	if p == nil || !p.enabled || len(k.rolesOn(t.user, t.project)) == 0 {
		return unauthorized
	}
	return nil
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
	u := k.user(t.user)
	shown := object{
		"methods":    t.methods,
		"user":       object{"id": u.id, "name": u.name, "domain": k.domainOf(u.domain), "password_expires_at": nil},
		"audit_ids":  t.audit,
		"issued_at":  t.issued.Format(layout),
		"expires_at": t.expires.Format(layout),
	}
	if !t.system && t.project == "" {
		return shown
	}
	if t.system {
		shown["system"] = object{"all": true}
	} else {
		p := k.project(t.project)
		shown["project"] = object{"id": p.id, "name": p.name, "domain": k.domainOf(p.domain)}
		shown["is_domain"] = false
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

func (k *Keystone) domainOf(id string) object {
	d := k.domain(id)
	return object{"id": d.id, "name": d.name}
}
