package billing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func customersOf(merchantID string) string { return "/merchants/" + merchantID + "/customers" }

// Customers lists the merchant's customers. The original v2 server also returns the customers of other merchants. Customers
// therefore puts the merchant into the request as a filter, and checks the merchant of each customer in the answer.
func (c *Client) Customers(ctx context.Context, merchantID string) ([]Customer, error) {
	op := fmt.Sprintf("listing the customers of merchant %q", upstream.Clean(merchantID))
	if err := checkIDs(op, namedID{"merchant", merchantID}); err != nil {
		return nil, err
	}
	all, err := read[Customer](ctx, c, op, customersOf(merchantID), []Condition{{Field: "merchant_id", Value: merchantID}})
	if err != nil {
		return nil, err
	}
	own := all[:0]
	for _, customer := range all {
		if customer.MerchantID == merchantID {
			own = append(own, customer)
		}
	}
	return own, nil
}

// Customer returns the merchant's customer with the given id. Customer returns ErrNotFound if the customer does not exist or
// belongs to another merchant.
func (c *Client) Customer(ctx context.Context, merchantID, id string) (Customer, error) {
	op := fmt.Sprintf("reading customer %q", upstream.Clean(id))
	if err := checkIDs(op, namedID{"merchant", merchantID}, namedID{"customer", id}); err != nil {
		return Customer{}, err
	}
	found, err := find[Customer](ctx, c, op, customersOf(merchantID), id)
	if err == nil && (found.ID != id || found.MerchantID != merchantID) {
		err = &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
	}
	if err != nil {
		return Customer{}, err
	}
	return found, nil
}

// EnsureCustomer creates the customer with the id want.ID, or returns the existing customer. The call may be repeated.
// EnsureCustomer returns ErrConflict if want.ID belongs to an object with other values.
func (c *Client) EnsureCustomer(ctx context.Context, want Customer) (Customer, error) {
	op := fmt.Sprintf("creating customer %q", upstream.Clean(want.ID))
	if err := checkIDs(op, namedID{"merchant", want.MerchantID}, namedID{"customer", want.ID}); err != nil {
		return Customer{}, err
	}
	body := want
	body.MerchantID = "" // the merchant's id is in the path
	made, err := creation[Customer]{
		op: op, merchantID: want.MerchantID, collection: customersOf(want.MerchantID), id: want.ID, want: body,
		idOf: func(found Customer) string { return found.ID },
		same: func(found Customer) bool {
			if storedAs(found.Name, want.Name) {
				found.Name = want.Name
			}
			return found == want
		},
	}.ensure(ctx, c)
	if err == nil && made.MerchantID != want.MerchantID {
		err = &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, MaybeDone: true, Err: ErrConflict, Message: "the server created the customer for another merchant"}
	}
	if err != nil {
		return Customer{}, err
	}
	return made, nil
}

// storedAs reports whether a database may have stored the text `want` as the text `found`. If MySQL is not in strict mode, it stores
// a question mark for each character that its encoding lacks.
func storedAs(found, want string) bool {
	stored, sent := []rune(found), []rune(want)
	return slices.EqualFunc(stored, sent, func(f, w rune) bool { return f == w || f == '?' && w > unicode.MaxASCII })
}

// RemoveCustomer deletes a customer of the merchant and the customer's subscriptions. The function `own` must report whether the
// caller owns a subscription. If own returns false for any subscription, RemoveCustomer deletes nothing and returns a Permanent
// error that wraps a *ForeignSubscriptionsError. A nil own means that the caller owns no subscription. If the customer does not
// exist or belongs to another merchant, RemoveCustomer succeeds and deletes nothing. The result `removed` reports whether the
// customer existed. The call may be repeated.
func (c *Client) RemoveCustomer(
	ctx context.Context, merchantID, id string, own func(Subscription) bool,
) (removed bool, err error) {
	op := fmt.Sprintf("deleting customer %q", upstream.Clean(id))
	if _, err := c.Customer(ctx, merchantID, id); err != nil {
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return false, err
	}
	removed, err = c.removeWithSubscriptions(ctx, op, merchantID, id, own)
	if refused(err) {
		// A subscription may have been created after the subscriptions were listed. The second call of removeWithSubscriptions
		// removes the new subscription, or returns an error if the caller does not own the subscription.
		removed, err = c.removeWithSubscriptions(ctx, op, merchantID, id, own)
	}
	return removed, err
}

func (c *Client) removeWithSubscriptions(
	ctx context.Context, op, merchantID, id string, own func(Subscription) bool,
) (removed bool, err error) {
	subscriptions, err := c.SubscriptionsOf(ctx, merchantID, id)
	if err != nil {
		return false, err
	}
	foreign := &ForeignSubscriptionsError{CustomerID: id}
	for _, s := range subscriptions {
		if own == nil || !own(s) {
			foreign.SubscriptionIDs = append(foreign.SubscriptionIDs, s.ID)
		}
	}
	if len(foreign.SubscriptionIDs) > 0 {
		return false, &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: foreign}
	}
	for _, s := range subscriptions {
		if _, err := c.RemoveSubscription(ctx, merchantID, s.ID); err != nil {
			return false, err
		}
	}
	return remove[Customer](ctx, c, op, customersOf(merchantID), id)
}

// The function `refused` reports whether a DELETE failed because another object refers to the object to delete. The embedded
// BillingStack answers 409 to such a DELETE, and the original BillingStack answers 500.
func refused(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	return ok && e.Class == upstream.Permanent && (e.Status == http.StatusConflict || e.Status == http.StatusInternalServerError)
}
