package workflows

import (
	"context"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// grant describes the roles that a step assigns to a user on a tenant.
type grant struct {
	tenant tenant
	id     string // the tenant's id; empty if not known yet
	own    bool   // the run created the tenant, so removing the tenant removes its roles
	user   string
	name   string // of the user; may be empty
	roles  []keystone.Role
	lacked []string // if the run adopted the tenant: ids of the roles that the user lacked before the run
}

// claim returns the claim on the assignment of a role to the user. The claim contains the role's id, because a role may be renamed.
func (g grant) claim(role string) string {
	if i := slices.IndexFunc(g.roles, func(r keystone.Role) bool { return r.Name == role }); i >= 0 {
		role = g.roles[i].ID
	}
	return ClaimRole(role, g.user, g.tenant.claim())
}

// expected returns the role assignments that should exist when the run has succeeded. The list is empty if the tenant's id is not
// known yet.
func (g grant) expected(step string) (all []saga.Expected) {
	for _, r := range g.roles {
		if g.id == "" {
			break
		}
		a := keystone.Assignment{ProjectID: g.id, UserID: g.user, RoleID: r.ID}
		origin := saga.Adopted
		if g.made(a) {
			origin = saga.Own
		}
		all = append(all, saga.Expected{On: g.id, Object: saga.Object{
			Step: step + "/" + r.Name, Kind: "role-assignment", Cloud: g.tenant.cloud, ID: assignmentID(a), Name: r.Name, Origin: origin,
		}})
	}
	return all
}

// findRole looks up whether the user has the step's role. A role assignment cannot be tagged. Therefore findRole treats the
// assignment as the run's own if the user lacked the role before the run, or if the run created the tenant.
func (d Deps) findRole(ctx context.Context, g grant) (saga.Found, error) {
	a, id, err := d.assignment(ctx, g)
	if err != nil {
		return saga.Absent, err
	}
	there, err := id.HasAssignment(ctx, a)
	if err != nil || !there {
		return saga.Absent, err
	}
	g.record(ctx, a)
	if g.made(a) {
		return saga.Made, nil
	}
	return saga.Usable, nil
}

// assignRole assigns the step's role to the user.
func (d Deps) assignRole(ctx context.Context, g grant) error {
	a, id, err := d.assignment(ctx, g)
	if err != nil {
		return err
	}
	if err := id.EnsureAssignment(ctx, a); err != nil {
		return err
	}
	g.record(ctx, a)
	return nil
}

// removeRole revokes the role on an adopted tenant if the user lacked the role before the run. On a tenant that the run created,
// removing the tenant also removes the assignment.
//
// A re-check revokes a role under three conditions: the user lacked the role before the run, an attempt to assign the role was
// never answered, and no run claims the role. Under these conditions, the re-check revokes the role even if an admin has assigned
// the role since the run. The re-check records an event. If the re-check did not revoke the role, the user would keep access that
// nobody notices.
func (d Deps) removeRole(ctx context.Context, g grant) error {
	a, id, err := d.assignment(ctx, g)
	if err != nil {
		return err
	}
	if g.own || !slices.Contains(g.lacked, a.RoleID) {
		return nil
	}
	removed, err := id.RemoveAssignment(ctx, a)
	return recordRemoval(ctx, "role-assignment", assignmentID(a), removed, err)
}

// made reports whether the assignment is the run's own. This is the case if the user lacked the role before the run, or if the run
// created the tenant.
func (g grant) made(a keystone.Assignment) bool { return g.own || slices.Contains(g.lacked, a.RoleID) }

// record adds the assignment to the run's objects. If the run created the tenant, the function does nothing, because removing the
// tenant also removes the assignment.
func (g grant) record(ctx context.Context, a keystone.Assignment) {
	if g.own {
		return
	}
	origin := saga.Adopted
	if g.made(a) {
		origin = saga.Own
	}
	saga.CallOf(ctx).Made(saga.Object{
		Kind: "role-assignment", Cloud: g.tenant.cloud, ID: assignmentID(a), Name: saga.CallOf(ctx).Item, Origin: origin,
	})
}

// assignment returns the role assignment that the step makes, and the client of the tenant's Keystone. The field Item of the call
// is the name of the role.
func (d Deps) assignment(ctx context.Context, g grant) (keystone.Assignment, keystone.Identity, error) {
	item := saga.CallOf(ctx).Item
	i := slices.IndexFunc(g.roles, func(r keystone.Role) bool { return r.Name == item })
	if i < 0 {
		return keystone.Assignment{}, nil, StepError{
			upstream.Permanent, "role-not-pinned", "role " + item + " is not among the roles stored for the run", saga.FixByOperator,
		}
	}
	id, err := d.Identity(g.tenant.cloud)
	return keystone.Assignment{
		ProjectID: g.id, UserID: g.user, RoleID: g.roles[i].ID, ProjectName: g.tenant.name, UserName: g.name, RoleName: item,
	}, id, err
}

// assignmentID returns the id that a role assignment has in the list of a run's objects.
func assignmentID(a keystone.Assignment) string {
	return a.ProjectID + "/" + a.UserID + "/" + a.RoleID
}

func names(roles []keystone.Role) []string {
	all := make([]string, len(roles))
	for i, r := range roles {
		all[i] = r.Name
	}
	return all
}
