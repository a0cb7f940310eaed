package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// repairBilling returns the step that sets the resource_id of a subscription.
func (d Deps) repairBilling() []saga.Step[Repair] {
	return []saga.Step[Repair]{{
		Name: "set-resource", After: []string{"create-tenant"}, Effect: saga.Changes,
		Each: inRepairs(func(o Repair) bool {
			return o.does(audit.SetResource) || o.does(audit.CreateTenant) && o.Entry.SubscriptionID != ""
		}),
		Find: func(ctx context.Context, o *Repair) (saga.Found, error) {
			s, err := d.Billing.Subscription(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID)
			switch {
			case errors.Is(err, billing.ErrNotFound):
				return saga.Absent, nil
			case err != nil || o.resource() == "" || s.ResourceID != o.resource():
				return saga.Absent, err
			}
			record(ctx, "subscription", s.ID, "", saga.Adopted)
			if o.does(audit.SetResource) { // the resource is correct, so a re-check does not change it
				return saga.Usable, nil
			}
			return saga.Made, nil
		},
		Claim: func(o *Repair, _ string) string {
			resource := o.value("resource_id")
			if o.does(audit.CreateTenant) {
				resource = "the tenant of " + o.doubles()
			}
			return ClaimResource(o.Entry.SubscriptionID, resource)
		},
		Do: func(ctx context.Context, o *Repair) error { return d.setResource(ctx, o, o.resource()) },
		// If the run has created a tenant, the compensation removes the tenant. The undo of this step therefore sets the resource
		// that the subscription had before the run. If a newer run has given the subscription another tenant, the undo sets that
		// tenant instead. If the run has not created a tenant, the undo changes nothing, because the value of the repair plan is
		// correct.
		Undo: func(ctx context.Context, o *Repair) error {
			if o.does(audit.SetResource) || o.TenantID == "" {
				return nil
			}
			s, err := d.Billing.Subscription(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID)
			if errors.Is(err, billing.ErrNotFound) || err == nil && s.ResourceID != o.TenantID {
				return nil
			}
			if err != nil {
				return err
			}
			now, err := d.Standing(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID)
			if err != nil {
				return err
			}
			before := o.value("old_resource_id")
			if now.TenantID != o.value("old_project_id") {
				before = now.TenantID
			}
			return d.setResource(ctx, o, before)
		},
	}}
}

// The method `resource` returns the id of the tenant that should be the resource of the subscription.
func (o Repair) resource() string {
	if o.does(audit.CreateTenant) {
		return o.TenantID
	}
	return o.value("resource_id")
}

func (d Deps) setResource(ctx context.Context, o *Repair, resource string) error {
	_, err := d.Billing.SetResource(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID, resource)
	if err == nil {
		record(ctx, "subscription", o.Entry.SubscriptionID, "", saga.Adopted)
	}
	if !errors.Is(err, billing.ErrNotFound) {
		return err
	}
	switch _, err := d.Billing.Subscription(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID); {
	case err == nil:
		return contradiction(billing.Service, "BillingStack shows subscription "+o.Entry.SubscriptionID+", but answers that it does not exist")
	case errors.Is(err, billing.ErrNotFound):
		return StepError{upstream.Permanent, CodeSubscriptionNotFound, notInBillingStack, saga.FixByOperator}
	default:
		return err
	}
}
