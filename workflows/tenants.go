package workflows

import (
	"context"
	"errors"
	"fmt"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// customerTenant and subscriptionTenant name the two kinds of projects.
func customerTenant(o *Order) string { return keystone.CustomerTenant(o.CustomerID) }

func subscriptionTenant(o *Order) string { return keystone.SubscriptionTenant(o.SubscriptionID) }

// tenantClaim names a tenant among the effects of all runs.
func tenantClaim(o *Order, name string) string {
	return "project " + o.Cloud + "/" + o.DomainID + "/" + name
}

// findTenant finds the project of this name in the order's domain: the run's own, or one that the merchant's earlier runs
// made and that may be adopted.
func (d Deps) findTenant(ctx context.Context, o *Order, name string) (found saga.Found, projectID string, err error) {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return saga.Absent, "", err
	}
	p, err := id.FindProject(ctx, o.DomainID, name)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return saga.Absent, "", nil
	case err != nil:
		return saga.Absent, "", err
	case p.HasTag(keystone.RunTag(o.RunID)):
		saga.CallOf(ctx).Made(tenantObject(o, p, saga.Own))
		return saga.Made, p.ID, nil
	case !adoptable(o, p):
		return saga.Foreign, p.ID, nil
	}
	saga.CallOf(ctx).Made(tenantObject(o, p, saga.Adopted))
	return saga.Usable, p.ID, nil
}

// createTenant creates a project of the run's, or adopts one that the merchant's earlier runs made. It reports whether the
// project is the run's own.
func (d Deps) createTenant(ctx context.Context, o *Order, name, of string) (p keystone.Project, own bool, err error) {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return keystone.Project{}, false, err
	}
	p, own, err = id.EnsureProject(ctx, keystone.NewProject{
		Name: name, DomainID: o.DomainID, Description: "BillingStack " + of + " of merchant " + o.MerchantID,
		Tags: keystone.TenantTags(o.RunID, o.MerchantID, d.Installation), RunTag: keystone.RunTag(o.RunID),
	})
	if err == nil && !own {
		err = unadoptable(o, p)
	}
	if err != nil {
		return keystone.Project{}, false, err
	}
	origin := saga.Adopted
	if own {
		origin = saga.Own
	}
	saga.CallOf(ctx).Made(tenantObject(o, p, origin))
	return p, own, nil
}

func adoptable(o *Order, p keystone.Project) bool { return unadoptable(o, p) == nil }

// unadoptable returns why a project that is not the run's own cannot be adopted; nil if it can.
func unadoptable(o *Order, p keystone.Project) error {
	switch {
	case !p.HasTag(keystone.MerchantTag(o.MerchantID)) && !o.AdoptUnmarked:
		return StepError{upstream.Blocked, "conflict", fmt.Sprintf(
			"project %s (%s) exists and does not carry the tag %s: tag it, rename it, or let the merchant adopt unmarked tenants",
			p.Name, p.ID, keystone.MerchantTag(o.MerchantID)), saga.FixByOperator}
	case !p.Enabled:
		return StepError{
			upstream.Blocked, "tenant-disabled",
			fmt.Sprintf("project %s (%s) is disabled: enable it", p.Name, p.ID), saga.FixByOperator,
		}
	}
	return nil
}

// removeTenant removes the project of this name if it is the run's own.
func (d Deps) removeTenant(ctx context.Context, o *Order, name string) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	removed, err := id.RemoveProject(ctx, keystone.Project{Name: name, DomainID: o.DomainID}, keystone.RunTag(o.RunID))
	return erase(ctx, "project", removed.ID, removed.ID != "", err)
}
