package gate

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// requestIDHeader carries request ids in both directions, as OpenStack services send them.
const requestIDHeader = "X-Openstack-Request-Id"

// Fence goes around the transport of an upstream's client. It asks the caller in the request's context whether the request
// may be written, before it hands the request on and again when its connection stands, so that a process that slept past
// its lease writes nothing. It sends the caller's global request id, and tells the caller the upstream's own.
func Fence(next http.RoundTripper) http.RoundTripper { return fence{next} }

type fence struct{ next http.RoundTripper }

// RoundTrip sends the request if its caller still may. If not, the error is an [upstream.NotSentError].
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
			_ = info.Conn.Close() // net/http asks nobody any more before it writes, but on a closed connection it cannot
		}
	}}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	if c.RequestID != "" {
		req.Header = req.Header.Clone()
		req.Header.Set(requestIDHeader, c.RequestID)
	}
	resp, err := f.next.RoundTrip(req)
	if kept := refused.Load(); err != nil && kept != nil {
		return nil, kept
	}
	if err == nil && c.Answered != nil {
		c.Answered(upstream.Clean(resp.Header.Get(requestIDHeader)))
	}
	return resp, err
}
