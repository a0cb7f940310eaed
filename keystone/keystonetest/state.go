package keystonetest

import (
	"cmp"
	"slices"
	"time"
)

// These types are the objects that Keystone stores. Keystone.mu guards the tables and the tokens. Only tokens are changed in place. An
// update of any other stored object replaces the object.
type (
	domain struct {
		id, name, description string
		enabled               bool
	}
	user struct {
		id, name, domain, password string
		defaultProject             string
		enabled                    bool
		extra                      object    // the fields that Keystone stores, but does not use, such as the e-mail address
		options                    object    // the resource options, such as the rules for multi-factor logins
		expires                    time.Time // of the password; zero means never
		failures                   int       // number of logins with a wrong password since the last login with the right password
		failedAt                   time.Time
	}
	group struct {
		id, name, domain string
	}
	role struct {
		id, name  string
		immutable bool
	}
	project struct {
		id, name, domain, parent, description string
		enabled                               bool
		tags                                  []string
		extra                                 map[string]any
	}
	// grant is a role assignment. It has a user or a group, and it is on a project, on a domain or on the system.
	grant struct {
		role, user, group string
		project, domain   string
		system            bool
		inherited         bool // valid on the projects below the project or domain, but not on the project or domain itself
	}
	applicationCredential struct {
		id, name, secret, user, project string
	}
	token struct {
		user            string
		project, domain string // the scope
		system          bool
		methods         []string
		audit           []string
		issued, expires time.Time
		revoked         bool
		credential      *applicationCredential
	}
)

// Lock k.mu before you call a function below.

func (k *Keystone) addUser(u *user) *user {
	u.id = cmp.Or(u.id, k.randomID())
	k.users.put(u.id, u)
	k.usersByName.add(k.plain(u.name), u.id)
	return u
}

// updateUser replaces a user with a changed copy.
func (k *Keystone) updateUser(old *user, change func(*user)) *user {
	u := *old
	change(&u)
	k.usersByName.remove(k.plain(old.name), old.id)
	k.addUser(&u)
	if old.enabled && !u.enabled {
		k.revokeTokens(u.id)
	}
	return &u
}

// revokeTokens revokes the tokens that the user has.
func (k *Keystone) revokeTokens(userID string) {
	for _, t := range k.tokens {
		t.revoked = t.revoked || t.user == userID
	}
}

// removeUser also removes the user's role assignments, memberships and application credentials.
func (k *Keystone) removeUser(u *user) {
	k.users.remove(u.id)
	delete(k.passwordSet, u.id)
	for _, members := range k.members {
		delete(members, u.id)
	}
	k.usersByName.remove(k.plain(u.name), u.id)
	k.revokeAll(k.grantsOf, u.id)
	k.removeCredentials(func(a *applicationCredential) bool { return a.user == u.id })
}

func (k *Keystone) addRole(name string, immutable bool) *role {
	r := &role{id: k.randomID(), name: name, immutable: immutable}
	k.roles.put(r.id, r)
	return r
}

func (k *Keystone) addProject(p *project) *project {
	p.id = cmp.Or(p.id, k.randomID())
	p.parent = cmp.Or(p.parent, p.domain)
	k.projects.put(p.id, p)
	k.projectsByName.add(k.plain(p.name), p.id)
	if p.parent != p.domain {
		k.children.add(p.parent, p.id)
	}
	return p
}

// updateProject replaces a project with a changed copy. The parent and the domain of a project do not change.
func (k *Keystone) updateProject(old *project, change func(*project)) *project {
	p := *old
	change(&p)
	k.projectsByName.remove(k.plain(old.name), old.id)
	k.projectsByName.add(k.plain(p.name), p.id)
	k.projects.put(p.id, &p)
	return &p
}

// removeProject also removes the project's role assignments and application credentials.
func (k *Keystone) removeProject(p *project) {
	k.projects.remove(p.id)
	k.projectsByName.remove(k.plain(p.name), p.id)
	k.children.remove(p.parent, p.id)
	k.revokeAll(k.grantsOn, p.id)
	k.removeCredentials(func(a *applicationCredential) bool { return a.project == p.id })
}

func (k *Keystone) removeCredentials(fits func(*applicationCredential) bool) {
	for a := range k.credentials.all() {
		if fits(a) {
			k.credentials.remove(a.id)
		}
	}
}

// childOf returns a child of the project. The function `fits` must return true for this child. If there is no such child, childOf
// returns nil.
func (k *Keystone) childOf(p *project, fits func(*project) bool) *project {
	for _, id := range k.children[p.id] {
		if child := k.projects.get(id); fits(child) {
			return child
		}
	}
	return nil
}

