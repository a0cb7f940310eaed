package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// repairByRemoval returns the steps that remove tenants, subscriptions and customers.
func (d Deps) repairByRemoval() []saga.Step[Repair] {
	return []saga.Step[Repair]{
		{
			Name: "announce-removal", After: []string{"disable-project"}, Effect: saga.Reads,
			Each: inRepairs(func(o Repair) bool { return o.does(audit.RemoveTenant) && !o.removing() }),
			Do: func(_ context.Context, o *Repair) error {
				o.RemovalDueAt = d.Now().Add(settled)
				return nil
			},
			NoUndo: "another run deletes the tenant ten minutes later if the tenant is proven empty. Nobody can restore a deleted tenant. " +
				"To prevent the deletion, accept the finding",
		},
		{
			Name: "keep-disabled", Effect: saga.Changes,
			Each:  inRepairs(Repair.removing),
			Find:  func(context.Context, *Repair) (saga.Found, error) { return saga.Usable, nil },
			Claim: func(o *Repair, _ string) string { return ClaimDisabled(o.tenant().claim()) },
			Do:    func(context.Context, *Repair) error { return nil },
			Undo:  d.keepTenant,
		},
		{
			Name: "prove-empty", After: []string{"check"}, Effect: saga.Reads,
			Each: inRepairs(Repair.removing),
			Do: func(ctx context.Context, o *Repair) error {
				found, err := d.Resources.Empty(ctx, o.Entry.Cloud, o.tenantID(), o.DisabledAt)
				if err != nil {
					return err
				}
				return found.fault(o.text())
			},
			NoUndo: "it only reads",
		},
		{
			Name: "delete-tenant", After: []string{"prove-empty"}, Effect: saga.Removes,
			Each:  inRepairs(Repair.removing),
			Find:  d.findTenantRemoved,
			Do:    d.deleteOrphan,
			Pivot: "Keystone cannot restore a deleted project",
		},
		{
			Name: "delete-subscription", After: []string{"check"}, Effect: saga.Removes,
			Each: inActions(audit.RemoveSubscription),
			Find: d.findSubscriptionRemoved,
			Do: func(ctx context.Context, o *Repair) error {
				if _, err := d.Billing.RemoveSubscription(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID); err != nil {
					return err
				}
				return confirmed(d.findSubscriptionRemoved(ctx, o))
			},
			Pivot: "BillingStack cannot restore a deleted subscription",
		},
		{
			Name: "delete-customer", After: []string{"check"}, Effect: saga.Removes,
			Each:  inActions(audit.RemoveCustomer),
			Find:  d.findCustomerRemoved,
			Do:    d.deleteUnusedCustomer,
			Pivot: "BillingStack cannot restore a deleted customer",
		},
	}
}

// keepTenant enables the tenant again if the repair has disabled the tenant. In one case, the tenant stays disabled: a run has
// suspended or ended the subscription since the repair disabled the tenant. That run found the tenant disabled, and relies on this
// state.
func (d Deps) keepTenant(ctx context.Context, o *Repair) error {
	now, err := d.Standing(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID)
	_, unknown := errors.AsType[*AdmissionError](err)
	switch {
	case err != nil && !unknown:
		return err
	case err == nil && now.TenantID == o.tenantID() && now.State != SubscriptionActive && !o.WasDisabled:
		return nil
	}
	return d.enableIfDisabledBy(ctx, *o, o.DisabledBy)
}

func (d Deps) findTenantRemoved(ctx context.Context, o *Repair) (saga.Found, error) {
	_, err := d.namedProject(ctx, o.held(), o.value("tenant"))
	if errors.Is(err, keystone.ErrNotFound) {
		o.recordRemoved(ctx)
		return saga.Made, nil
	}
	return saga.Absent, err
}

// recordRemoved records that the tenant is removed. If the finding says that the tenant's subscription or customer is missing,
// recordRemoved also records that this object is removed.
func (o Repair) recordRemoved(ctx context.Context) {
	for _, e := range o.expectRemoved("") {
		object := e.Object
		object.Origin = saga.Adopted
		saga.CallOf(ctx).Made(object)
		saga.CallOf(ctx).Gone(object.Kind, object.ID)
	}
}

// deleteOrphan deletes the tenant. Just before the deletion, deleteOrphan checks again that the tenant has the tag of the run that
// created it.
func (d Deps) deleteOrphan(ctx context.Context, o *Repair) error {
	id, err := d.Identity(o.Entry.Cloud)
	if err != nil {
		return err
	}
	removed, err := id.RemoveProject(ctx, keystone.Project{ID: o.tenantID()}, keystone.RunTag(o.value("made_by")))
	if err != nil {
		return err
	}
	if removed.ID == "" {
		if found, err := d.findTenantRemoved(ctx, o); err != nil || found == saga.Made {
			return err
		}
		return StepError{upstream.Permanent, CodeTenantNotOurs, o.text() + " has lost the tag of the run that has created it", saga.FixByOperator}
	}
	o.recordRemoved(ctx)
	return nil
}

func (d Deps) findSubscriptionRemoved(ctx context.Context, o *Repair) (saga.Found, error) {
	_, err := d.Billing.Subscription(ctx, o.Entry.MerchantID, o.Entry.SubscriptionID)
	return goneFrom(ctx, err, "subscription", o.Entry.SubscriptionID)
}

func (d Deps) findCustomerRemoved(ctx context.Context, o *Repair) (saga.Found, error) {
	_, err := d.Billing.Customer(ctx, o.Entry.MerchantID, o.Entry.CustomerID)
	return goneFrom(ctx, err, "customer", o.Entry.CustomerID)
}

// deleteUnusedCustomer deletes the customer. If the customer has a subscription by now, deleteUnusedCustomer keeps the customer, and
// stores the reason.
func (d Deps) deleteUnusedCustomer(ctx context.Context, o *Repair) error {
	_, err := d.Billing.RemoveCustomer(ctx, o.Entry.MerchantID, o.Entry.CustomerID, nil)
	if foreign, ok := errors.AsType[*billing.ForeignSubscriptionsError](err); ok {
		o.Kept = foreign.Error()
		return nil
	}
	if err != nil {
		return err
	}
	return confirmed(d.findCustomerRemoved(ctx, o))
}
