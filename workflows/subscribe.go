package workflows

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Subscribe gives one user one plan: customer, tenant and roles, subscription, tenant and role, and the subscription
// attached to its tenant, so that usage metered there is billed. The process is BillingStack's own, as its
// documentation of subscriptions tells it.
func Subscribe(u Deps) saga.Workflow[Order] {
	return saga.Workflow[Order]{
		Name: "subscribe", Version: 1, Title: "Sign a user up for a merchant's plan.",
		Classify: classify, ForRetry: forRetry, Result: Order.result,
		Steps: []saga.Step[Order]{
			{
				Name:      "check",
				Satisfied: func(o *Order, now time.Time) bool { return o.NewCustomer != nil && !stale(o, now) },
				Do:        u.check,
				NoUndo:    "it only reads",
			},
			{
				Name: "create-customer", After: []string{"check"},
				Do: func(ctx context.Context, o *Order) error {
					if o.NewCustomer == nil {
						record(ctx, "customer", o.CustomerID, "", saga.Adopted)
						return nil
					}
					c, err := u.Billing.EnsureCustomer(ctx, billing.Customer{
						ID: o.CustomerID, MerchantID: o.MerchantID, Name: o.NewCustomer.Name,
						Currency: o.NewCustomer.Currency, Language: o.NewCustomer.Language,
					}, saga.CallOf(ctx).Look)
					if err == nil {
						record(ctx, "customer", c.ID, c.Name, saga.Own)
					}
					return err
				},
				Undo: u.removeCustomer,
			},
			{
				Name: "create-customer-tenant", After: []string{"create-customer"},
				Do: func(ctx context.Context, o *Order) error {
					p, own, err := u.ensureTenant(ctx, o, customerTenant(o), "customer "+o.CustomerID)
					o.CustomerTenantID, o.CustomerTenantOwn = p.ID, own
					return err
				},
				Undo: func(ctx context.Context, o *Order) error { return u.removeTenant(ctx, o, customerTenant(o)) },
			},
			{
				Name: "assign-customer-role", After: []string{"create-customer-tenant"},
				Each: func(o *Order) []string { return names(o.CustomerRoles) },
				Do: func(ctx context.Context, o *Order) error {
					return u.assign(ctx, o, o.CustomerRoles, o.CustomerTenantID, o.CustomerTenantOwn)
				},
				Undo: func(ctx context.Context, o *Order) error {
					return u.unassign(ctx, o, o.CustomerRoles, o.CustomerTenantID, o.CustomerTenantOwn)
				},
			},
			{
				Name: "scope-token", After: []string{"assign-customer-role"}, Optional: true,
				Do:     u.scopeToken,
				NoUndo: "the scoped token expires with the user's own",
			},
			{
				Name: "create-subscription", After: []string{"create-customer"},
				Do: func(ctx context.Context, o *Order) error {
					s, err := u.Billing.EnsureSubscription(ctx, o.MerchantID, billing.Subscription{
						ID: o.SubscriptionID, PlanID: o.PlanID, CustomerID: o.CustomerID,
						ResourceID: "pending:" + o.RunID, ResourceType: "tenant",
						BillingDay: o.BillingDay, PaymentMethodID: o.PaymentMethodID,
					}, saga.CallOf(ctx).Look)
					if err == nil {
						record(ctx, "subscription", s.ID, "", saga.Own)
					}
					return err
				},
				Undo: func(ctx context.Context, o *Order) error {
					removed, err := u.Billing.RemoveSubscription(ctx, o.MerchantID, o.SubscriptionID)
					return erase(ctx, "subscription", o.SubscriptionID, removed, err)
				},
			},
			{
				Name: "create-subscription-tenant", After: []string{"create-subscription"},
				Do: func(ctx context.Context, o *Order) error {
					p, own, err := u.ensureTenant(ctx, o, subscriptionTenant(o), "subscription "+o.SubscriptionID)
					o.SubscriptionTenantID, o.SubscriptionTenantOwn = p.ID, own
					return err
				},
				Undo: func(ctx context.Context, o *Order) error { return u.removeTenant(ctx, o, subscriptionTenant(o)) },
			},
			{
				Name: "assign-subscription-role", After: []string{"create-subscription-tenant"},
				Each: func(o *Order) []string { return names(o.SubscriptionRoles) },
				Do: func(ctx context.Context, o *Order) error {
					return u.assign(ctx, o, o.SubscriptionRoles, o.SubscriptionTenantID, o.SubscriptionTenantOwn)
				},
				Undo: func(ctx context.Context, o *Order) error {
					return u.unassign(ctx, o, o.SubscriptionRoles, o.SubscriptionTenantID, o.SubscriptionTenantOwn)
				},
			},
			{
				Name: "attach-tenant", After: []string{"create-subscription-tenant"},
				Do: func(ctx context.Context, o *Order) error {
					if saga.CallOf(ctx).Look {
						s, err := u.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
						if err != nil || s.ResourceID == o.SubscriptionTenantID {
							return err
						}
					}
					_, err := u.Billing.SetResource(ctx, o.MerchantID, o.SubscriptionID, o.SubscriptionTenantID)
					return err
				},
				NoUndo: "the value goes with the subscription",
			},
		},
	}
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
