package keystonetest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

func (k *Keystone) createUser(c call) (int, any, error) {
	if err := k.require(c, "create_user"); err != nil {
		return 0, nil, err
	}
	wanted, _ := c.body["user"].(object)
	if _, ok := wanted["name"]; !ok {
		return 0, nil, badRequest("'name' is a required property")
	}
	if err := malformedUser(wanted); err != nil {
		return 0, nil, err
	}
	u := &user{domain: k.homeOf(c.token), enabled: true}
	if home, ok := wanted["domain_id"].(string); ok {
		u.domain = home
	}
	if err := k.refusesPassword(wanted["password"]); err != nil {
		return 0, nil, err
	}
	if k.domain(u.domain) == nil {
		return 0, nil, notFound("domain", u.domain)
	}
	u.set(wanted)
	if k.userNamed(u.name, is(u.domain)) != nil {
		return 0, nil, conflict("Conflict occurred attempting to store user - Duplicate entry found with name %s at domain ID %s.", u.name, u.domain)
	}
	k.setPassword(u, u.password, false)
	k.addUser(u)
	return http.StatusCreated, object{"user": u.show(c)}, nil
}

// malformedUser returns the error for a field that does not match Keystone's schema.
func malformedUser(wanted object) error {
	invalid := func(field, format string, args ...any) error {
		return badRequest("Invalid input for field '%s': %s", field, fmt.Sprintf(format, args...))
	}
	if value, ok := wanted["name"]; ok {
		switch name, isText := value.(string); {
		case !isText:
			return invalid("name", "%v is not of type 'string'", value)
		case name == "":
			return invalid("name", "'' is too short")
		case utf8.RuneCountInString(name) > 255:
			return invalid("name", "'%s' is too long", name)
		case strings.TrimSpace(name) == "":
			return invalid("name", `'%s' does not match '[\\S]+'`, name)
		}
	}
	if value := wanted["password"]; value != nil {
		if _, ok := value.(string); !ok {
			return invalid("password", "%v is not of type 'string', 'null'", value)
		}
	}
	if value, ok := wanted["enabled"]; ok {
		if _, isBool := value.(bool); !isBool {
			return invalid("enabled", "%v is not of type 'boolean'", value)
		}
	}
	value, ok := wanted["options"]
	options, isObject := value.(object)
	if ok && !isObject {
		return invalid("options", "%v is not of type 'object'", value)
	}
	for name, value := range options {
		_, isBool := value.(bool)
		_, isList := value.([]any)
		switch {
		case name == "multi_factor_auth_rules":
			if value != nil && !isList {
				return invalid("options/"+name, "%v is not of type 'array', 'null'", value)
			}
		case !slices.Contains(userFlags, name):
			return invalid("options", "Additional properties are not allowed ('%s' was unexpected)", name)
		case value != nil && !isBool:
			return invalid("options/"+name, "%v is not of type 'boolean', 'null'", value)
		}
	}
	return nil
}

// userFlags are the options of users that are true or false.
var userFlags = []string{
	"ignore_change_password_upon_first_use", "ignore_password_expiry", "ignore_lockout_failure_attempts", "lock_password",
	"ignore_user_inactivity", "multi_factor_auth_enabled",
}

// The method `set` copies the fields of the request to the user. The user is a new user, or a copy of a stored user. As in Keystone, the
// name is stored without blanks at its ends, and unknown fields, such as the e-mail address, are stored too.
func (u *user) set(wanted object) {
	u.extra, u.options = cloned(u.extra), cloned(u.options) // clones, because a stored user must not change
	for field, value := range wanted {
		text, _ := value.(string)
		switch field {
		case "id", "domain_id", "links", "federated":
		case "name":
			u.name = strings.TrimSpace(text)
		case "password":
			u.password = text
		case "default_project_id":
			u.defaultProject = text
		case "enabled":
			u.enabled = value != false
		case "options":
			u.setOptions(value)
		default:
			u.extra[field] = value
		}
	}
}

// setOptions sets some options of the user, and keeps the others. The value null removes an option.
func (u *user) setOptions(wanted any) {
	options, _ := wanted.(object)
	for name, value := range options {
		if u.options[name] = value; value == nil {
			delete(u.options, name)
		}
	}
}

func cloned(m object) object {
	if m == nil {
		return object{}
	}
	return maps.Clone(m)
}

func (u *user) show(c call) any {
	shown := cloned(u.extra)
	maps.Copy(shown, object{
		"id": u.id, "name": u.name, "domain_id": u.domain, "enabled": u.enabled, "password_expires_at": u.expiry(),
		"options": cloned(u.options), "links": object{"self": c.self + "/users/" + u.id},
	})
	if u.defaultProject != "" {
		shown["default_project_id"] = u.defaultProject
	}
	return shown
}

// The method `expiry` returns the time at which the password expires, or nil. Unlike other times in Keystone's answers, it has no time
// zone.
func (u *user) expiry() any {
	if u.expires.IsZero() {
		return nil
	}
	return u.expires.UTC().Format("2006-01-02T15:04:05.000000")
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
	names := k.nameFiltersOf(c.query)
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
	if len(wanted) == 0 {
		return 0, nil, badRequest("{} does not have enough properties")
	}
	if err := malformedUser(wanted); err != nil {
		return 0, nil, err
	}
	u, err = k.change(u, wanted, u.withFields(wanted))
	if err != nil {
		return 0, nil, err
	}
	shown := u.show(c).(object)
	shown["extra"] = cloned(u.extra)
	return http.StatusOK, object{"user": shown}, nil
}

// withFields returns a copy of the user with the fields of the request.
func (u *user) withFields(wanted object) *user {
	changed := *u
	changed.set(wanted)
	return &changed
}

// The method `change` replaces a stored user with a changed copy. If the request sets a password, the user's tokens are revoked, even if
// the password is the same as before. As in Keystone, every change of an enabled user unlocks the user.
func (k *Keystone) change(old *user, wanted object, changed *user) (*user, error) {
	if err := k.refusesPassword(wanted["password"]); err != nil {
		return nil, err
	}
	if other := k.userNamed(changed.name, is(old.domain)); other != nil && other.id != old.id {
		return nil, conflict("Conflict occurred attempting to store user - Duplicate entry found with name %s.", changed.name)
	}
	if _, ok := wanted["password"]; ok {
		k.setPassword(changed, changed.password, true)
	}
	if changed.enabled {
		changed.failures = 0
	}
	stored := k.updateUser(old, func(u *user) { *u = *changed })
	if wanted["password"] != nil {
		k.passwordSet[stored.id] = k.now().UTC().Truncate(time.Second)
	}
	return stored, nil
}

func (k *Keystone) deleteUser(c call) (int, any, error) {
	u, err := k.userOf(c, "delete_user")
	if err != nil {
		return 0, nil, err
	}
	k.removeUser(u)
	return http.StatusNoContent, nil, nil
}
