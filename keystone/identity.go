// Package keystone declares the operations on projects, role assignments and tokens that Tenantry needs from an OpenStack Identity
// service. Every operation may be repeated. The class of an error shows whether a repetition can help.
//
// The package defines no wire format. Package keystone/v3 implements Identity v3, and package keystone/v2 implements Identity v2.0. Package
// keystonetest is an in-memory Keystone for tests and demonstrations.
package keystone

import (
	"context"
	"slices"
)

// Identity calls the Keystone of one cloud with Tenantry's own credential.
//
// A method repeats a request only if Keystone refuses Tenantry's token. The method then logs in again and repeats the request once.
// Every method returns when ctx ends. Every error of a method is an *[upstream.Error]. The Class of an error tells the caller
// whether to retry, and [errors.Is] recognizes the sentinel errors of this package. All methods are safe for concurrent use.
type Identity interface {
	// Domain returns the domain whose id is nameOrID. If no domain has this id, Domain returns the domain that Keystone returns for the name
	// nameOrID. On MySQL, Keystone ignores the case of names, so the name of the result can have another spelling. The result is cached.
	// Domain returns ErrNotFound if no domain has this id or name, and ErrAmbiguous if Keystone returns several domains.
	Domain(ctx context.Context, nameOrID string) (Domain, error)

	// Roles returns the roles that Keystone returns for these names, in the order of the names. On MySQL, Keystone ignores the case of names,
	// so the name of a result can have another spelling, and two names can lead to the same role. Each role is looked up once and cached.
	// Roles returns ErrNotFound for an unknown name, and ErrAmbiguous if Keystone returns several roles for one name. Roles returns
	// ErrRefusedRole for every role that the cloud's configuration reserves, and for every role that implies a reserved role. The reserved
	// roles are admin and the role of Tenantry's operators.
	Roles(ctx context.Context, names []string) ([]Role, error)

	// User returns the user with this id, or ErrNotFound if no user has this id.
	User(ctx context.Context, id string) (User, error)

	// Forget clears the caches of domains and roles.
	Forget()

	// ValidateToken returns the user, scope, roles and expiry of a token. ValidateToken returns ErrTokenInvalid if the token is
	// malformed, expired or revoked, or if the token's user or project is disabled.
	ValidateToken(ctx context.Context, token string) (Token, error)

	// ExchangeToken exchanges an unscoped token for a token that is scoped to the project. Both tokens expire at the same time.
	// ExchangeToken returns ErrTokenInvalid if the unscoped token is not valid. ExchangeToken returns ErrNoAccess if the user has
	// no role on the project, if the project does not exist or is disabled, or if the token is delegated. Keystone's answer does
	// not distinguish a missing role from a missing or disabled project.
	ExchangeToken(ctx context.Context, unscoped, projectID string) (ScopedToken, error)

	// ProjectsOfToken returns the ids of the projects on which the user of a token has a role, sorted. There can be at most 1,000 projects.
	// ProjectsOfToken does not use Tenantry's own credential. It returns ErrTokenInvalid if the token is not valid.
	ProjectsOfToken(ctx context.Context, token string) ([]string, error)

	// FindProject returns the project with exactly this name in the domain, or ErrNotFound if no project in the domain has this
	// name.
	FindProject(ctx context.Context, domainID, name string) (Project, error)

	// EnsureProject creates a project, or returns the existing project with the same name and domain. The result `made` is true if
	// this call, or an earlier call with the same n.RunTag, created the project. If `made` is false, the caller must check the
	// project's tags to decide whether to use the project. A disabled project keeps its name, so the result can be a disabled project.
	//
	// EnsureProject sends one request, and a second request if the name is taken. If the second request finds no project with this
	// name, EnsureProject returns ErrConflict.
	EnsureProject(ctx context.Context, n NewProject) (p Project, made bool, err error)

	// RemoveProject deletes the project and its role assignments if the project has the tag runTag. If p has a name and a domain,
	// RemoveProject uses both to look the project up, because a lost request may have created the project under another id. If p
	// lacks the name or the domain, RemoveProject looks the project up by its id. If the project does not exist or lacks the tag,
	// RemoveProject succeeds and returns an empty project.
	RemoveProject(ctx context.Context, p Project, runTag string) (removed Project, err error)

	// Project returns the project with this id, or ErrNotFound if no project has this id. The result is never cached.
	Project(ctx context.Context, id string) (Project, error)

	// DisableProject disables the project with the id of p and adds the tag `mark`, which names the run that disables the project:
	// see [DisabledTag]. DisableProject may be repeated. The result `after` is the project after the call. DisableProject distinguishes three
	// cases:
	//
	//   - If the project is enabled, DisableProject disables it, even if the project has the mark already.
	//   - If the project is disabled and has the mark, DisableProject sends no write.
	//   - If the project is disabled and lacks the mark, another run or an administrator disabled the project. DisableProject sends
	//     no write, and the caller recognizes this case by the missing mark.
	//
	// DisableProject reads the project, and then sends one write with the new state and all tags. If the write takes effect late,
	// the mark shows which run disabled the project. Keystone has no conditional writes. If another client changes the state or the tags after
	// the read, the write overwrites this change, even if the write takes effect late.
	//
	// DisableProject returns ErrNotFound if the project does not exist. The error is Permanent if the project has 80 tags, or has an
	// enabled child. The error wraps ErrGuard if the project is not Tenantry's, or lacks the tags of Tenantry's tenants.
	//
	// A disabled project keeps its name and its role assignments. The role assignments can be changed, and the project can be
	// deleted. All tokens and application credentials with the project's scope are refused until the project is enabled. Unscoped
	// tokens, and tokens for other projects, stay valid. Other services can cache tokens, and accept them for some more minutes.
	// Servers and other resources in the project continue to run.
	DisableProject(ctx context.Context, p Project, mark string) (after Project, err error)

	// EnableProject enables the project with the id of p. EnableProject also removes the given marks, which DisableProject added, from
	// the project's tags. EnableProject may be repeated. The result `after` is the project after the call. The result `changed` reports
	// whether this call sent a write.
	//
	// If the project has none of the marks, EnableProject sends no write, because the runs with these marks did not disable the project.
	// If the project has other marks too, EnableProject enables the project and keeps the other marks: see [Project.DisabledBy].
	//
	// EnableProject reads and writes in the same way as DisableProject, and returns ErrNotFound and ErrGuard in the same cases. The
	// error is Permanent if the project's parent is disabled. Unexpired tokens with the project's scope are valid again.
	EnableProject(ctx context.Context, p Project, marks ...string) (after Project, changed bool, err error)

	// ChangeProject makes the change c to the project with the id of p. The change may affect a state or a tag that another run or an
	// administrator set. Unlike EnableProject, ChangeProject needs no mark. ChangeProject may be repeated. The result `after` is the
	// project after the call. The result `changed` reports whether this call sent a write.
	//
	// ChangeProject reads the project. If c would change nothing, ChangeProject sends no write, even if the project is not Tenantry's.
	// Otherwise, ChangeProject sends one write that contains the state, the list of all tags, or both, but no unchanged field. Even a
	// late write of the state therefore keeps the tags that another client set after the read. In the same way, a write of the tags
	// keeps the state. A write of the tags overwrites all changes that another client made to the tags after the read.
	//
	// ChangeProject returns ErrNotFound if the project does not exist. The error wraps ErrGuard if the project is not Tenantry's, or
	// if the tags change and the new tags lack the tags of Tenantry's tenants. If only the state changes, the project may lack these
	// tags, because its name and its domain show that the project is Tenantry's. The error is Permanent if Keystone refuses the
	// change. Keystone refuses a change in these cases:
	//
	//   - The project would have more than 80 tags, or a malformed tag.
	//   - The project would be disabled, but has an enabled child.
	//   - The project and its parent are disabled, and c enables the project or changes only its tags.
	ChangeProject(ctx context.Context, p Project, c ProjectChange) (after Project, changed bool, err error)

	// EnsureAssignment assigns the role to the user on the project. The call may be repeated. EnsureAssignment returns ErrNotFound
	// if the role, the user or the project does not exist.
	EnsureAssignment(ctx context.Context, a Assignment) error

	// RemoveAssignment revokes the user's role on the project. The call may be repeated. The result `removed` reports whether the
	// user had the role.
	RemoveAssignment(ctx context.Context, a Assignment) (removed bool, err error)

	// HasAssignment reports whether the role is assigned directly to the user on the project. A role does not count if the user has it through
	// a group, or through another role that implies it. Identity v2.0 does not show this difference, so such a role counts with Identity v2.0.
	HasAssignment(ctx context.Context, a Assignment) (bool, error)

	// AssignedRoles returns the sorted ids of the roles that are assigned directly to the user on the project. With Identity v2.0, the
	// result contains the same additional roles as for HasAssignment.
	AssignedRoles(ctx context.Context, projectID, userID string) ([]string, error)

	// Ping checks that Keystone answers and accepts Tenantry's own credential.
	Ping(ctx context.Context) error

	Users
}

