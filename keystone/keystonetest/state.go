package keystonetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
)

// These types are the objects that Keystone stores. Keystone.mu guards all objects.
type (
	domain struct {
		id, name, description string
		enabled               bool
	}
	user struct {
		id, name, domain, password string
		defaultProject             string
		enabled                    bool
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
	applicationCredential struct {
		id, name, secret, user, project string
	}
	token struct {
		user, project   string
		system          bool
		methods         []string
		audit           []string
		issued, expires time.Time
		revoked         bool
		credential      *applicationCredential
	}
)

// User is the argument of AddUser.
type User struct {
	// ID is the user's id. If ID is empty, AddUser chooses a random id. The id of a user from LDAP can be any text, such as
	// "m@example.org".
	ID       string
	Name     string
	DomainID string // DefaultDomain if empty
	Password string
	// DefaultProjectID is the project of a token if the login requests no scope. Keystone ignores DefaultProjectID if the user has
	// no role on this project.
	DefaultProjectID string
}

// AddDomain adds a domain and returns its id.
func (k *Keystone) AddDomain(name string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := &domain{id: k.randomID(), name: name, enabled: true}
	k.domains = append(k.domains, d)
	return d.id
}

// AddUser adds a user and returns the user's id.
func (k *Keystone) AddUser(u User) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u.DomainID == "" {
		u.DomainID = DefaultDomain
	}
	return k.addUser(&user{
		id: u.ID, name: u.Name, domain: u.DomainID, password: u.Password, defaultProject: u.DefaultProjectID, enabled: true,
	}).id
}

// AddRole adds a role and returns its id. The parameter `implies` lists the names of the roles that the new role implies. These
// roles must exist.
func (k *Keystone) AddRole(name string, implies ...string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.addRole(name, false)
	for _, other := range implies {
		i := slices.IndexFunc(k.roles, func(r *role) bool { return r.name == other })
		k.implied[r.id] = append(k.implied[r.id], k.roles[i].id)
	}
	return r.id
}

// AddProject adds a project and returns its id. The new project is enabled, even if p.Enabled is false.
func (k *Keystone) AddProject(p keystone.Project) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.DomainID == "" {
		p.DomainID = DefaultDomain
	}
	return k.addProject(&project{name: p.Name, domain: p.DomainID, tags: slices.Clone(p.Tags), enabled: true}).id
}

// Assign assigns a role to a user.
func (k *Keystone) Assign(a keystone.Assignment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.grants, a) {
		k.grants = append(k.grants, a)
	}
}

// Unassign revokes a role of a user.
func (k *Keystone) Unassign(a keystone.Assignment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.grants = slices.DeleteFunc(k.grants, func(g keystone.Assignment) bool { return g == a })
}

// IssueToken returns a new unscoped token, as if the user had logged in by password.
func (k *Keystone) IssueToken(userID string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.issue(&token{user: userID, methods: []string{"password"}})
}

// RevokeToken revokes a token. Tokens that were created by an exchange of this token stay valid.
func (k *Keystone) RevokeToken(text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.tokens[text]; t != nil {
		t.revoked = true
	}
}

// RemoveUser deletes a user, and the user's role assignments.
func (k *Keystone) RemoveUser(userID string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users = slices.DeleteFunc(k.users, func(u *user) bool { return u.id == userID })
	k.grants = slices.DeleteFunc(k.grants, func(a keystone.Assignment) bool { return a.UserID == userID })
}

// EnableUser enables the user if `enabled` is true, and disables the user otherwise. When a user is disabled, the user's tokens are
// revoked. If the user is enabled again, the tokens stay revoked.
func (k *Keystone) EnableUser(userID string, enabled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u := k.user(userID); u != nil {
		k.enableUser(u, enabled)
	}
}

// EnableProject enables the project if `enabled` is true, and disables it otherwise.
func (k *Keystone) EnableProject(projectID string, enabled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.project(projectID); p != nil {
		p.enabled = enabled
	}
}

// TagProject replaces the tags of a project.
func (k *Keystone) TagProject(projectID string, tags ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.project(projectID); p != nil {
		p.tags = tags
	}
}

// Projects returns all projects, the oldest first.
func (k *Keystone) Projects() []keystone.Project {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]keystone.Project, 0, len(k.projects))
	for _, p := range k.projects {
		all = append(all, keystone.Project{
			ID: p.id, Name: p.name, DomainID: p.domain, Enabled: p.enabled, Tags: slices.Clone(p.tags),
		})
	}
	return all
}

// Assignments returns all role assignments. The oldest assignment is first.
func (k *Keystone) Assignments() []keystone.Assignment {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.grants)
}

// Role returns the role with this name, or an error if there is no such role.
func (k *Keystone) Role(name string) (keystone.Role, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.roles {
		if r.name == name {
			return keystone.Role{ID: r.id, Name: r.name}, nil
		}
	}
	return keystone.Role{}, fmt.Errorf("finding role %q: %w", name, errors.New("no such role"))
}

// Lock k.mu before you call a function below.

func (k *Keystone) addUser(u *user) *user {
	u.id = cmp.Or(u.id, k.randomID())
	k.users = append(k.users, u)
	return u
}

func (k *Keystone) addRole(name string, immutable bool) *role {
	r := &role{id: k.randomID(), name: name, immutable: immutable}
	k.roles = append(k.roles, r)
	return r
}

func (k *Keystone) addProject(p *project) *project {
	p.id = k.randomID()
	if p.parent == "" {
		p.parent = p.domain
	}
	k.projects = append(k.projects, p)
	return p
}

func (k *Keystone) enableUser(u *user, enabled bool) {
	u.enabled = enabled
	if !enabled {
		for _, t := range k.tokens {
			t.revoked = t.revoked || t.user == u.id
		}
	}
}

func (k *Keystone) domain(id string) *domain {
	return find(k.domains, func(d *domain) bool { return k.same(d.id, id) })
}

func (k *Keystone) user(id string) *user {
	return find(k.users, func(u *user) bool { return u.id == id })
}

func (k *Keystone) role(id string) *role {
	return find(k.roles, func(r *role) bool { return r.id == id })
}

func (k *Keystone) project(id string) *project {
	return find(k.projects, func(p *project) bool { return p.id == id })
}

// The function `find` returns the first element for which the function `fits` returns true. If there is no such element, `find`
// returns nil.
func find[T any](all []*T, fits func(*T) bool) *T {
	for _, v := range all {
		if fits(v) {
			return v
		}
	}
	return nil
}

// rolesOn returns the roles of a user on a project, including all implied roles.
func (k *Keystone) rolesOn(userID, projectID string) []*role {
	var all []*role
	var add func(id string)
	add = func(id string) {
		r := k.role(id)
		if r == nil || slices.Contains(all, r) {
			return
		}
		all = append(all, r)
		for _, implied := range k.implied[id] {
			add(implied)
		}
	}
	for _, g := range k.grants {
		if g.UserID == userID && g.ProjectID == projectID {
			add(g.RoleID)
		}
	}
	return all
}
