// Package keystone says what Tenantry needs of an OpenStack Identity service: projects, role assignments and tokens, in
// actions that may be repeated, and errors that say whether repeating them makes sense.
//
// The package knows no wire format. keystone/v3 speaks Identity v3; keystonetest is a Keystone for tests and demonstrations.
package keystone

import (
	"context"
	"slices"
)

// Identity is one cloud's Keystone, used with the service's own credential.
//
// Every method sends its requests at most once, but for one repetition after a renewed login, and returns when ctx ends.
// Every error is an *[Error]: its Kind tells what a caller should do, and [errors.Is] finds the sentinels of this package.
// All methods are safe for concurrent use.
type Identity interface {
	// Domain finds a domain by its id or, where no domain has this id, by its name, once: it is kept.
	// ErrNotFound if there is neither.
	Domain(ctx context.Context, nameOrID string) (Domain, error)

	// Roles resolves role names, in their order. Each name is looked up once and kept. ErrNotFound for an unknown name;
	// ErrRefusedRole for "admin" and for a role that implies it, unless the cloud's configuration allows them.
	Roles(ctx context.Context, names []string) ([]Role, error)

	// User reads a user by its id. ErrNotFound if there is none.
	User(ctx context.Context, id string) (User, error)

	// Forget drops what is kept of domains and roles: the next look-up reads it anew.
	Forget()

	// ValidateToken tells whose token this is. ErrTokenInvalid if Keystone does not know it (any more): malformed, expired,
	// revoked, or of a disabled user or project.
	ValidateToken(ctx context.Context, token string) (Token, error)

	// ExchangeToken makes a token scoped to the project out of an unscoped one. The new token expires when the old one does.
	// ErrTokenInvalid if the unscoped token is none (any more). ErrNoAccess if its user may not enter the project: no role
	// there, no such project, a disabled one (Keystone tells none of these apart), or a token that must not be exchanged.
	ExchangeToken(ctx context.Context, unscoped, projectID string) (ScopedToken, error)

	// FindProject finds a project by its exact name within a domain. ErrNotFound if there is none.
	FindProject(ctx context.Context, domainID, name string) (Project, error)

	// EnsureProject makes a project or finds the one that already has its name in its domain. It does not decide whether a
	// found one may be used: made tells that the project carries n.RunTag, so that it stems from this or an earlier call
	// with the same mark; otherwise the project's tags tell the caller whose it is.
	//
	// It is a single request; a name already taken costs one more. ErrConflict if the name is taken by something that
	// cannot be found.
	EnsureProject(ctx context.Context, n NewProject) (p Project, made bool, err error)

	// RemoveProject deletes the project if, and only if, it carries the mark, with the role assignments on it. It is looked
	// up by name and domain where p has both (so that it is found whatever request made it), else by id. No such project,
	// and a project without the mark, which is left as it is, are success; removed is then empty.
	RemoveProject(ctx context.Context, p Project, runTag string) (removed Project, err error)

	// EnsureAssignment gives the role to the user on the project; it is success if he has it already. ErrNotFound if
	// one of the three does not exist.
	EnsureAssignment(ctx context.Context, a Assignment) error

	// RemoveAssignment takes the role from the user; it is success if he does not have it, and removed is then false.
	RemoveAssignment(ctx context.Context, a Assignment) (removed bool, err error)

	// HasAssignment tells whether the user has the role on the project directly, neither by a group nor by an implying role.
	HasAssignment(ctx context.Context, a Assignment) (bool, error)

	// AssignedRoles lists the ids of the roles that the user has directly on the project, sorted.
	AssignedRoles(ctx context.Context, projectID, userID string) ([]string, error)

	// Ping asks whether Keystone answers and takes the service's own credential.
	Ping(ctx context.Context) error
}

// Role is a global role.
type Role struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Domain owns users and projects. In Identity v2.0 there is only the one called "default".
type Domain struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// User is a user of a domain.
type User struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
	Enabled  bool   `json:"enabled"`
}

// Project is a project, called tenant in Identity v2.0.
type Project struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	DomainID string   `json:"domain_id"`
	Enabled  bool     `json:"enabled"`
	Tags     []string `json:"tags"`
}

// HasTag tells whether the project carries this tag, exactly.
func (p Project) HasTag(tag string) bool { return slices.Contains(p.Tags, tag) }

// NewProject is a project to be made.
type NewProject struct {
	// ID is the id that the project should get. Identity v2.0 honours it; v3 gives an id of its own.
	ID string
	// Name is at most 64 characters long, without blanks at its ends, and unique in its domain.
	Name        string
	DomainID    string
	Description string
	// Tags are at most 80, each of 1 to 255 characters other than "/" and ",".
	Tags []string
	// RunTag is the tag that tells who made the project. It is added to Tags if it is not one of them.
	RunTag string
}

// Assignment is a role that a user has on a project.
type Assignment struct {
	ProjectID string `json:"project_id"`
	UserID    string `json:"user_id"`
	RoleID    string `json:"role_id"`
}
