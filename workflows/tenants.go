package workflows

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `tenant` describes a project that a run creates or adopts.
type tenant struct {
	cloud, domain, name string
	run, merchant       string
	adoptUnmarked       bool // an existing project without the merchant's tag may be adopted
}

func (t tenant) claim() string { return ClaimTenant(t.cloud, t.domain, t.name) }

// The method `expected` describes the tenant that should exist when the run has succeeded. The parameter `id` is empty until a step
// has stored the tenant's id.
func (d Deps) expected(t tenant, step, id string, own bool) saga.Expected {
	e := saga.Expected{
		Object: saga.Object{Step: step, Kind: "project", Cloud: t.cloud, ID: id, Name: t.name},
		Fields: map[string]string{"domain_id": t.domain, "enabled": "true"},
	}
	switch {
	case own:
		e.Origin, e.Marks = saga.Own, keystone.TenantTags(t.run, t.merchant, d.Installation)
	case id != "":
		e.Origin = saga.Adopted
		if !t.adoptUnmarked {
			e.Marks = []string{keystone.MerchantTag(t.merchant)}
		}
	}
	return e
}

// findTenant looks the tenant up by name. The result `found` is Made if this run created the tenant, and Usable if the run may adopt
// the tenant. If the run must not adopt the tenant, `found` is Foreign, and the error contains the reason.
func (d Deps) findTenant(ctx context.Context, t tenant) (found saga.Found, projectID string, err error) {
	id, err := d.Identity(t.cloud)
	if err != nil {
		return saga.Absent, "", err
	}
	p, err := id.FindProject(ctx, t.domain, t.name)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return saga.Absent, "", nil
	case err != nil:
		return saga.Absent, "", err
	case p.HasTag(keystone.RunTag(t.run)):
		saga.CallOf(ctx).Made(tenantObject(t, p, saga.Own))
		return saga.Made, p.ID, nil
	}
	if err := unadoptable(t, p); err != nil {
		return saga.Foreign, "", err
	}
	saga.CallOf(ctx).Made(tenantObject(t, p, saga.Adopted))
	return saga.Usable, p.ID, nil
}

// createTenant creates the project, or adopts an existing project. The result `own` is true if this run created the project.
func (d Deps) createTenant(ctx context.Context, t tenant, of string) (p keystone.Project, own bool, err error) {
	id, err := d.Identity(t.cloud)
	if err != nil {
		return keystone.Project{}, false, err
	}
	p, own, err = id.EnsureProject(ctx, d.newProject(t, of))
	if err == nil && !own {
		err = unadoptable(t, p)
	}
	if err != nil {
		return keystone.Project{}, false, err
	}
	origin := saga.Adopted
	if own {
		origin = saga.Own
	}
	saga.CallOf(ctx).Made(tenantObject(t, p, origin))
	return p, own, nil
}

// newProject describes the project that a run creates for the tenant. The parameter `of` names the tenant's customer or subscription.
func (d Deps) newProject(t tenant, of string) keystone.NewProject {
	return keystone.NewProject{
		ID: projectID(t.run, t.name), Name: t.name, DomainID: t.domain, Description: "BillingStack " + of + " of merchant " + t.merchant,
		Tags: keystone.TenantTags(t.run, t.merchant, d.Installation), RunTag: keystone.RunTag(t.run),
	}
}

// projectID returns the id that a run requests for a project. Only Identity v2.0 uses this id: if the answer to the request is lost, a
// repetition of the request cannot create a second project.
func projectID(run, name string) string {
	id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(run+" "+name))
	return hex.EncodeToString(id[:])
}

// unadoptable returns nil if the run may adopt the existing project. Otherwise it returns an error with the reason.
func unadoptable(t tenant, p keystone.Project) error {
	switch {
	case !p.HasTag(keystone.MerchantTag(t.merchant)) && !t.adoptUnmarked:
		return StepError{upstream.Blocked, "conflict", fmt.Sprintf(
			"project %[1]s (%[2]s) exists and does not carry the tag %[3]s. See who uses it: openstack role assignment list --names "+
				"--project %[2]s. If it is not this customer's, rename it: openstack project set --name NEW %[2]s. If it is this customer's, "+
				"tag it: openstack project set --tag %[3]s %[2]s; the customer's user then gets roles on it. Then retry the run",
			p.Name, p.ID, keystone.MerchantTag(t.merchant)), saga.FixByOperator}
	case !p.Enabled:
		return StepError{
			upstream.Blocked, "tenant-disabled",
			fmt.Sprintf("project %s (%s) is disabled: enable it", p.Name, p.ID), saga.FixByOperator,
		}
	}
	return nil
}

// removeTenant removes the tenant if this run created it.
func (d Deps) removeTenant(ctx context.Context, t tenant) error {
	id, err := d.Identity(t.cloud)
	if err != nil {
		return err
	}
	removed, err := id.RemoveProject(ctx, keystone.Project{Name: t.name, DomainID: t.domain}, keystone.RunTag(t.run))
	return recordRemoval(ctx, "project", removed.ID, removed.ID != "", err)
}

func tenantObject(t tenant, p keystone.Project, origin saga.Origin) saga.Object {
	return saga.Object{Kind: "project", Cloud: t.cloud, ID: p.ID, Name: p.Name, Origin: origin}
}
