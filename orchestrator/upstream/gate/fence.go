package gate

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Fence wraps the transport of an upstream's client. Fence calls the MayWrite function of the request's [upstream.Caller] before
// the request is sent, and again when the connection is made. Therefore, a replica that was paused until its lease ended sends
// nothing. Fence also sends the caller's global request id.
func Fence(next http.RoundTripper) http.RoundTripper { return fence{next} }

type fence struct{ next http.RoundTripper }

// RoundTrip sends the request if its caller's MayWrite allows it. If MayWrite refuses, RoundTrip returns an
// [upstream.NotSentError].
func (f fence) RoundTrip(req *http.Request) (*http.Response, error) {
	c := upstream.CallerOf(req.Context())
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
