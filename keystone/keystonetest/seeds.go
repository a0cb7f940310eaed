package keystonetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/keystone"
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
	// Extra contains additional fields of the user, such as "email" or [keystone.RunAttribute].
	Extra map[string]any
	// Options are Keystone's options of the user, such as "multi_factor_auth_rules". The values have the types of encoding/json.
	Options map[string]any
}

// AddDomain adds a domain and returns its id.
func (k *Keystone) AddDomain(name string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.addDomain(name, "").id
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
		extra: cloned(u.Extra), options: cloned(u.Options),
	}).id
}

// AddGroup adds a group without members and returns its id. If domainID is empty, the group is in the default domain.
func (k *Keystone) AddGroup(name, domainID string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if domainID == "" {
		domainID = DefaultDomain
	}
	return k.addGroup(name, domainID).id
}

// AddRole adds a role and returns its id. The parameter `implies` lists the names of the roles that the new role implies. These
// roles must exist.
func (k *Keystone) AddRole(name string, implies ...string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.addRole(name, false)
	for _, other := range implies {
		k.implied[r.id] = append(k.implied[r.id], k.roleNamed(other).id)
	}
	return r.id
}

// RemoveRole deletes the role with this name, and the role assignments with the role.
func (k *Keystone) RemoveRole(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.roleNamed(name); r != nil {
		k.removeRole(r)
	}
}

// AddProject adds a project and returns its id. The project is enabled, even if p.Enabled is false.
func (k *Keystone) AddProject(p keystone.Project) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.DomainID == "" {
		p.DomainID = DefaultDomain
	}
	made := &project{name: p.Name, domain: p.DomainID, enabled: true}
	k.tag(made, p.Tags)
	return k.addProject(made).id
}

// The method `tag` replaces the tags of a project.
func (k *Keystone) tag(p *project, tags []string) {
	if k.pike {
		text, _ := keystone.TagsOfDescription(p.description)
		p.description = keystone.Describe(text, tags)
	} else {
		p.tags = slices.Clone(tags)
	}
}

// Assign assigns a role to a user on a project.
func (k *Keystone) Assign(a keystone.Assignment) { k.Grant(granted(a)) }

// Unassign revokes a role of a user on a project.
func (k *Keystone) Unassign(a keystone.Assignment) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoke(grantOf(granted(a)))
}

// Grant assigns a role to a user or a group, on a project or a domain.
func (k *Keystone) Grant(g keystone.Granted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.assign(grantOf(g))
}

func granted(a keystone.Assignment) keystone.Granted {
	return keystone.Granted{RoleID: a.RoleID, UserID: a.UserID, ProjectID: a.ProjectID}
}

func grantOf(g keystone.Granted) grant {
	return grant{role: g.RoleID, user: g.UserID, group: g.GroupID, project: g.ProjectID, domain: g.DomainID, inherited: g.Inherited}
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
	if u := k.users.get(userID); u != nil {
		k.removeUser(u)
	}
}

// EnableUser enables or disables a user. When a user is disabled, the user's tokens are revoked. If the user is enabled again, the
// tokens stay revoked.
func (k *Keystone) EnableUser(userID string, enabled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if u := k.users.get(userID); u != nil {
		k.updateUser(u, func(u *user) { u.enabled = enabled })
	}
}

// EnableProject enables or disables a project.
func (k *Keystone) EnableProject(projectID string, enabled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.projects.get(projectID); p != nil {
		k.updateProject(p, func(p *project) { p.enabled = enabled })
	}
}

// TagProject replaces the tags of a project.
func (k *Keystone) TagProject(projectID string, tags ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.projects.get(projectID); p != nil {
		k.updateProject(p, func(p *project) { k.tag(p, tags) })
	}
}

// Users returns all users, the oldest first.
func (k *Keystone) Users() []keystone.User {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]keystone.User, 0, len(k.users.at))
	for u := range k.users.all() {
		run, _ := u.extra[keystone.RunAttribute].(string)
		all = append(all, keystone.User{ID: u.id, Name: u.name, DomainID: u.domain, Enabled: u.enabled, RunID: run})
	}
	return all
}

// Projects returns all projects, the oldest first.
func (k *Keystone) Projects() []keystone.Project {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]keystone.Project, 0, len(k.projects.at))
	for p := range k.projects.all() {
		all = append(all, keystone.Project{
			ID: p.id, Name: p.name, DomainID: p.domain, Enabled: p.enabled, Tags: p.allTags(),
		})
	}
	return all
}

// allTags returns the tags of the project, and the tags in its description: see [keystone.Describe].
func (p *project) allTags() []string {
	_, described := keystone.TagsOfDescription(p.description)
	return slices.Concat(p.tags, described)
}

// Assignments returns the role assignments of users on projects, the oldest first. It omits inherited assignments, because an inherited
// assignment applies only to the projects below its project.
func (k *Keystone) Assignments() []keystone.Assignment {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []keystone.Assignment
	for g := range k.grants.all() {
		if g.user != "" && g.project != "" && !g.inherited {
			all = append(all, keystone.Assignment{ProjectID: g.project, UserID: g.user, RoleID: g.role})
		}
	}
	return all
}

// Role returns the role with this name.
func (k *Keystone) Role(name string) (keystone.Role, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.roleNamed(name)
	if r == nil {
		return keystone.Role{}, fmt.Errorf("finding role %q: %w", name, errors.New("no such role"))
	}
	return keystone.Role{ID: r.id, Name: r.name}, nil
}

func (k *Keystone) roleNamed(name string) *role {
	return k.roles.find(func(r *role) bool { return r.name == name })
}
