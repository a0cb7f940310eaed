package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// findCustomer reads the customer by id. If the order names an existing customer, the run's first step has already read this
// customer. In this case, findCustomer does not read the customer.
func (d Deps) findCustomer(ctx context.Context, o *Order) (saga.Found, error) {
	if o.NewCustomer == nil {
		record(ctx, "customer", o.CustomerID, "", saga.Adopted)
		return saga.Usable, nil
	}
	c, err := d.Billing.Customer(ctx, o.MerchantID, o.CustomerID)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return saga.Absent, nil
	case err != nil:
		return saga.Absent, err
	}
	record(ctx, "customer", c.ID, c.Name, saga.Own)
	return saga.Made, nil
}

// createCustomer creates the customer if the order does not name an existing customer.
func (d Deps) createCustomer(ctx context.Context, o *Order) error {
	if o.NewCustomer == nil {
		record(ctx, "customer", o.CustomerID, "", saga.Adopted)
		return nil
	}
	c, err := d.Billing.EnsureCustomer(ctx, billing.Customer{
		ID: o.CustomerID, MerchantID: o.MerchantID, Name: o.NewCustomer.Name,
		Currency: o.NewCustomer.Currency, Language: o.NewCustomer.Language,
	})
	if err == nil {
		record(ctx, "customer", c.ID, c.Name, saga.Own)
	}
	return err
}

// removeCustomer removes the customer if the run created it.
func (d Deps) removeCustomer(ctx context.Context, o *Order) error {
	if o.NewCustomer == nil {
		return nil
	}
	own := func(s billing.Subscription) bool { return s.ID == o.SubscriptionID }
	removed, err := d.Billing.RemoveCustomer(ctx, o.MerchantID, o.CustomerID, own)
	return recordRemoval(ctx, "customer", o.CustomerID, removed, err)
}
