package workflows

import (
	"context"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// grant is what a step that assigns roles needs to know: who gets which roles where.
type grant struct {
	tenant tenant
	id     string // of the tenant; empty: not known
	own    bool   // the run made the tenant: what is on it goes with it
	user   string
	roles  []keystone.Role
	lacked []string // ids of the roles that the user lacked before, on a tenant that is not the run's own
}

// claim names the assignment of a role, by the role's id: a role may be renamed.
func (g grant) claim(role string) string {
	if i := slices.IndexFunc(g.roles, func(r keystone.Role) bool { return r.Name == role }); i >= 0 {
		role = g.roles[i].ID
	}
	return ClaimRole(role, g.user, g.tenant.claim())
}

// expected describes the assignments in a run's Expect, once the tenant's id is known.
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

// findRole reads whether the user has the role that the step is about. An assignment bears no mark: it is the run's if the
// user lacked the role before, or if the tenant is the run's.
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

// assignRole gives the user the role that the step is about.
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

// removeRole removes the role from an adopted tenant if the user lacked it before. From an own tenant it goes with the
// tenant.
//
// A role that was absent before the run, that an attempt to give was never answered for, and that no run claims is revoked
// by a re-check. A manual grant made since then is revoked too, and an event records it. That is better than leaving access
// that nobody notices.
func (d Deps) removeRole(ctx context.Context, g grant) error {
	a, id, err := d.assignment(ctx, g)
	if err != nil {
		return err
	}
	if g.own || !slices.Contains(g.lacked, a.RoleID) {
		return nil
	}
	removed, err := id.RemoveAssignment(ctx, a)
	return erase(ctx, "role-assignment", assignmentID(a), removed, err)
}

// made reports whether the assignment is the run's: the user lacked the role before, or it is on the run's own tenant.
func (g grant) made(a keystone.Assignment) bool { return g.own || slices.Contains(g.lacked, a.RoleID) }

// record notes the assignment, unless it goes with its tenant.
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

// assignment is what the step is about, by the name of the role in its item.
func (d Deps) assignment(ctx context.Context, g grant) (keystone.Assignment, keystone.Identity, error) {
	item := saga.CallOf(ctx).Item
	i := slices.IndexFunc(g.roles, func(r keystone.Role) bool { return r.Name == item })
	if i < 0 {
		return keystone.Assignment{}, nil, StepError{
			upstream.Permanent, "role-not-pinned", "the run was accepted without role " + item, saga.FixByOperator,
		}
	}
	id, err := d.Identity(g.tenant.cloud)
	return keystone.Assignment{ProjectID: g.id, UserID: g.user, RoleID: g.roles[i].ID}, id, err
}

// assignmentID names a role assignment among the objects of a run.
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
