// Package keystone declares what Tenantry needs of an OpenStack Identity service: projects, role assignments and tokens. The
// actions may be repeated, and errors show whether repeating helps.
//
// The package has no wire format. keystone/v3 implements Identity v3; keystonetest is a Keystone for tests and demonstrations.
package keystone

import (
	"context"
	"slices"
)

// Identity is one cloud's Keystone, used with the service's own credential.
//
// Each method sends a request at most once, and repeats it once if a new login is needed. It returns when ctx ends. Every error
// is an *[upstream.Error]. Its Class tells the caller whether to retry, and [errors.Is] finds the sentinels of this package. All
// methods are safe for concurrent use.
type Identity interface {
	// Domain returns the domain with this id or, if there is none, with this name. The result is cached. It returns ErrNotFound if
	// there is neither.
	Domain(ctx context.Context, nameOrID string) (Domain, error)

	// Roles returns the roles with these names, in this order. Each is looked up once and cached. It returns ErrNotFound for an
	// unknown name, and ErrRefusedRole for "admin" and for a role that implies it, unless the cloud's configuration allows them.
	Roles(ctx context.Context, names []string) ([]Role, error)

	// User returns the user with this id, or ErrNotFound if there is none.
	User(ctx context.Context, id string) (User, error)

	// Forget clears the caches of domains and roles.
	Forget()

	// ValidateToken returns what a token stands for. It returns ErrTokenInvalid if the token is malformed, expired or revoked, or if
	// its user or project is disabled.
	ValidateToken(ctx context.Context, token string) (Token, error)

	// ExchangeToken exchanges an unscoped token for one scoped to the project. Both expire at the same time. It returns
	// ErrTokenInvalid if the unscoped token is not valid. It returns ErrNoAccess if the user has no role on the project, the project
	// does not exist or is disabled, or the token must not be exchanged. Keystone does not distinguish these cases.
	ExchangeToken(ctx context.Context, unscoped, projectID string) (ScopedToken, error)

	// FindProject returns the project with exactly this name in the domain, or ErrNotFound if there is none.
	FindProject(ctx context.Context, domainID, name string) (Project, error)

	// EnsureProject creates a project or returns the existing one with its name in its domain. made reports whether the project has
	// n.RunTag: then this call or an earlier one with the same tag created it. Otherwise the caller must decide by the project's
	// tags whether it may be used.
	//
	// It sends one request, and a second one if the name is taken. It returns ErrConflict if the name is taken, but no project with
	// it is found.
	EnsureProject(ctx context.Context, n NewProject) (p Project, made bool, err error)

	// RemoveProject deletes the project and its role assignments, but only if it has the tag. It looks the project up by name and
	// domain if p has both, because a lost request may have created it under another id, and otherwise by id. A missing project and
	// one without the tag are success; removed is then empty.
	RemoveProject(ctx context.Context, p Project, runTag string) (removed Project, err error)

	// EnsureAssignment assigns the role to the user on the project. It may be repeated. It returns ErrNotFound if one of the three
	// does not exist.
	EnsureAssignment(ctx context.Context, a Assignment) error

	// RemoveAssignment revokes the role. It may be repeated; removed reports whether the user had the role.
	RemoveAssignment(ctx context.Context, a Assignment) (removed bool, err error)

	// HasAssignment reports whether the user has the role on the project directly: not by a group or an implying role.
	HasAssignment(ctx context.Context, a Assignment) (bool, error)

	// AssignedRoles returns the sorted ids of the roles that the user has directly on the project.
	AssignedRoles(ctx context.Context, projectID, userID string) ([]string, error)

	// Ping checks that Keystone answers and accepts the service's own credential.
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

// HasTag reports whether the project has exactly this tag.
func (p Project) HasTag(tag string) bool { return slices.Contains(p.Tags, tag) }

// NewProject is a project to be created.
type NewProject struct {
	// ID is the id that the project should get. Identity v2.0 uses it; v3 chooses its own.
	ID string
	// Name has at most 64 characters, no blanks at its ends, and is unique in its domain.
	Name        string
	DomainID    string
	Description string
	// Tags are at most 80 tags of 1 to 255 characters other than "/" and ",".
	Tags []string
	// RunTag is the tag of the run that creates the project. It is added to Tags if missing.
	RunTag string
}

// Assignment is a role that a user has on a project.
type Assignment struct {
	ProjectID string `json:"project_id"`
	UserID    string `json:"user_id"`
	RoleID    string `json:"role_id"`
}
