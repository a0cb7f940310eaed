package conn

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// NewTransport returns the default HTTP transport of a [Conn]. The parameter tlsConfig may be nil.
//
// Only reads reuse connections; each write opens a new connection. Some installations of Keystone, for example with uwsgi's
// http-socket, close a connection after the answer without announcing the close. If a write used a closed connection, Tenantry
// could not know whether the write arrived. A read may use a closed connection, because net/http repeats the read. A
// call of Keystone takes much more time than the handshake of a new connection.
func NewTransport(tlsConfig *tls.Config) http.RoundTripper {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	reads := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns:        16,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     10 * time.Second,

		MaxResponseHeaderBytes: upstream.MaxHeader,
	}
	writes := reads.Clone()
	writes.DisableKeepAlives = true
	return splitTransport{reads, writes}
}

type splitTransport struct{ reads, writes *http.Transport }

// RoundTrip implements [http.RoundTripper].
func (t splitTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return t.reads.RoundTrip(req)
	}
	return t.writes.RoundTrip(req)
}

// CloseIdleConnections lets [http.Client] close the idle connections.
func (t splitTransport) CloseIdleConnections() { t.reads.CloseIdleConnections() }

// Call describes one request. [Conn.Do] passes the Call in the context of the request: see [CallOf]. The function that sends the request
// may set the exported fields before it sends the request.
type Call struct {
	Limits  upstream.Limits // of the answer
	Timeout time.Duration   // of the request; zero means Config.Timeout
	Public  bool            // the request needs the public endpoint, although other requests to its path need the admin endpoint of Identity v2.0
	Subject bool            // the request asks Keystone about the token that authenticates the request

	reached bool        // the request may have reached a server
	secrets []string    // the secrets in the request that are not secrets of the Conn
	login   *Credential // the credential of a login; nil for other requests
	ofUser  bool        // the request logs a user in
}

// objectLimits are the limits of an answer that is not a list. The longest of these answers are projects with 80 tags, a description
// of 64 KiB, and fields that a cloud's administrator has added.
var objectLimits = upstream.Limits{Bytes: 1 << 20, Values: 10_000}

// errorLimits are the limits of an answer that reports an error. Such an answer can be a page of HTML.
var errorLimits = upstream.Limits{Bytes: 1 << 20, Values: 1 << 20}

type callKey struct{}

// CallOf returns the Call in ctx. If ctx contains no Call, CallOf returns a new Call, so that the caller need not check for nil.
func CallOf(ctx context.Context) *Call {
	if note, ok := ctx.Value(callKey{}).(*Call); ok {
		return note
	}
	return &Call{Limits: objectLimits}
}

// The type `wire` is the round tripper that calls Config.Base. A wire records whether a request may have been sent, limits the
// answer, and reports the id that Keystone gave to the request.
type wire struct {
	next http.RoundTripper
	own  *ownSecrets
}

// RoundTrip sends the request, and sets the field `reached` of the call in the request's context.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	note := CallOf(req.Context())
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	var asked, got bool
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { asked = true },
		GotConn: func(httptrace.GotConnInfo) { got = true },
	}
	note.reached = true
	resp, err := w.next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		noConnection := asked && !got
		note.reached = !noConnection && !neverSent(err)
		return nil, err
	}
	upstream.ReportAnswer(req.Context(), resp.Header, w.own.with(note.secrets, resp.Header)...)
	limits := note.Limits
	if resp.StatusCode >= http.StatusMultipleChoices {
		limits = errorLimits
	}
	resp.Body = &limitedBody{limits.Reader(resp.Body), resp.Body}
	return resp, nil
}

// limitedBody is the body of an answer. Reading the body fails when the body exceeds the limits of the call.
type limitedBody struct {
	io.Reader
	io.Closer
}

// neverSent reports whether the error proves that no byte of the request was sent. The error is the only proof if Config.Base does
// not report its connections to httptrace. If Base refuses a request without sending it, Base returns an [upstream.NotSentError].
func neverSent(err error) bool {
	var (
		dns    *net.DNSError
		verify *tls.CertificateVerificationError
		record tls.RecordHeaderError
		op     *net.OpError
	)
	return upstream.NotSent(err) ||
		errors.As(err, &dns) || errors.As(err, &verify) || errors.As(err, &record) ||
		errors.As(err, &op) && op.Op == "dial"
}

// The type `limit` is a round tripper that limits the time of a request. The call in the request's context may set another time limit.
type limit struct {
	next    http.RoundTripper
	timeout time.Duration
}

// RoundTrip sends the request. The time limit includes the time to read the body of the answer.
func (l limit) RoundTrip(req *http.Request) (*http.Response, error) {
	timeout := cmp.Or(CallOf(req.Context()).Timeout, l.timeout)
	ctx, cancel := context.WithTimeout(req.Context(), timeout)
	resp, err := l.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		late := ctx.Err() != nil && req.Context().Err() == nil
		cancel() // called after the check above, because cancel ends ctx
		if late {
			return nil, fmt.Errorf("no answer within %s: %w", timeout, err)
		}
		return nil, err
	}
	resp.Body = &endedBody{ReadCloser: resp.Body, ended: cancel}
	return resp, nil
}

// endedBody calls the function `ended` when the body is closed.
type endedBody struct {
	io.ReadCloser
	ended func()
}

// Close closes the body, and then calls the function `ended`.
func (b *endedBody) Close() error {
	defer b.ended()
	return b.ReadCloser.Close()
}

// The type `turn` is a round tripper that calls the function `enter` before each request. When the answer's body is closed, `turn`
// calls the function `leave`.
type turn struct {
	next  http.RoundTripper
	enter func(context.Context) (leave func(status int, err error), err error)
}

// RoundTrip sends the request after the function `enter` has returned. If `enter` returns an error, RoundTrip sends nothing.
func (t turn) RoundTrip(req *http.Request) (*http.Response, error) {
	leave, err := t.enter(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		if call := CallOf(req.Context()); call.ofUser && call.reached {
			// A visitor has chosen the name and the password. If Keystone cannot process them, it gives no answer to this request, although it is
			// not down.
			leave(http.StatusInternalServerError, nil)
			return nil, err
		}
		leave(0, err)
		return nil, err
	}
	var refused error
	if by := CallOf(req.Context()).login; by != nil {
		is, err := refusesLogin(resp)
		if err != nil {
			leave(0, err)
			return nil, errors.Join(err, resp.Body.Close())
		}
		if is {
			refused = by.refused(resp.StatusCode)
		}
	}
	resp.Body = &endedBody{ReadCloser: resp.Body, ended: func() { leave(resp.StatusCode, refused) }}
	return resp, nil
}
