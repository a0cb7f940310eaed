package keystone

import "context"

// Inventory lists the projects, role assignments, users and roles of one cloud's Keystone. It only reads.
//
// Keystone shows what the token of the credential may see. A caller must therefore compare the result of Reach with what it wants to know.
// This is what Keystone 22 shows:
//
//   - To a token with role admin, or a token of the system with role reader: everything.
//   - To a token of a domain with role reader: the projects, role assignments and users of the domain. For another domain the lists are
//     empty, without an error. A role such as manager counts if it implies reader. AllRoles and Implied return ErrForbidden. Domain does,
//     too, unless it is called with the id of the domain. Project and User return ErrForbidden for an object outside of the domain, and
//     also for an object that does not exist. Such a token cannot prove by them that an object is missing; a list can.
//   - To a token of a domain with role admin: the same lists, and everything else as to any administrator.
//   - To any other token: its own user, its own project, and the domain of its project. All else is ErrForbidden.
//
// The functions `take` are called for one object at a time, while the answer is being read: a list is never in memory as a whole. Keystone
// waits while take runs, so take must be quick and must not call the Inventory. If a method returns an error, the list is incomplete,
// although take may have been called. Every error is an *[upstream.Error]. ErrForbidden means that the credential may not read the list,
// and ErrCut that Keystone has cut the list. All methods may be repeated, and are safe for concurrent use.
type Inventory interface {
	// Reach returns what the token of the credential is for.
	Reach(ctx context.Context) (Reach, error)

	// EachProject lists the projects of a domain whose names begin with the prefix; all projects if the prefix is empty. It calls take
	// once for each project. It keeps the ids of these projects until it returns.
	//
	// Keystone can be configured to cut long lists (list_limit). EachProject then reads the list again in parts, by longer prefixes: the
	// two prefixes of Tenantry's tenants, and the digits of the UUID after them. The result `whole` says what is certain:
	//
	//   - If whole is true, every project with the prefix was taken whose name is "bs-customer-" or "bs-subscription-", a UUID in lower
	//     case, and perhaps more text. Projects with other names may be missing, because a list may have been cut.
	//   - If whole is false, every project may be missing. Keystone has cut a list that cannot be divided: the prefix does not lead to
	//     names of tenants, or a UUID is complete.
	//
	// In any case, a project that was created, renamed or deleted meanwhile may be missing.
	EachProject(ctx context.Context, domainID, prefix string, take func(Project)) (whole bool, err error)

	// EachAssignment lists the role assignments that match the filter. With an empty filter, the list has all assignments in the reach
	// of the credential. The list has only what was assigned, and not what follows from it by implied roles, groups or inheritance.
	// Assignments on the system are left out. The user or group of an assignment, in particular of an inherited one, may not exist.
	//
	// To a token of a domain, Keystone answers slowly, because it reads each project by itself: 20,000 assignments on 10,000 projects took
	// 35 s, instead of 0.8 s for an administrator. If a project of an assignment does not exist, it answers 404. The error is then
	// Unavailable.
	EachAssignment(ctx context.Context, f AssignmentFilter, take func(Granted)) error

	// EachUser lists the users of a domain. The result `whole` is false if Keystone has cut the list.
	EachUser(ctx context.Context, domainID string, take func(User)) (whole bool, err error)

	// AllRoles lists the global roles.
	AllRoles(ctx context.Context) ([]Role, error)

	// Implied returns the ids of the roles that each role implies directly, by the id of the role. Roles that imply no other role are
	// left out.
	Implied(ctx context.Context) (map[string][]string, error)

	// Project returns the project with this id, or ErrNotFound.
	Project(ctx context.Context, id string) (Project, error)

	// User returns the user with this id, or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
}

// Reach is what a token is for: one project, one domain, or the system. One field is set.
type Reach struct {
	ProjectID string
	DomainID  string
	System    bool
	Roles     []Role // that the token has, with those that other roles imply
}

// AssignmentFilter selects role assignments. An empty field selects all.
type AssignmentFilter struct {
	ProjectID string
	UserID    string
}

// Granted is a role assignment as Keystone lists it: a role that a user or a group has on a project or a domain.
type Granted struct {
	RoleID    string
	UserID    string // empty: the role is given to a group
	GroupID   string
	ProjectID string // empty: the role is on a domain
	DomainID  string
	Inherited bool // the role is valid on the projects below, and not on the project or domain itself
}
