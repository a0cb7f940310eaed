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
	order  *Order
	roles  []keystone.Role
	tenant string // name
	id     string // of the tenant; empty: not known
	own    bool   // the run made the tenant: what is on it goes with it
}

func onCustomerTenant(o *Order) grant {
	return grant{o, o.CustomerRoles, customerTenant(o), o.CustomerTenantID, o.CustomerTenantOwn}
}

func onSubscriptionTenant(o *Order) grant {
	return grant{o, o.SubscriptionRoles, subscriptionTenant(o), o.SubscriptionTenantID, o.SubscriptionTenantOwn}
}

// roleClaim names a role assignment among the effects of all runs, by the role's id: a role may be renamed.
func roleClaim(g grant, role string) string {
	if i := slices.IndexFunc(g.roles, func(r keystone.Role) bool { return r.Name == role }); i >= 0 {
		role = g.roles[i].ID
	}
	return "role " + role + " of user " + g.order.UserID + " on " + tenantClaim(g.order, g.tenant)
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
	if g.own || g.lacked(a) {
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
	if g.own || !g.lacked(a) {
		return nil
	}
	removed, err := id.RemoveAssignment(ctx, a)
	return erase(ctx, "role-assignment", assignmentID(a), removed, err)
}

// lacked reports whether the user lacked the role before the run.
func (g grant) lacked(a keystone.Assignment) bool {
	return slices.Contains(g.order.AbsentRoles, a.RoleID)
}

// record notes the assignment, unless it goes with its tenant.
func (g grant) record(ctx context.Context, a keystone.Assignment) {
	if g.own {
		return
	}
	origin := saga.Adopted
	if g.lacked(a) {
		origin = saga.Own
	}
	saga.CallOf(ctx).Made(saga.Object{
		Kind: "role-assignment", Cloud: g.order.Cloud, ID: assignmentID(a), Name: saga.CallOf(ctx).Item, Origin: origin,
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
	id, err := d.Identity(g.order.Cloud)
	return keystone.Assignment{ProjectID: g.id, UserID: g.order.UserID, RoleID: g.roles[i].ID}, id, err
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
