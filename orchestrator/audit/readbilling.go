package audit

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/merchants"
)

// readBilling reads the customers, subscriptions and plans of the merchants.
func (r *reading) readBilling(ctx context.Context, all []merchants.Merchant) {
	for _, m := range all {
		here := r.merchant(m.ID)
		_, err := r.Billing.Merchant(ctx, m.ID)
		if errors.Is(err, billing.ErrNotFound) {
			r.note(Gap{Code: GapMerchantUnknown, MerchantID: m.ID, Detail: "BillingStack does not have the merchant"})
			continue
		}
		if err == nil {
			err = r.Billing.EachCustomer(ctx, m.ID, func(c billing.Customer) { r.world.customers[canon(c.ID)] = &foundCustomer{m.ID} })
			here.customersRead = err == nil
		}
		if err != nil {
			r.note(Gap{Code: GapBillingUnavailable, MerchantID: m.ID, Detail: err.Error()})
		}
	}
	for _, m := range all {
		here := r.merchant(m.ID)
		if !here.customersRead {
			continue
		}
		err := r.Billing.EachSubscription(ctx, m.ID, func(s billing.Subscription) { r.takeSubscription(m.ID, s) })
		if here.subscriptionsRead = err == nil; err == nil {
			err = r.Billing.EachPlanID(ctx, m.ID, func(id string) { here.plans[id] = true })
			here.plansRead = err == nil
		}
		if here.plansRead && len(here.plans) == 0 && r.sells(m.ID) { // BillingStack deletes no plan that has subscriptions
			here.plansRead, err = false, errors.New("the list of the merchant's plans is empty, but the merchant has subscriptions")
		}
		if err != nil {
			r.note(Gap{Code: GapBillingUnavailable, MerchantID: m.ID, Detail: err.Error()})
		}
	}
	r.counted(kindCustomer, len(r.world.customers))
	r.counted(kindSubscription, len(r.world.subscriptions))
}

// sells reports whether a subscription of the merchant was found.
func (r *reading) sells(merchant string) bool {
	for _, s := range r.world.subscriptions {
		if s.merchant == merchant {
			return true
		}
	}
	return false
}

// takeSubscription stores a subscription from a merchant's list. It stores the merchant of the subscription's customer as the
// subscription's merchant, because the list of an original BillingStack server may also contain subscriptions of other merchants.
func (r *reading) takeSubscription(merchant string, s billing.Subscription) {
	if customer := r.world.customers[s.CustomerID]; customer != nil {
		merchant = customer.merchant
	}
	r.addSubscription(merchant, s)
}
