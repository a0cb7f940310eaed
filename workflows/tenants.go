package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ensureTenant makes a project of the run's, or adopts one that the merchant's earlier runs made. own tells which.
func (u Deps) ensureTenant(ctx context.Context, o *Order, name, of string) (keystone.Project, bool, error) {
	id, err := u.Identity(o.Cloud)
	if err != nil {
		return keystone.Project{}, false, err
	}
	p, own, err := id.EnsureProject(ctx, keystone.NewProject{
		Name: name, DomainID: o.DomainID, Description: "BillingStack " + of + " of merchant " + o.MerchantID,
		Tags: keystone.TenantTags(o.RunID, o.MerchantID, u.Installation), RunTag: keystone.RunTag(o.RunID), LookFirst: saga.CallOf(ctx).Look,
	})
	if err != nil {
		return keystone.Project{}, false, err
	}
	if own {
		saga.CallOf(ctx).Made(tenantObject(o, p, saga.Own))
		return p, true, nil
	}
	switch {
	case !p.HasTag(keystone.MerchantTag(o.MerchantID)) && !o.AdoptUnmarked:
		return keystone.Project{}, false, StepError{upstream.Blocked, "conflict", fmt.Sprintf(
			"project %s (%s) exists and does not carry the tag %s: tag it, rename it, or let the merchant adopt unmarked tenants",
			p.Name, p.ID, keystone.MerchantTag(o.MerchantID)), saga.FixByOperator}
	case !p.Enabled:
		return keystone.Project{}, false, StepError{
			upstream.Blocked, "tenant-disabled",
			fmt.Sprintf("project %s (%s) is disabled: enable it", p.Name, p.ID), saga.FixByOperator,
		}
	}
	saga.CallOf(ctx).Made(tenantObject(o, p, saga.Adopted))
	return p, false, nil
}

// removeTenant removes the project of this name if it is the run's own. One that a re-check finds may have been adopted by
// a later run.
func (u Deps) removeTenant(ctx context.Context, o *Order, name string) error {
	id, err := u.Identity(o.Cloud)
	if err != nil {
		return err
	}
	if saga.CallOf(ctx).Kind == saga.CallRecheck {
		late, err := id.FindProject(ctx, o.DomainID, name)
		if errors.Is(err, keystone.ErrNotFound) {
			return nil
		}
		if err != nil || !late.HasTag(keystone.RunTag(o.RunID)) {
			return err
		}
		if theirs, err := u.tenantClaimed(ctx, o, late.ID, name); err != nil || theirs {
			return err
		}
	}
	removed, err := id.RemoveProject(ctx, keystone.Project{Name: name, DomainID: o.DomainID}, keystone.RunTag(o.RunID))
	return erase(ctx, "project", removed.ID, removed.ID != "", err)
}

// assign gives the user the role that the step is about.
func (u Deps) assign(ctx context.Context, o *Order, roles []keystone.Role, tenantID string, own bool) error {
	a, id, err := u.assignment(ctx, o, roles, tenantID)
	if err != nil {
		return err
	}
	there := false
	if saga.CallOf(ctx).Look {
		if there, err = id.HasAssignment(ctx, a); err != nil {
			return err
		}
	}
	if !there {
		if err := id.EnsureAssignment(ctx, a); err != nil {
			return err
		}
	}
	if !own { // on an own tenant it goes with the tenant
		origin := saga.Adopted
		if slices.Contains(o.AbsentRoles, a.RoleID) {
			origin = saga.Own
		}
		saga.CallOf(ctx).Made(saga.Object{
			Kind: "role-assignment", Cloud: o.Cloud, ID: assignmentID(a), Name: saga.CallOf(ctx).Item, Origin: origin,
		})
	}
	return nil
}

// unassign takes the role back on an adopted tenant, if the user lacked it before. On an own one it goes with the tenant.
func (u Deps) unassign(ctx context.Context, o *Order, roles []keystone.Role, tenantID string, own bool) error {
	a, id, err := u.assignment(ctx, o, roles, tenantID)
	if err != nil {
		return err
	}
	if own || !slices.Contains(o.AbsentRoles, a.RoleID) {
		return nil
	}
	if saga.CallOf(ctx).Kind == saga.CallRecheck {
		// It was not there before the run, an attempt to give it was never answered, and no other run was to give it: then
		// it is this run's. Somebody who has given it by hand since the run's end would have to give it again, which he is
		// told by an event; a role that nobody was to have would be noticed by nobody.
		if there, err := id.HasAssignment(ctx, a); err != nil || !there {
			return err
		}
		if theirs, err := u.assignmentClaimed(ctx, o, a); err != nil || theirs {
			return err
		}
	}
	removed, err := id.RemoveAssignment(ctx, a)
	return erase(ctx, "role-assignment", assignmentID(a), removed, err)
}

func (u Deps) assignment(
	ctx context.Context, o *Order, roles []keystone.Role, tenantID string,
) (keystone.Assignment, keystone.Identity, error) {
	item := saga.CallOf(ctx).Item
	i := slices.IndexFunc(roles, func(r keystone.Role) bool { return r.Name == item })
	if i < 0 {
		return keystone.Assignment{}, nil, StepError{
			upstream.Permanent, "role-not-pinned", "the run was accepted without role " + item, saga.FixByOperator,
		}
	}
	id, err := u.Identity(o.Cloud)
	return keystone.Assignment{ProjectID: tenantID, UserID: o.UserID, RoleID: roles[i].ID}, id, err
}

// assignmentID names a role assignment among the objects of a run.
func assignmentID(a keystone.Assignment) string {
	return a.ProjectID + "/" + a.UserID + "/" + a.RoleID
}
