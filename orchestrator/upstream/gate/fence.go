package gate

import (
	"errors"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Fence wraps the transport of an upstream's client. Fence calls the MayWrite function of the request's [upstream.Caller] before
// the request is sent, and again when the connection is made. Therefore, a replica that was paused until its lease ended sends
// nothing. If the caller may only read, Fence sends only requests that change nothing. Fence also sends the caller's global request
// id.
func Fence(next http.RoundTripper) http.RoundTripper { return fence{next} }

type fence struct{ next http.RoundTripper }

// RoundTrip sends the request if its caller may send it, and otherwise returns an [upstream.NotSentError].
func (f fence) RoundTrip(req *http.Request) (*http.Response, error) {
	c := upstream.CallerOf(req.Context())
	if c.ReadOnly && !reads(req) {
		return nil, &upstream.NotSentError{Err: errReadOnly}
	}
	if c.MayWrite == nil {
		c.MayWrite = func() error { return nil }
	}
	if err := c.MayWrite(); err != nil {
		return nil, &upstream.NotSentError{Err: err}
	}
	var refused atomic.Pointer[upstream.NotSentError]
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if err := c.MayWrite(); err != nil {
			refused.Store(&upstream.NotSentError{Err: err})
			_ = info.Conn.Close() // net/http has no hook between GotConn and the write; closing the connection prevents the write
		}
	}}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	if c.RequestID != "" {
		req.Header = req.Header.Clone()
		req.Header.Set(upstream.RequestIDHeader, c.RequestID)
	}
	resp, err := f.next.RoundTrip(req)
	if kept := refused.Load(); err != nil && kept != nil {
		return nil, kept
	}
	return resp, err
}

var errReadOnly = errors.New("the caller may only read")

// The function `reads` reports whether a request changes nothing. A login to Keystone, with Identity v3 or v2.0, changes nothing that its
// caller can see.
func reads(req *http.Request) bool {
	login := strings.HasSuffix(req.URL.Path, "/auth/tokens") || strings.HasSuffix(req.URL.Path, "/v2.0/tokens")
	return req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodPost && login
}