// Role is a global role.
type Role struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Domain is a Keystone domain, which contains users and projects. Identity v2.0 has only the domain "default".
type Domain struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Disabled bool   `json:"-"` // its users cannot log in, and nobody gets a token for its projects
}

// DefaultDomain is the only domain of Identity v2.0. Each Keystone with Identity v3 has it too, unless an administrator has removed it.
var DefaultDomain = Domain{ID: "default", Name: "Default"}

// User is a Keystone user, who belongs to a domain.
type User struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	Enabled  bool   `json:"enabled"`
	RunID    string `json:"-"` // the id of the run that created the user; empty if Tenantry did not create the user: see [RunAttribute]
}

// Project is a Keystone project. Identity v2.0 calls projects tenants.
type Project struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	DomainID string   `json:"domain_id"`
	Enabled  bool     `json:"enabled"`
	Tags     []string `json:"tags"`
}

// HasTag reports whether the project has exactly this tag.
func (p Project) HasTag(tag string) bool { return slices.Contains(p.Tags, tag) }

// NewProject describes a project to create.
type NewProject struct {
	// ID is the requested id of the new project. Identity v2.0 uses this id. Identity v3 ignores this id, and chooses a different
	// id.
	ID string
	// Name has at most 64 characters and does not begin or end with a blank. Name is unique in its domain.
	Name        string
	DomainID    string
	Description string
	// Tags has at most 80 tags. Each tag has 1 to 255 characters, and contains neither "/" nor ",".
	Tags []string
	// RunTag is the tag of the run that creates the project. EnsureProject adds RunTag to Tags if Tags lacks it.
	RunTag string
}

