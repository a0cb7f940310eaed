package billing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func subscriptionsOf(merchantID string) string { return "/merchants/" + merchantID + "/subscriptions" }

// Subscriptions lists the subscriptions of all customers of the merchant.
func (c *Client) Subscriptions(ctx context.Context, merchantID string) ([]Subscription, error) {
	op := fmt.Sprintf("listing the subscriptions of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return nil, err
	}
	return read[Subscription](ctx, c, op, subscriptionsOf(merchantID), nil)
}

// SubscriptionPage lists a part of the merchant's subscriptions, sorted by id. If customerID is not empty, SubscriptionPage lists
// only this customer's subscriptions.
func (c *Client) SubscriptionPage(ctx context.Context, merchantID, customerID string, p Page) ([]Subscription, error) {
	op := fmt.Sprintf("listing the subscriptions of merchant %q", upstream.Clean(merchantID))
	ids, where := []namedID{{"merchant", merchantID}}, []Condition(nil)
	if customerID != "" {
		ids = append(ids, namedID{"customer", customerID})
		where = []Condition{{Field: "customer_id", Value: customerID}}
	}
	if err := checkIDs(op, ids...); err != nil {
		return nil, err
	}
	return page(ctx, c, op, subscriptionsOf(merchantID), where, p, func(s Subscription) string {
		if customerID != "" && s.CustomerID != customerID {
			return "" // an object without an id is left out of the page
		}
		return s.ID
	})
}

// SubscriptionsOf lists one customer's subscriptions. SubscriptionsOf returns no subscriptions if the customer belongs to another
// merchant.
func (c *Client) SubscriptionsOf(ctx context.Context, merchantID, customerID string) ([]Subscription, error) {
	op := fmt.Sprintf("listing the subscriptions of customer %q", upstream.Clean(customerID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"customer", customerID}); err != nil {
		return nil, err
	}
	all, err := read[Subscription](ctx, c, op, subscriptionsOf(merchantID), []Condition{{Field: "customer_id", Value: customerID}})
	if err != nil {
		return nil, err
	}
	own := all[:0]
	for _, s := range all {
		if s.CustomerID == customerID {
			own = append(own, s)
		}
	}
	return own, nil
}

// Subscription returns the subscription with the given id. Subscription returns ErrNotFound if the subscription does not exist or
// its customer belongs to another merchant.
func (c *Client) Subscription(ctx context.Context, merchantID, id string) (Subscription, error) {
	op := fmt.Sprintf("reading subscription %q", upstream.Clean(id))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"subscription", id}); err != nil {
		return Subscription{}, err
	}
	found, err := find[Subscription](ctx, c, op, subscriptionsOf(merchantID), id)
	if err == nil && found.ID != id {
		err = &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
	}
	if err != nil {
		return Subscription{}, err
	}
	return found, nil
}

// EnsureSubscription creates the subscription with the id want.ID, or returns the existing subscription. The call may be
// repeated. EnsureSubscription returns ErrConflict if want.ID belongs to a subscription with other values, such as another
// ResourceID.
func (c *Client) EnsureSubscription(ctx context.Context, merchantID string, want Subscription) (Subscription, error) {
	op := fmt.Sprintf("creating subscription %q", upstream.Clean(want.ID))
	ids := []namedID{{"merchant", merchantID}, {"subscription", want.ID}, {"plan", want.PlanID}, {"customer", want.CustomerID}}
	if want.PaymentMethodID != nil {
		ids = append(ids, namedID{"payment method", *want.PaymentMethodID})
	}
	if err := checkIDs(op, ids...); err != nil {
		return Subscription{}, err
	}
	return creation[Subscription]{
		op: op, merchantID: merchantID, collection: subscriptionsOf(merchantID), id: want.ID, want: want,
		idOf: func(found Subscription) string { return found.ID },
		same: func(found Subscription) bool { return reflect.DeepEqual(found, want) },
	}.ensure(ctx, c)
}

// RemoveSubscription deletes a subscription of the merchant's customers. The result `removed` reports whether the subscription
// existed. RemoveSubscription succeeds if the subscription does not exist, so the call may be repeated.
func (c *Client) RemoveSubscription(ctx context.Context, merchantID, id string) (removed bool, err error) {
	op := fmt.Sprintf("deleting subscription %q", upstream.Clean(id))
	if _, err := c.Subscription(ctx, merchantID, id); err != nil {
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return false, err
	}
	return remove[Subscription](ctx, c, op, subscriptionsOf(merchantID), id)
}

// SetResource sets the ResourceID of a subscription. The call may be repeated. SetResource returns ErrNotFound if the
// subscription does not exist. The original server does not check the subscription's merchant. Therefore pass only the id of a
// subscription that this client has created or read.
func (c *Client) SetResource(ctx context.Context, merchantID, subscriptionID, resourceID string) (Subscription, error) {
	op := fmt.Sprintf("setting the resource of subscription %q", upstream.Clean(subscriptionID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"subscription", subscriptionID}); err != nil {
		return Subscription{}, err
	}
	if resourceID == "" || len(resourceID) > 255 {
		return Subscription{}, invalid(op, "resource id %q must have 1 to 255 bytes", upstream.Clean(resourceID))
	}
	return c.setField(ctx, op, merchantID, subscriptionID, "resource_id", resourceID, func(s Subscription) string { return s.ResourceID })
}

// SetPlan sets the PlanID of a subscription, and leaves the other fields as they are. The call may be repeated. SetPlan returns
// ErrNotFound if the subscription does not exist. If the plan does not exist, SetPlan returns ErrReference with the original server,
// and another Permanent error with the embedded server. The original server does not check the merchant of the subscription or of
// the plan. Therefore pass only ids that this client has read for the merchant.
func (c *Client) SetPlan(ctx context.Context, merchantID, subscriptionID, planID string) (Subscription, error) {
	op := fmt.Sprintf("setting the plan of subscription %q to %q", upstream.Clean(subscriptionID), upstream.Clean(planID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"subscription", subscriptionID}, namedID{"plan", planID}); err != nil {
		return Subscription{}, err
	}
	return c.setField(ctx, op, merchantID, subscriptionID, "plan_id", planID, func(s Subscription) string { return s.PlanID })
}

// setField sets one field of a subscription. Both versions of the server keep the fields that the body of an update lacks. The
// function `of` returns the field's value. After a 500, setField looks the subscription up.
func (c *Client) setField(
	ctx context.Context, op, merchantID, subscriptionID, field, value string, of func(Subscription) string,
) (Subscription, error) {
	var got Subscription
	err := c.call(ctx, request{
		op: op, method: c.update, path: subscriptionsOf(merchantID) + "/" + subscriptionID, item: subscriptionID,
		body: map[string]string{field: value}, out: &got,
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && e.Status == http.StatusInternalServerError && !errors.Is(err, ErrNotFound) {
		found, lookErr := find[Subscription](ctx, c, op, subscriptionsOf(merchantID), subscriptionID)
		switch {
		case lookErr == nil && of(found) == value:
			got, err = found, nil
		case errors.Is(lookErr, ErrNotFound):
			err = lookErr
		case lookErr != nil:
			err = undecided(err, lookErr)
		}
	}
	if err == nil && (got.ID != subscriptionID || of(got) != value) {
		err = &upstream.Error{
			Service: Service,
			Class:   upstream.Transient, Op: op, MaybeDone: true,
			Message: fmt.Sprintf("the answer has subscription %q with %s %q, not the requested values", upstream.Clean(got.ID), field, upstream.Clean(of(got))),
		}
	}
	if err != nil {
		return Subscription{}, err
	}
	return got, nil
}
