package keystonetest

import (
	"net/http"
	"slices"
)

func (k *Keystone) createToken(c call) (int, any, error) {
	auth, ok := c.body["auth"].(object)
	if !ok {
		return 0, nil, badRequest("Expecting to find auth in request body.")
	}
	identity, ok := auth["identity"].(object)
	if !ok {
		return 0, nil, badRequest("'identity' is a required property")
	}
	// Keystone checks the scope before the token. If the project in the scope is missing, the answer is 401 even for a valid token. An
	// invalid token therefore gets a 404 only if the project exists.
	project, err := k.scopedProject(auth["scope"])
	if err != nil {
		return 0, nil, err
	}
	t, err := k.authenticate(identity)
	if err != nil {
		return 0, nil, err
	}
	if required, missing := k.users.get(t.user).missingMethods(t.methods); missing {
		return k.receipt(c, t, required)
	}
	if err := k.scope(t, auth["scope"], project); err != nil {
		return 0, nil, err
	}
	c.header.Set("X-Subject-Token", k.issue(t))
	return http.StatusCreated, object{"token": k.show(c, t)}, nil
}

// The method `authenticate` returns a new token for the user whom the request identifies.
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
		if err := k.checked(u, who["password"]); err != nil {
			return nil, err
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
		id, _ := content["id"].(string)
		found := k.credentials.get(id)
		if found == nil || content["secret"] != found.secret || !k.users.get(found.user).enabled {
			return nil, unauthorized
		}
		t.user, t.project, t.credential = found.user, found.project, found
	default:
		return nil, unauthorized
	}
	return t, nil
}

// The method `named` looks up the user of a login. The parameter `who` contains the user's id, or the user's name and domain. If there
// is no such user, `named` returns nil.
func (k *Keystone) named(who object) (*user, error) {
	if id, ok := who["id"].(string); ok {
		return k.users.get(id), nil
	}
	home, ok := who["domain"].(object)
	if !ok {
		return nil, badRequest("Expecting to find domain in user.")
	}
	name, _ := who["name"].(string)
	return k.userNamed(name, func(id string) bool { return k.isDomain(id, home) }), nil
}

// isDomain reports whether the object contains the id or the name of the domain with this id.
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
	p := k.projects.get(found)
	if found == "" {
		home, ok := named["domain"].(object)
		if !ok {
			return nil, badRequest("Expecting to find domain in project.")
		}
		name, _ := named["name"].(string)
		p = k.projectNamed(name, func(id string) bool { return k.isDomain(id, home) })
	}
	if p == nil || !p.enabled {
		return nil, unauthorized
	}
	return p, nil
}

// The method `scope` stores the requested scope in the token. The parameter `asked` is the requested project. As in the real Keystone,
// a refusal contains no reason.
func (k *Keystone) scope(t *token, wanted any, asked *project) error {
	if t.credential != nil {
		if wanted != nil {
			return fault{
				status:  http.StatusUnauthorized,
				message: "Error authenticating with application credential: Application credentials cannot request a scope.",
				more:    object{"identity": object{}},
			}
		}
		if p := k.projects.get(t.project); p != nil && !p.enabled {
			return p.disabled()
		}
		return k.enter(t)
	}
	scope, ok := wanted.(object)
	if !ok {
		if p := k.users.get(t.user).defaultProject; wanted == nil && p != "" && t.methods[0] != "token" {
			t.project = p
			if k.enter(t) != nil { // ignore a default project on which the user has no role
				t.project = ""
			}
		}
		return nil
	}
	system, _ := scope["system"].(object)
	named, inDomain := scope["domain"].(object)
	switch {
	case system["all"] == true:
		t.system = true
	case inDomain && named["id"] == nil && named["name"] == nil:
		return badRequest("Invalid input for field scope/domain: id or name must be present.")
	case inDomain:
		d := k.domains.find(func(d *domain) bool { return k.isDomain(d.id, named) })
		if d == nil {
			return unauthorized
		}
		t.domain = d.id
	case asked != nil:
		t.project = asked.id
	}
	return k.enter(t)
}

// The method `enter` refuses a token if its project is disabled, or if its user has no role in the token's scope.
func (k *Keystone) enter(t *token) error {
	if p := k.projects.get(t.project); p != nil && !p.enabled || len(k.tokenRoles(t)) == 0 {
		return unauthorized
	}
	return nil
}
