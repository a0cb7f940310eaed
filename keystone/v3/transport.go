package v3

import (
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

// NewTransport is the HTTP transport of a [Cloud] whose Config names no Base. tlsConfig may be nil.
//
// It reuses connections for reads alone: every write goes out on a connection of its own. Many a Keystone (uwsgi's
// http-socket) closes a connection after the answer without a word, so that a write on a reused one may be lost half-way with
// no telling how far it came; net/http repeats a read that met such a connection by itself. A handshake costs little beside
// the work of a Keystone call.
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

// CloseIdleConnections is for [http.Client].
func (t splitTransport) CloseIdleConnections() { t.reads.CloseIdleConnections() }

// call is what the transport notes of one request for the method of Cloud that makes it, which hands it over in its context.
type call struct {
	reached bool // somebody may have heard the request
}

type callKey struct{}

// noteOf is the note in ctx, or one that nobody reads.
func noteOf(ctx context.Context) *call {
	if note, ok := ctx.Value(callKey{}).(*call); ok {
		return note
	}
	return &call{}
}

// wire is the last of our round trippers before the network: it notes whether a request has left, and bounds what is read.
type wire struct {
	next http.RoundTripper
	max  int64
}

// RoundTrip notes in the request's call whether it has left.
func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	note := noteOf(req.Context())
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
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: w.max + 1}
	return resp, nil
}

// neverSent tells the errors that come before the first byte of a request from those that may come after it, for a Base that
// does not report its connections to httptrace. One that keeps a request back says so by an [upstream.NotSentError].
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

// errTooLarge ends an answer that nobody could have meant for us.
var errTooLarge = errors.New("answer is too large")

// boundedBody is an answer's body that ends with an error, not with io.EOF, where it is longer than it may be.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read fails with errTooLarge past the limit.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// limit gives a request its time.
type limit struct {
	next    http.RoundTripper
	timeout time.Duration
}

// RoundTrip returns an answer whose body must be read within the time as well.
func (l limit) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), l.timeout)
	resp, err := l.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		late := ctx.Err() != nil && req.Context().Err() == nil // cancel would make everything late
		cancel()
		if late {
			return nil, fmt.Errorf("no answer within %s: %w", l.timeout, err)
		}
		return nil, err
	}
	resp.Body = &endedBody{ReadCloser: resp.Body, ended: cancel}
	return resp, nil
}

// endedBody says when an answer's body is closed.
type endedBody struct {
	io.ReadCloser
	ended func()
}

// Close closes the body, and then says so.
func (b *endedBody) Close() error {
	defer b.ended()
	return b.ReadCloser.Close()
}

// turn makes each request wait for its turn, which lasts until its answer is read.
type turn struct {
	next  http.RoundTripper
	enter func(context.Context) (leave func(status int, err error), err error)
}

// RoundTrip sends nothing where enter has an error.
func (t turn) RoundTrip(req *http.Request) (*http.Response, error) {
	leave, err := t.enter(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		leave(0, err)
		return nil, err
	}
	resp.Body = &endedBody{ReadCloser: resp.Body, ended: func() { leave(resp.StatusCode, nil) }}
	return resp, nil
}
