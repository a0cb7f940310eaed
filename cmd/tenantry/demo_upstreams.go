package main

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/tenantry/tenantry/billing"
)

// The type `slow` is a transport that delays every write.
type slow struct {
	next http.RoundTripper
	pace time.Duration
}

// RoundTrip sends a request. If the request is a write, RoundTrip first waits for the duration `pace`.
func (s slow) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		select {
		case <-time.After(s.pace):
		case <-req.Context().Done(): // the call below returns the context's error
		}
	}
	return s.next.RoundTrip(req)
}

// The type `refusing` is a transport that answers some requests in place of BillingStack: it refuses to change the subscriptions of some
// customers.
type refusing struct {
	next   http.RoundTripper
	refuse func(billing.Customer) bool
}

// RoundTrip refuses a PATCH of a subscription if the function `refuse` returns true for the subscription's customer. The
// answer looks like BillingStack's answer to a faulty request.
func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPatch || !r.refuses(req.Context(), req.URL) {
		return r.next.RoundTrip(req)
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	const body = `{"faultcode": "Client", "faultstring": "the books are closed", "debuginfo": null}`
	return &http.Response{
		StatusCode: http.StatusBadRequest, ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// The method `refuses` reports whether to refuse a change of the subscription. `refuses` reads the subscription's customer from
// BillingStack, and calls the function `refuse` with this customer. The URL's path is /v2/merchants/MERCHANT/subscriptions/ID.
func (r refusing) refuses(ctx context.Context, subscription *url.URL) bool {
	merchantID, id := path.Base(path.Dir(path.Dir(subscription.Path))), path.Base(subscription.Path)
	books, err := billing.New(billing.Config{URL: subscription.Scheme + "://" + subscription.Host + "/v2"})
	if err != nil {
		return false
	}
	s, err := books.Subscription(ctx, merchantID, id)
	if err != nil {
		return false
	}
	customer, err := books.Customer(ctx, merchantID, s.CustomerID)
	return err == nil && r.refuse(customer)
}
