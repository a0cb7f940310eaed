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

// Subscriptions lists the subscriptions of the merchant's customers.
func (c *Client) Subscriptions(ctx context.Context, merchantID string) ([]Subscription, error) {
	op := fmt.Sprintf("listing the subscriptions of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return nil, err
	}
	return list[Subscription](ctx, c, op, subscriptionsOf(merchantID))
}

// SubscriptionsOf lists one customer's subscriptions. If the customer belongs to another merchant, it returns none.
func (c *Client) SubscriptionsOf(ctx context.Context, merchantID, customerID string) ([]Subscription, error) {
	op := fmt.Sprintf("listing the subscriptions of customer %q", upstream.Clean(customerID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"customer", customerID}); err != nil {
		return nil, err
	}
	var all []Subscription
	err := c.read(ctx, op, subscriptionsOf(merchantID), []Condition{{Field: "customer_id", Value: customerID}}, &all)
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

// Subscription returns the subscription with that id, or ErrNotFound if there is none or its customer belongs to another
// merchant.
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

// EnsureSubscription creates the subscription under want.ID, or returns the existing one. It may be repeated. It returns
// ErrConflict if the id belongs to a different object, or if the subscription has another ResourceID by now.
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

// RemoveSubscription deletes the subscription if its customer belongs to the merchant, and reports whether it existed. A missing
// one is success. It may be repeated.
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

// SetResource sets the resource whose usage the subscription bills. It may be repeated. It returns ErrNotFound if there is no
// such subscription. The original does not check that the subscription belongs to the merchant, so pass one that this client
// created or read.
func (c *Client) SetResource(ctx context.Context, merchantID, subscriptionID, resourceID string) (Subscription, error) {
	op := fmt.Sprintf("setting the resource of subscription %q", upstream.Clean(subscriptionID))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"subscription", subscriptionID}); err != nil {
		return Subscription{}, err
	}
	if resourceID == "" || len(resourceID) > 255 {
		return Subscription{}, invalid(op, "resource id %q is not 1 to 255 bytes", upstream.Clean(resourceID))
	}
	var got Subscription
	err := c.call(ctx, request{
		op: op, method: c.update, path: subscriptionsOf(merchantID) + "/" + subscriptionID, item: subscriptionID,
		body: map[string]string{"resource_id": resourceID}, out: &got,
	})
	if e, ok := errors.AsType[*upstream.Error](err); ok && e.Status == http.StatusInternalServerError && !errors.Is(err, ErrNotFound) {
		found, lookErr := find[Subscription](ctx, c, op, subscriptionsOf(merchantID), subscriptionID)
		switch {
		case lookErr == nil && found.ResourceID == resourceID:
			got, err = found, nil
		case errors.Is(lookErr, ErrNotFound):
			err = lookErr
		case lookErr != nil:
			err = undecided(err, lookErr)
		}
	}
	if err == nil && (got.ID != subscriptionID || got.ResourceID != resourceID) {
		err = &upstream.Error{
			Service: Service,
			Class:   upstream.Transient, Op: op, MaybeDone: true,
			Message: fmt.Sprintf("the answer shows subscription %q with resource %q", upstream.Clean(got.ID), upstream.Clean(got.ResourceID)),
		}
	}
	if err != nil {
		return Subscription{}, err
	}
	return got, nil
}
