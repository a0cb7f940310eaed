package workflows

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Subscribe gives one user one plan: customer, tenant and roles, subscription, tenant and role, and the subscription
// attached to its tenant, so that usage metered there is billed. The process is BillingStack's own, as its
// documentation of subscriptions tells it.
func Subscribe(d Deps) saga.Workflow[Order] {
	return saga.Workflow[Order]{
		Name: "subscribe", Version: 1, Title: "Sign a user up for a merchant's plan.",
		Classify: classify, ForRetry: forRetry, Result: Order.result,
		NewSubject: func(o Order) bool { return o.NewCustomer != nil },
		Steps: []saga.Step[Order]{
			{
				Name:      "check",
				Satisfied: func(o *Order, now time.Time) bool { return o.NewCustomer != nil && !stale(o, now) },
				Do:        d.check,
				NoUndo:    "it only reads",
			},
			{
				Name: "create-customer", After: []string{"check"},
				Find:  d.findCustomer,
				Claim: func(o *Order, _ string) string { return "customer " + o.CustomerID },
				Do:    d.createCustomer,
				Undo:  d.removeCustomer,
			},
			{
				Name: "create-customer-tenant", After: []string{"create-customer"},
				Find: func(ctx context.Context, o *Order) (found saga.Found, err error) {
					found, o.CustomerTenantID, err = d.findTenant(ctx, o, customerTenant(o))
					o.CustomerTenantOwn = found == saga.Made
					return found, err
				},
				Claim: func(o *Order, _ string) string { return tenantClaim(o, customerTenant(o)) },
				Do: func(ctx context.Context, o *Order) error {
					p, own, err := d.createTenant(ctx, o, customerTenant(o), "customer "+o.CustomerID)
					o.CustomerTenantID, o.CustomerTenantOwn = p.ID, own
					return err
				},
				Undo: func(ctx context.Context, o *Order) error { return d.removeTenant(ctx, o, customerTenant(o)) },
			},
			{
				Name: "assign-customer-role", After: []string{"create-customer-tenant"},
				Each:  func(o *Order) []string { return names(o.CustomerRoles) },
				Find:  func(ctx context.Context, o *Order) (saga.Found, error) { return d.findRole(ctx, onCustomerTenant(o)) },
				Claim: func(o *Order, role string) string { return roleClaim(onCustomerTenant(o), role) },
				Do:    func(ctx context.Context, o *Order) error { return d.assignRole(ctx, onCustomerTenant(o)) },
				Undo:  func(ctx context.Context, o *Order) error { return d.removeRole(ctx, onCustomerTenant(o)) },
			},
			{
				Name: "scope-token", After: []string{"assign-customer-role"}, Optional: true,
				Do:     d.scopeToken,
				NoUndo: "the scoped token expires with the user's own",
			},
			{
				Name: "create-subscription", After: []string{"create-customer"},
				Find:  d.findSubscription,
				Claim: func(o *Order, _ string) string { return "subscription " + o.SubscriptionID },
				Do: func(ctx context.Context, o *Order) error {
					s, err := d.Billing.EnsureSubscription(ctx, o.MerchantID, billing.Subscription{
						ID: o.SubscriptionID, PlanID: o.PlanID, CustomerID: o.CustomerID,
						ResourceID: "pending:" + o.RunID, ResourceType: "tenant",
						BillingDay: o.BillingDay, PaymentMethodID: o.PaymentMethodID,
					})
					if err == nil {
						record(ctx, "subscription", s.ID, "", saga.Own)
					}
					return err
				},
				Undo: func(ctx context.Context, o *Order) error {
					removed, err := d.Billing.RemoveSubscription(ctx, o.MerchantID, o.SubscriptionID)
					return erase(ctx, "subscription", o.SubscriptionID, removed, err)
				},
			},
			{
				Name: "create-subscription-tenant", After: []string{"create-subscription"},
				Find: func(ctx context.Context, o *Order) (found saga.Found, err error) {
					found, o.SubscriptionTenantID, err = d.findTenant(ctx, o, subscriptionTenant(o))
					o.SubscriptionTenantOwn = found == saga.Made
					return found, err
				},
				Claim: func(o *Order, _ string) string { return tenantClaim(o, subscriptionTenant(o)) },
				Do: func(ctx context.Context, o *Order) error {
					p, own, err := d.createTenant(ctx, o, subscriptionTenant(o), "subscription "+o.SubscriptionID)
					o.SubscriptionTenantID, o.SubscriptionTenantOwn = p.ID, own
					return err
				},
				Undo: func(ctx context.Context, o *Order) error { return d.removeTenant(ctx, o, subscriptionTenant(o)) },
			},
			{
				Name: "assign-subscription-role", After: []string{"create-subscription-tenant"},
				Each: func(o *Order) []string { return names(o.SubscriptionRoles) },
				Find: func(ctx context.Context, o *Order) (saga.Found, error) {
					return d.findRole(ctx, onSubscriptionTenant(o))
				},
				Claim: func(o *Order, role string) string { return roleClaim(onSubscriptionTenant(o), role) },
				Do:    func(ctx context.Context, o *Order) error { return d.assignRole(ctx, onSubscriptionTenant(o)) },
				Undo:  func(ctx context.Context, o *Order) error { return d.removeRole(ctx, onSubscriptionTenant(o)) },
			},
			{
				Name: "attach-tenant", After: []string{"create-subscription-tenant"},
				Find: func(ctx context.Context, o *Order) (saga.Found, error) {
					s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
					if err == nil && s.ResourceID == o.SubscriptionTenantID {
						return saga.Made, nil
					}
					return saga.Absent, err
				},
				Do: func(ctx context.Context, o *Order) error {
					_, err := d.Billing.SetResource(ctx, o.MerchantID, o.SubscriptionID, o.SubscriptionTenantID)
					return err
				},
				NoUndo: "the value goes with the subscription",
			},
		},
	}
}

// findSubscription finds the subscription by the id that the run chose. Other fields may have changed since.
func (d Deps) findSubscription(ctx context.Context, o *Order) (saga.Found, error) {
	s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	}
	record(ctx, "subscription", s.ID, "", saga.Own)
	return saga.Made, nil
}

// record notes what a step made or adopted upstream.
func record(ctx context.Context, kind, id, name string, origin saga.Origin) {
	saga.CallOf(ctx).Made(saga.Object{Kind: kind, ID: id, Name: name, Origin: origin})
}

// erase notes what an Undo removed.
func erase(ctx context.Context, kind, id string, removed bool, err error) error {
	if err == nil && removed {
		saga.CallOf(ctx).Gone(kind, id)
	}
	return err
}

func tenantObject(o *Order, p keystone.Project, origin saga.Origin) saga.Object {
	return saga.Object{Kind: "project", Cloud: o.Cloud, ID: p.ID, Name: p.Name, Origin: origin}
}
