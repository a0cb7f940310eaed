package workflows

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// repairRole is a role that a repair assigns to a user, or revokes from the user.
type repairRole struct {
	user string
	role keystone.Role
}

// The method `roles` returns the roles that the run assigns or revokes.
func (o Repair) roles() (all []repairRole) {
	if o.does(audit.AssignRole, audit.RevokeRole) {
		return []repairRole{{o.value("user_id"), keystone.Role{ID: o.value("role_id"), Name: o.value("role")}}}
	}
	for _, key := range slices.Sorted(maps.Keys(o.Entry.Values)) {
		if parts := strings.SplitN(o.value(key), "/", 3); strings.HasPrefix(key, audit.RoleValue) && len(parts) == 3 {
			all = append(all, repairRole{parts[0], keystone.Role{ID: parts[1], Name: parts[2]}})
		}
	}
	return all
}

// The method `items` returns the items of the step that assigns or revokes roles.
func (o Repair) items(action ...audit.RepairAction) (items []string) {
	if !o.does(action...) {
		return nil
	}
	for _, r := range o.roles() {
		items = append(items, o.item(r))
	}
	return items
}

// The method `item` returns the item of a step for this role. The item is the role's name, or the role's id if [keystone.ValidID]
// refuses the name. If the repair is about several users, the item begins with the user's id and a slash.
func (o Repair) item(r repairRole) string {
	name := r.role.Name
	if !keystone.ValidID(name) {
		name = r.role.ID
	}
	if slices.ContainsFunc(o.roles(), func(other repairRole) bool { return other.user != r.user }) {
		name = r.user + "/" + name
	}
	return name
}

// The method `claimRole` returns the claim on the role assignment of a step.
func (o Repair) claimRole(item string) string {
	r := o.roleOf(item)
	return ClaimRole(r.role.ID, r.user, o.tenant().claim())
}

func (o Repair) roleOf(item string) (r repairRole) {
	all := o.roles()
	if i := slices.IndexFunc(all, func(r repairRole) bool { return o.item(r) == item }); i >= 0 {
		r = all[i]
	}
	return r
}

// repairRoles returns the steps that assign and revoke roles.
func (d Deps) repairRoles() []saga.Step[Repair] {
	return []saga.Step[Repair]{
		{
			Name: "assign-role", After: []string{"create-tenant", "disable-project"},
			Each:  func(o *Repair) []string { return o.items(audit.AssignRole, audit.CreateTenant) },
			Find:  func(ctx context.Context, o *Repair) (saga.Found, error) { return d.findGranted(ctx, o, true) },
			Claim: func(o *Repair, item string) string { return o.claimRole(item) },
			Do:    d.grantRole,
			Undo:  func(ctx context.Context, o *Repair) error { return d.withdrawRole(ctx, o, true) },
		},
		{
			Name: "revoke-role", After: []string{"check"}, Effect: saga.Removes,
			Each:   func(o *Repair) []string { return o.items(audit.RevokeRole) },
			Find:   func(ctx context.Context, o *Repair) (saga.Found, error) { return d.findGranted(ctx, o, false) },
			Do:     func(ctx context.Context, o *Repair) error { return d.withdrawRole(ctx, o, false) },
			NoUndo: "the user should not have the role",
		},
	}
}

// The method `granted` returns the role assignment of the step, and the client of the tenant's Keystone.
func (d Deps) granted(ctx context.Context, o *Repair) (keystone.Assignment, keystone.Identity, error) {
	r := o.roleOf(saga.CallOf(ctx).Item)
	id, err := d.Identity(o.Entry.Cloud)
	return keystone.Assignment{
		ProjectID: o.tenantID(), UserID: r.user, RoleID: r.role.ID, ProjectName: o.value("tenant"), RoleName: r.role.Name,
	}, id, err
}

// The method `recordRole` adds the role assignment to the run's objects.
func (o *Repair) recordRole(ctx context.Context, a keystone.Assignment, origin saga.Origin) {
	saga.CallOf(ctx).Made(saga.Object{Kind: "role-assignment", Cloud: o.Entry.Cloud, ID: assignmentID(a), Name: a.RoleName, Origin: origin})
}

// findGranted returns Made if the user's role is in the wanted state. If the argument `want` is true, the user should have the role.
// Otherwise, the user should lack the role. The first step has checked that the role was in the opposite state before the run.
func (d Deps) findGranted(ctx context.Context, o *Repair, want bool) (saga.Found, error) {
	if o.tenantID() == "" { // in a dry run, the tenant may not exist yet
		return saga.Absent, nil
	}
	a, id, err := d.granted(ctx, o)
	if err != nil {
		return saga.Absent, err
	}
	there, err := id.HasAssignment(ctx, a)
	if err != nil || there != want {
		return saga.Absent, err
	}
	if want {
		o.recordRole(ctx, a, saga.Own)
	} else {
		o.recordRevoked(ctx, a)
	}
	return saga.Made, nil
}

// grantRole assigns the role of the step to the user.
func (d Deps) grantRole(ctx context.Context, o *Repair) error {
	a, id, err := d.granted(ctx, o)
	if err != nil {
		return err
	}
	err = id.EnsureAssignment(ctx, a)
	if errors.Is(err, keystone.ErrNotFound) {
		return StepError{upstream.Permanent, CodeRoleChanged, "the user, the role or the tenant no longer exists: run an audit again, and create a new plan", saga.FixByOperator}
	}
	if err == nil {
		o.recordRole(ctx, a, saga.Own)
	}
	return err
}

// withdrawRole revokes the role of the step. The argument `undo` is true if this run may have assigned the role.
func (d Deps) withdrawRole(ctx context.Context, o *Repair, undo bool) error {
	a, id, err := d.granted(ctx, o)
	if err != nil || a.ProjectID == "" { // the tenant was not created
		return err
	}
	if undo {
		if there, err := id.HasAssignment(ctx, a); err != nil || !there {
			return err
		}
	}
	removed, err := id.RemoveAssignment(ctx, a)
	switch {
	case err != nil:
		return err
	case undo:
		return recordRemoval(ctx, "role-assignment", assignmentID(a), removed, nil)
	}
	if !removed {
		if there, err := id.HasAssignment(ctx, a); err != nil {
			return err
		} else if there {
			return contradiction(keystone.Service, "Keystone lists the user's role "+a.RoleName+", but answers that the user does not have it")
		}
	}
	o.recordRevoked(ctx, a)
	return nil
}

// recordRevoked records that the role assignment is removed.
func (o *Repair) recordRevoked(ctx context.Context, a keystone.Assignment) {
	o.recordRole(ctx, a, saga.Adopted)
	saga.CallOf(ctx).Gone("role-assignment", assignmentID(a))
}
