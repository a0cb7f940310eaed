package api_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/tenantry/tenantry/orchestrator/service"
)

// The type `counted` counts the requests to upstreams. A test can switch an upstream off: all requests to it are then answered with
// 503.
type counted struct {
	keystoneDown, billingDown atomic.Bool
	reads, writes             atomic.Int32
}

func (c *counted) around(upstream string, next http.RoundTripper) http.RoundTripper {
	down := &c.keystoneDown
	if upstream == service.BillingStack {
		down = &c.billingDown
	}
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		switch {
		case req.Method == http.MethodGet, req.Method == http.MethodHead, strings.HasSuffix(req.URL.Path, "/tokens"):
			c.reads.Add(1)
		default:
			c.writes.Add(1)
		}
		if !down.Load() {
			return next.RoundTrip(req)
		}
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return &http.Response{
			StatusCode: http.StatusServiceUnavailable, ProtoMajor: 1, ProtoMinor: 1, Request: req,
			Header: http.Header{"Retry-After": {"17"}, "Content-Type": {"text/plain"}},
			Body:   io.NopCloser(strings.NewReader("the canary of an upstream's text")),
		}, nil
	})
}

// roundTrip is a function that implements [http.RoundTripper].
type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