// actor is the key of a role assignment in Keystone.grantsOf, and target is its key in Keystone.grantsOn. An assignment on the system
// has an empty target.
func (g grant) actor() string  { return g.user + g.group }
func (g grant) target() string { return g.project + g.domain }

// The method `assign` stores a role assignment. The call may be repeated.
func (k *Keystone) assign(g grant) {
	if k.grants.get(g) != nil {
		return
	}
	k.grants.put(g, &g)
	k.grantsOf.add(g.actor(), &g)
	k.grantsOn.add(g.target(), &g)
}

// The method `revoke` removes a role assignment. The result reports whether the assignment existed.
func (k *Keystone) revoke(g grant) bool {
	stored := k.grants.get(g)
	if stored == nil {
		return false
	}
	k.grants.remove(g)
	k.grantsOf.remove(g.actor(), stored)
	k.grantsOn.remove(g.target(), stored)
	return true
}

// revokeAll removes the role assignments of one user or group, or on one project or domain.
func (k *Keystone) revokeAll(x index[*grant], id string) {
	all := x[id]
	delete(x, id) // so that revoke need not search this list
	for _, g := range all {
		k.revoke(*g)
	}
}

// The method `domain` returns the domain with this id. On MySQL, Keystone ignores the case of the id.
func (k *Keystone) domain(id string) *domain {
	if d := k.domains.get(id); d != nil || !k.loose {
		return d
	}
	return k.domains.find(func(d *domain) bool { return k.same(d.id, id) })
}

// projectNamed returns the project with this name in a domain for which the function `home` returns true. If there is no such project,
// projectNamed returns nil.
func (k *Keystone) projectNamed(name string, home func(domainID string) bool) *project {
	for _, id := range k.projectsByName[k.plain(name)] {
		if p := k.projects.get(id); home(p.domain) {
			return p
		}
	}
	return nil
}

// userNamed returns the user with this name in a domain for which the function `home` returns true. If there is no such user, userNamed
// returns nil.
func (k *Keystone) userNamed(name string, home func(domainID string) bool) *user {
	for _, id := range k.usersByName[k.plain(name)] {
		if u := k.users.get(id); home(u.domain) {
			return u
		}
	}
	return nil
}

// The function `is` returns a function that reports whether its argument is equal to id.
func is(id string) func(string) bool { return func(other string) bool { return other == id } }

// rolesOn returns the roles of a user on a project: the assigned and the inherited roles, and all roles that these roles imply. The
// roles of the user's groups count as roles of the user.
func (k *Keystone) rolesOn(userID string, p *project) []*role {
	assigned := k.held(userID, p.id, false)
	for above := k.projects.get(p.parent); above != nil; above = k.projects.get(above.parent) {
		assigned = append(assigned, k.held(userID, above.id, true)...)
	}
	return k.withImplied(append(assigned, k.held(userID, p.domain, true)...))
}

// rolesOnDomain returns the roles of a user on a domain, and all roles that these roles imply.
func (k *Keystone) rolesOnDomain(userID, domainID string) []*role {
	return k.withImplied(k.held(userID, domainID, false))
}

// rolesOnSystem returns the roles of a user on the system, and all roles that these roles imply.
func (k *Keystone) rolesOnSystem(userID string) []*role {
	return k.withImplied(k.held(userID, "", false))
}

// The method `held` is like `assigned`, but includes the roles that are assigned to the user's groups.
func (k *Keystone) held(userID, target string, inherited bool) (roles []string) {
	for _, g := range k.grantsOn[target] {
		if g.inherited == inherited && (g.user == userID || k.members[g.group][userID]) {
			roles = append(roles, g.role)
		}
	}
	return roles
}

// The method `assigned` returns the ids of the roles that are assigned to the user on the target. The target is the id of a project or
// domain. An empty target means the system. If `inherited` is true, only inherited assignments count. Otherwise, only the other assignments
// count.
func (k *Keystone) assigned(userID, target string, inherited bool) (roles []string) {
	for _, g := range k.grantsOn[target] {
		if g.user == userID && g.inherited == inherited {
			roles = append(roles, g.role)
		}
	}
	return roles
}

func (k *Keystone) withImplied(ids []string) []*role {
	var all []*role
	for ; len(ids) > 0; ids = ids[1:] {
		if r := k.roles.get(ids[0]); r != nil && !slices.Contains(all, r) {
			all = append(all, r)
			ids = append(ids, k.implied[r.id]...)
		}
	}
	return all
}

func hasRole(roles []*role, name string) bool {
	return slices.ContainsFunc(roles, func(r *role) bool { return r.name == name })
}