// ProjectChange describes a change of a project. The zero value changes nothing.
type ProjectChange struct {
	// Enabled is the new state. Nil keeps the state.
	Enabled *bool
	// Add lists the tags to add, and Remove lists the tags to remove. A tag that is in both lists is added. A tag in Add changes nothing if
	// the project already has it, and a tag in Remove changes nothing if the project lacks it.
	Add, Remove []string
}

// Tags returns the tags of a project after the change. Tags adds no tag twice, because Keystone refuses a list with duplicates. The result
// is nil only if the parameter `before` is nil.
func (c ProjectChange) Tags(before []string) []string {
	changed := slices.DeleteFunc(slices.Clone(before), func(tag string) bool {
		return slices.Contains(c.Remove, tag) && !slices.Contains(c.Add, tag)
	})
	for _, tag := range c.Add {
		if !slices.Contains(changed, tag) {
			changed = append(changed, tag)
		}
	}
	return changed
}

// SameTags reports whether two lists contain the same tags. SameTags ignores the order, because Keystone returns the tags in any order.
func SameTags(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// Assignment is a role that a user has on a project.
type Assignment struct {
	ProjectID string `json:"project_id"`
	UserID    string `json:"user_id"`
	RoleID    string `json:"role_id"`

	// ProjectName and the other names appear only in error texts. A text omits an empty name.
	ProjectName string `json:"-"`
	UserName    string `json:"-"`
	RoleName    string `json:"-"`
}
