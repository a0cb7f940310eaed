package billing

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// EachCustomer calls the function `take` for each of the merchant's customers, while the list is being read. If EachCustomer returns an
// error, the list is incomplete, and take may have been called. BillingStack answers with an empty list if it does not have the
// merchant.
func (c *Client) EachCustomer(ctx context.Context, merchantID string, take func(Customer)) error {
	op := fmt.Sprintf("listing the customers of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return err
	}
	where := []Condition{{Field: "merchant_id", Value: merchantID}}
	return eachWithin(ctx, c, bulkLimits, op, customersOf(merchantID), where, func(one Customer) {
		if one.MerchantID == merchantID { // the original v2 server ignores the merchant in the path
			take(one)
		}
	})
}

// EachSubscription is like EachCustomer, but for the subscriptions of all customers of the merchant. A subscription does not contain
// the id of its merchant. A caller who does not trust the list must check that the subscription's customer belongs to the merchant.
func (c *Client) EachSubscription(ctx context.Context, merchantID string, take func(Subscription)) error {
	op := fmt.Sprintf("listing the subscriptions of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return err
	}
	return eachWithin(ctx, c, bulkLimits, op, subscriptionsOf(merchantID), nil, take)
}

// EachPlanID is like EachCustomer, but for the ids of the merchant's plans.
func (c *Client) EachPlanID(ctx context.Context, merchantID string, take func(id string)) error {
	op := fmt.Sprintf("listing the plans of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return err
	}
	type planID struct {
		ID string `json:"id"`
	}
	return eachWithin(ctx, c, bulkLimits, op, plansOf(merchantID), nil, func(one planID) { take(one.ID) })
}

// EachOffer is like EachCustomer, but for the merchant's plans. Only the fields that a bill needs are set: ID, and the fields ProductID, Name
// and Pricing of the Items.
func (c *Client) EachOffer(ctx context.Context, merchantID string, take func(Plan)) error {
	op := fmt.Sprintf("listing the plans of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return err
	}
	type offer struct {
		ID    string `json:"id"`
		Items []struct {
			ProductID string  `json:"product_id"`
			Name      string  `json:"name"`
			Pricing   Pricing `json:"pricing"`
		} `json:"items"`
	}
	return eachWithin(ctx, c, bulkLimits, op, plansOf(merchantID), nil, func(one offer) {
		p := Plan{ID: one.ID, Items: make([]PlanItem, len(one.Items))}
		for i, item := range one.Items {
			p.Items[i] = PlanItem{ProductID: item.ProductID, Name: item.Name, Pricing: item.Pricing}
		}
		take(p)
	})
}

// EachPricing is like EachCustomer, but for the merchant's products. Only the fields that a bill needs are set: ID, Name and Pricing.
func (c *Client) EachPricing(ctx context.Context, merchantID string, take func(Product)) error {
	op := fmt.Sprintf("listing the products of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return err
	}
	type priced struct {
		ID      string  `json:"id"`
		Name    string  `json:"name"`
		Pricing Pricing `json:"pricing"`
	}
	return eachWithin(ctx, c, bulkLimits, op, productsOf(merchantID), nil, func(one priced) {
		take(Product{ID: one.ID, Name: one.Name, Pricing: one.Pricing})
	})
}
