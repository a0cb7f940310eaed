package keystone

import "context"

// Inventory lists the projects, role assignments, users and roles of one cloud's Keystone. Its methods only read.
//
// Keystone shows only the objects that the token of the credential may see. A caller must therefore call Reach, and check that the token
// may see all objects that the caller needs. Keystone 22 gives a token the following rights:
//
//   - A token with role admin and the scope of a project or the system may see all objects. A system token with role reader may also see
//     all objects.
//   - A domain token with role reader may see the projects, role assignments and users of its domain. A role that implies reader, such as
//     manager, counts as reader. The lists of another domain are empty, without an error. AllRoles and Implied return ErrForbidden.
//     [Identity.Domain] returns ErrForbidden for every argument except the id of the token's domain. Project and User return ErrForbidden
//     for an object outside of the domain, and also for an object that does not exist. With a domain token, only a list can therefore
//     prove that an object is missing.
//   - A domain token with role admin gets the same lists as a domain token with role reader. For all other requests, a domain token with
//     role admin has the rights of an administrator.
//   - Any other token may see its own user, its own project, and the domain of its project. All other requests return ErrForbidden.
//
// A method with a parameter `take` calls take for one object at a time, while the method reads the answer. A list is therefore never in
// memory as a whole. Keystone waits while take runs. Therefore take must be quick, and must not call the Inventory. If a method returns an
// error, the list is incomplete, even if take has been called. Every error is an *[upstream.Error]. ErrForbidden means that the credential
// may not read the list. ErrCut means that Keystone has cut the list. All methods may be repeated, and are safe for concurrent use.
type Inventory interface {
	// Reach returns the scope and the roles of the credential's token.
	Reach(ctx context.Context) (Reach, error)

	// EachProject lists the projects of a domain whose names begin with the prefix. If the prefix is empty, EachProject lists all projects
	// of the domain. EachProject calls take once for each project. EachProject keeps the ids of these projects in memory until it returns.
	//
	// Keystone cuts lists that are longer than the option list_limit in keystone.conf. If Keystone cuts the list, EachProject reads the
	// list again in parts. The names of a part's projects share a prefix that is longer than the given prefix: "bs-customer-" or
	// "bs-subscription-", then the first digits of a UUID. The result `whole` reports whether all tenants are in the list:
	//
	//   - If whole is true, take was called for every tenant whose name begins with the prefix. Here, a tenant's name is "bs-customer-" or
	//     "bs-subscription-", then a UUID in lower case, and possibly more text. Projects with other names may be missing, because
	//     Keystone may have cut a list.
	//   - If whole is false, any project may be missing. The reason is that Keystone has cut a part that cannot be divided. A part cannot be
	//     divided if no tenant's name begins with the part's prefix, or if this prefix contains a complete UUID.
	//
	// In both cases, a project that was created, renamed or deleted during the call may be missing.
	EachProject(ctx context.Context, domainID, prefix string, take func(Project)) (whole bool, err error)

	// EachAssignment lists the role assignments that match the filter. If the filter is empty, the list contains all assignments that the
	// credential may see. The list contains the assignments that Keystone stores. It does not contain the roles that follow from these
	// assignments through implied roles, groups or inheritance. The list omits assignments on the system. The user or group of an
	// assignment may be missing in Keystone, in particular if the assignment is inherited.
	//
	// Keystone answers a domain token slowly, because it reads each project separately. A list of 20,000 assignments on 10,000 projects
	// took 35 s with a domain token, and 0.8 s with an administrator's token. If the project of an assignment does not exist, Keystone
	// answers a domain token with status 404. The error of EachAssignment is then Unavailable.
	EachAssignment(ctx context.Context, f AssignmentFilter, take func(Granted)) error

	// EachUser lists the users of a domain. The result `whole` is false if Keystone has cut the list.
	EachUser(ctx context.Context, domainID string, take func(User)) (whole bool, err error)

	// AllRoles lists the global roles.
	AllRoles(ctx context.Context) ([]Role, error)

	// Implied returns a map from the id of each role to the ids of the roles that it implies directly. The map omits roles that imply no
	// other role.
	Implied(ctx context.Context) (map[string][]string, error)

	// Project returns the project with this id, or ErrNotFound.
	Project(ctx context.Context, id string) (Project, error)

	// User returns the user with this id, or ErrNotFound.
	User(ctx context.Context, id string) (User, error)
}

// Reach contains the scope and the roles of a token. The scope is one project, one domain or the system: exactly one of ProjectID,
// DomainID and System is set.
type Reach struct {
	ProjectID string
	DomainID  string
	System    bool
	Roles     []Role // includes the roles that other roles of the token imply
	// NotShown lists what the Identity version does not show. An audit does not assess it.
	NotShown []string
}

// AssignmentFilter selects role assignments. An empty field matches every assignment.
type AssignmentFilter struct {
	ProjectID string
	UserID    string
}

// Granted is a role assignment as Keystone lists it: a role that a user or a group has on a project or a domain.
type Granted struct {
	RoleID    string
	UserID    string // empty if the role is assigned to a group
	GroupID   string
	ProjectID string // empty if the role is assigned on a domain
	DomainID  string
	Inherited bool // the role applies to the projects below the project or domain, but not to the project or domain itself
}
