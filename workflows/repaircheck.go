package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// checkRepair is the first step of the run. The step confirms the finding again, and then checks the conditions of the repair's action.
// These conditions are not checked when the run is accepted, because earlier repairs of the same plan may change them.
func (d Deps) checkRepair(ctx context.Context, o *Repair) error {
	now, err := d.repairable(ctx, *o)
	if err == nil {
		err = d.notAccepted(ctx, o.Entry.FindingID)
	}
	if err == nil {
		now.RunID = saga.CallOf(ctx).RunID
		now, err = d.repairAllowed(ctx, now)
	}
	if err != nil {
		return permanently(err)
	}
	o.RunID, o.Was, o.Marks, o.WasDisabled = now.RunID, now.Was, now.Marks, now.WasDisabled
	return nil
}

// The method `repairable` returns an *AdmissionError if the repair is no longer needed as it was planned. If the repair creates the tenant
// or sets the resource_id of a subscription, the returned order contains the Standing of the subscription.
func (d Deps) repairable(ctx context.Context, o Repair) (Repair, error) {
	changed, err := d.Audits.Confirm(ctx, o.Entry, o.Subject)
	switch {
	case err != nil:
		return o, err
	case changed != "":
		return o, refuse(CodeFindingChanged, saga.FixByOperator, changed)
	}
	if o.Entry.SubscriptionID != "" && o.does(audit.CreateTenant, audit.SetResource) {
		now, err := d.Standing(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID)
		if err != nil {
			return o, err
		}
		if refused := now.over(); refused != nil {
			return o, refused
		}
		o.Was = &now
	}
	return o, nil
}

// notAccepted returns an *AdmissionError if a person has accepted the finding since the repair was approved. In this way, a person can
// stop a removal that is due.
func (d Deps) notAccepted(ctx context.Context, id string) error {
	f, err := d.Audits.Finding(ctx, id)
	switch {
	case errors.Is(err, audit.ErrNotFound):
		return nil
	case err == nil && f.Status == audit.Accepted:
		return refuse(CodeFindingClosed, saga.FixByOperator, "a person has accepted the finding since the repair was approved")
	}
	return err
}

// repairAllowed returns the order with the values that the steps need. If the repair would change an object that is in use or is not
// Tenantry's, repairAllowed returns an *AdmissionError.
func (d Deps) repairAllowed(ctx context.Context, o Repair) (Repair, error) {
	switch o.Entry.Action {
	case audit.AssignRole, audit.CreateTenant:
		return o, d.rolesStay(ctx, o)
	case audit.EnableProject, audit.DisableProject, audit.RemoveTenant:
		return d.ownProject(ctx, o)
	case audit.RemoveSubscription:
		return o, d.resourceUnused(ctx, o)
	case audit.RemoveCustomer:
		used, err := d.usedBy(ctx, o.held(), o.RunID)
		if err == nil && used != "" {
			err = refuse(CodeInUse, saga.FixByOperator, used)
		}
		return o, err
	case audit.TagProject, audit.RevokeRole, audit.SetResource:
		return o, nil
	}
	return o, refuse(CodeNotRepairable, saga.FixByOperator, "this release does not know the action "+string(o.Entry.Action))
}

// rolesStay checks the roles that the run assigns. If one of these roles no longer has its name, or may not be given to users,
// rolesStay returns an *AdmissionError: see [keystone.Identity].
func (d Deps) rolesStay(ctx context.Context, o Repair) error {
	id, err := d.Identity(o.Entry.Cloud)
	if err != nil {
		return unconfigured(err)
	}
	id.Forget()
	for _, r := range o.roles() {
		found, err := id.Roles(ctx, []string{r.role.Name})
		switch {
		case errors.Is(err, keystone.ErrRefusedRole):
			return refuse(CodeRoleChanged, saga.FixByOperator, "role "+r.role.Name+" may not be given to users: it is, or implies, a reserved role")
		case errors.Is(err, keystone.ErrNotFound), errors.Is(err, keystone.ErrAmbiguous), err == nil && found[0].ID != r.role.ID:
			return refuse(CodeRoleChanged, saga.FixByOperator, "role "+r.role.ID+" no longer has the name "+r.role.Name)
		case err != nil:
			return err
		}
	}
	return nil
}

// ownProject sets the fields WasDisabled and Marks, and returns the order. If this installation has not created the tenant, or if the
// tenant's state does not allow the repair, ownProject returns an *AdmissionError.
func (d Deps) ownProject(ctx context.Context, o Repair) (Repair, error) {
	p, err := d.namedProject(ctx, o.held(), o.value("tenant"))
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return o, refuse(CodeTenantGone, saga.FixByOperator, o.text()+" no longer exists")
	case err != nil:
		return o, err
	case p.Name != o.value("tenant") || p.DomainID != o.value("domain_id") || !keystone.HasTenantTags(p.Tags) ||
		!p.HasTag(keystone.InstallationTag(d.Installation)) || !p.HasTag(keystone.RunTag(o.value("made_by"))):
		return o, refuse(CodeTenantNotOurs, saga.FixByOperator, o.text()+" has lost its name, or a tag of Tenantry: repair the name and the tags first")
	case o.removing() && (p.Enabled || !p.HasTag(keystone.DisabledTag(o.DisabledBy))):
		return o, refuse(CodeTenantEnabled, saga.FixByOperator, o.text()+" was enabled since the repair disabled it")
	case o.removing() && d.Now().Sub(o.DisabledAt) < settled:
		return o, refuse(CodeTenantNotSettled, saga.FixByNobody, o.text()+" was disabled less than "+settled.String()+" ago")
	}
	if !o.removing() {
		o.WasDisabled = !p.Enabled
	}
	for _, run := range p.DisabledBy() {
		o.Marks = append(o.Marks, keystone.DisabledTag(run))
	}
	return o, nil
}

// resourceUnused checks the subscription that the run removes. If the resource of the subscription is an enabled project,
// resourceUnused returns an *AdmissionError.
func (d Deps) resourceUnused(ctx context.Context, o Repair) error {
	resource := o.value("resource_id")
	if !keystone.ValidID(resource) {
		return nil
	}
	id, err := d.Identity(o.Entry.Cloud)
	if err != nil {
		return unconfigured(err)
	}
	p, err := id.Project(ctx, resource)
	if err == nil && p.Enabled {
		return refuse(CodeInUse, saga.FixByOperator, "the subscription's resource_id names a project that is enabled")
	}
	return ignoreGone(err)
}

// The method `held` returns the objects of the repair as a [Held], the type that other workflows use.
func (o Repair) held() Held {
	return Held{
		MerchantID: o.Entry.MerchantID, CustomerID: o.Entry.CustomerID, SubscriptionID: o.Entry.SubscriptionID, UserID: o.Entry.UserID,
		Cloud: o.Entry.Cloud, DomainID: o.value("domain_id"), TenantID: o.value("project_id"),
	}
}
