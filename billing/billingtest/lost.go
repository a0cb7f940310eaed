package billingtest

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `losing` is a RoundTripper that drops the answer to the next request with the given method. The server still executes
// the request.
type losing struct {
	http.RoundTripper
	method atomic.Pointer[string]
}

// RoundTrip sends the request. If the request has the method in l.method, RoundTrip drops the answer and clears l.method.
func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if m := l.method.Load(); err == nil && m != nil && *m == r.Method && l.method.CompareAndSwap(m, nil) {
		_ = resp.Body.Close()
		return nil, errors.New("connection reset by test")
	}
	return resp, err
}

func writesAnswerLost(t *testing.T, target Target) {
	s := newShop(t, target)
	var cut *losing
	s.Client = newClient(t, target, func(rt http.RoundTripper) http.RoundTripper {
		cut = &losing{RoundTripper: rt}
		return cut
	})
	// The function `lost` makes the call twice, and drops the answer to the first call. The first call must return a transient
	// error with MaybeDone true. The second call must succeed.
	lost := func(method string, call func() error) {
		t.Helper()
		cut.method.Store(&method)
		e, ok := errors.AsType[*upstream.Error](call())
		if !ok || e.Class != upstream.Transient || !e.MaybeDone {
			t.Errorf("%s, answer lost: got %v; want a transient error with MaybeDone true", method, e)
		}
		if err := call(); err != nil {
			t.Errorf("%s again: %v", method, err)
		}
	}
	update := http.MethodPatch
	if strings.HasSuffix(target.URL, "/v1") {
		update = http.MethodPut
	}
	ctx, merchant := t.Context(), s.merchant.ID
	customer := s.newCustomer()
	subscription := s.newSubscription(customer)
	lost(http.MethodPost, func() error {
		_, err := s.EnsureCustomer(ctx, customer)
		return err
	})
	lost(http.MethodPost, func() error {
		_, err := s.EnsureSubscription(ctx, merchant, subscription)
		return err
	})
	lost(update, func() error {
		_, err := s.SetResource(ctx, merchant, subscription.ID, "project")
		return err
	})
	larger := s.newPlan(t)
	lost(update, func() error {
		_, err := s.SetPlan(ctx, merchant, subscription.ID, larger)
		return err
	})
	got, err := s.Subscriptions(ctx, merchant)
	subscription.ResourceID, subscription.PlanID = "project", larger
	is(t, got, err, []billing.Subscription{subscription})
	lost(http.MethodDelete, func() error { return only(s.RemoveSubscription(ctx, merchant, subscription.ID)) })
	lost(http.MethodDelete, func() error { return only(s.RemoveCustomer(ctx, merchant, customer.ID, nil)) })
	customers, err := s.Customers(ctx, merchant)
	is(t, customers, err, []billing.Customer{})
}
