package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// removeCustomer removes the customer that the run made. One that a re-check finds may have been ordered for since.
func (u Deps) removeCustomer(ctx context.Context, o *Order) error {
	if o.NewCustomer == nil {
		return nil
	}
	if saga.CallOf(ctx).Kind == saga.CallRecheck {
		_, err := u.Billing.Customer(ctx, o.MerchantID, o.CustomerID)
		if errors.Is(err, billing.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if theirs, err := u.customerClaimed(ctx, o); err != nil || theirs {
			return err
		}
	}
	own := func(s billing.Subscription) bool { return s.ID == o.SubscriptionID }
	removed, err := u.Billing.RemoveCustomer(ctx, o.MerchantID, o.CustomerID, own)
	return erase(ctx, "customer", o.CustomerID, removed, err)
}
