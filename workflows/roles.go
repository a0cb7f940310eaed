package workflows

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `grant` describes the roles that a step assigns to a user on a tenant.
type grant struct {
	tenant tenant
	id     string // the tenant's id; empty if not known yet
	own    bool   // true if the run created the tenant; the removal of the tenant then also removes the role assignments
	user   string // the user's id; empty until the run has created its new user
	name   string // the user's name; may be empty
	roles  []keystone.Role
	lacked []string // if the run adopted the tenant: ids of the roles that the user lacked before the run

	renewed map[string]string // see Order.RenewedRoles
}

// The method `current` returns the id of the role. If the role was deleted and created again, the result is the new id.
func (o *Order) current(r keystone.Role) string { return cmp.Or(o.RenewedRoles[r.ID], r.ID) }

// The method `renew` stores the new id of a role that was deleted and created again.
func (o *Order) renew(pinned, current string) {
	if o.RenewedRoles == nil {
		o.RenewedRoles = map[string]string{}
	}
	o.RenewedRoles[pinned] = current
}

// The method `pinned` returns one of the roles that were stored when the order was accepted: the role with this name.
func (g grant) pinned(name string) (r keystone.Role) {
	if i := slices.IndexFunc(g.roles, func(r keystone.Role) bool { return r.Name == name }); i >= 0 {
		r = g.roles[i]
	}
	return r
}

// The method `claim` returns the claim on the assignment of a role to the user. The claim contains the role's id, because a role
// may be renamed. Until the run has created its new user, the claim contains the user's name.
func (g grant) claim(role string) string {
	return ClaimRole(cmp.Or(g.pinned(role).ID, role), cmp.Or(g.user, "named "+g.name), g.tenant.claim())
}

// The method `expected` returns the role assignments that should exist when the run has succeeded. The list is empty if the id of the
// tenant or of the user is not known yet.
func (g grant) expected(step string) (all []saga.Expected) {
	for _, r := range g.roles {
		if g.id == "" || g.user == "" {
			break
		}
		a := keystone.Assignment{ProjectID: g.id, UserID: g.user, RoleID: cmp.Or(g.renewed[r.ID], r.ID)}
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
// assignment as the run's own if the user lacked the role before the run, or if the run created the tenant. In a dry run, the tenant
// and the user may not exist yet.
func (d Deps) findRole(ctx context.Context, g grant) (saga.Found, error) {
	if g.id == "" || g.user == "" {
		return saga.Absent, nil
	}
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

// assignRole assigns the step's role to the user. If the role was deleted and created again, assignRole assigns the new role, and
// passes both ids to the function `renew`.
func (d Deps) assignRole(ctx context.Context, g grant, renew func(pinned, current string)) error {
	a, id, err := d.assignment(ctx, g)
	if err != nil {
		return err
	}
	err = id.EnsureAssignment(ctx, a)
	if errors.Is(err, keystone.ErrNotFound) {
		old := a.RoleID
		if a.RoleID, err = renewedRole(ctx, id, g, old, err); err != nil {
			return err
		}
		if err = id.EnsureAssignment(ctx, a); err == nil {
			renew(g.pinned(saga.CallOf(ctx).Item).ID, a.RoleID)
		}
	}
	if err != nil {
		return err
	}
	g.record(ctx, a)
	return nil
}

// renewedRole returns the id of the role that now has the name of the step's role. The assignment of the role with the old id has
// failed with the error `cause`: the role, the user or the project does not exist. If the role with the old id still has its name,
// renewedRole returns `cause`.
//
// On a tenant that the run adopted, the new role is not assigned. If the answer to the assignment were lost, the undo would not know
// which role to revoke.
func renewedRole(ctx context.Context, id keystone.Identity, g grant, old string, cause error) (string, error) {
	name := saga.CallOf(ctx).Item
	found, err := id.Roles(ctx, []string{name})
	failed := func(code saga.Code, detail string) error {
		return StepError{upstream.Permanent, code, fmt.Sprintf("role %s (%s) no longer exists: ", name, old) + detail, saga.FixByOperator}
	}
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return "", failed("role-gone", "create a role with this name, then retry the run")
	case err != nil:
		return "", err
	case found[0].ID == old:
		return "", cause
	case !g.own:
		return "", failed("role-renewed", "a new role has this name: wait until the run is compensated, then retry the run")
	}
	return found[0].ID, nil
}

// removeRole revokes the role on an adopted tenant if the user lacked the role before the run. On a tenant that the run created,
// removing the tenant also removes the assignment. If the answer to the assignment was lost, removeRole records the assignment. The
// record is needed if an operator skips the undo of the tenant, because the assignment then stays.
//
// A re-check revokes a role under three conditions: the user lacked the role before the run, an attempt to assign the role was
// never answered, and no run claims the role. Under these conditions, the re-check revokes the role even if an admin has assigned
// the role since the run. The re-check records an event. If the re-check did not revoke the role, the user would keep the role, and
// nobody would notice.
func (d Deps) removeRole(ctx context.Context, g grant) error {
	a, id, err := d.assignment(ctx, g)
	if err != nil {
		return err
	}
	switch {
	case g.own && saga.CallOf(ctx).Look:
		_, err := d.findRole(ctx, g)
		return err
	case g.own || !slices.Contains(g.lacked, a.RoleID):
		return nil
	}
	if saga.CallOf(ctx).Attempt > 1 { // an earlier attempt may have revoked the role
		if there, err := id.HasAssignment(ctx, a); err != nil || !there {
			return err
		}
	}
	removed, err := id.RemoveAssignment(ctx, a)
	return recordRemoval(ctx, "role-assignment", assignmentID(a), removed, err)
}

// The method `made` reports whether the assignment is the run's own. The assignment is the run's own if the user lacked the role
// before the run, or if the run created the tenant.
func (g grant) made(a keystone.Assignment) bool { return g.own || slices.Contains(g.lacked, a.RoleID) }

// The method `record` adds the assignment to the run's objects.
func (g grant) record(ctx context.Context, a keystone.Assignment) {
	origin := saga.Adopted
	if g.made(a) {
		origin = saga.Own
	}
	saga.CallOf(ctx).Made(saga.Object{
		Kind: "role-assignment", Cloud: g.tenant.cloud, ID: assignmentID(a), Name: saga.CallOf(ctx).Item, Origin: origin,
	})
}

// The method `assignment` returns the role assignment that the step makes, and the client of the tenant's Keystone. The field Item
// of the call is the name of the role.
func (d Deps) assignment(ctx context.Context, g grant) (keystone.Assignment, keystone.Identity, error) {
	item := saga.CallOf(ctx).Item
	pinned := g.pinned(item)
	if pinned.ID == "" {
		return keystone.Assignment{}, nil, StepError{
			upstream.Permanent, "role-not-pinned", "role " + item + " is not among the roles stored for the run", saga.FixByOperator,
		}
	}
	id, err := d.Identity(g.tenant.cloud)
	return keystone.Assignment{
		ProjectID: g.id, UserID: g.user, RoleID: cmp.Or(g.renewed[pinned.ID], pinned.ID),
		ProjectName: g.tenant.name, UserName: g.name, RoleName: item,
	}, id, err
}

// assignmentID returns the id that a role assignment has in the list of a run's objects. The id begins with the project's id,
// because removing the project also removes the role assignment: see [saga.Object].
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
