package billing

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"syscall"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// maxAnswer is the maximum size of an answer, in bytes: a list of about a hundred thousand subscriptions.
const maxAnswer = 32 << 20

type request struct {
	op     string
	method string
	path   string // after the base, with the query
	body   any    // nil if there is none
	out    any    // if nil, the answer's body must be JSON, but is not used
	item   string // the id in the path, which distinguishes "not found" from other 500s; empty for a collection
}

func (r request) write() bool { return r.method != http.MethodGet }

// call waits until the request may be sent, sends it once, and classifies the answer.
func (c *Client) call(ctx context.Context, r request) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = encode(r.body); err != nil {
			return &upstream.Error{Service: Service, Class: upstream.Permanent, Op: r.op, Err: err}
		}
	}
	leave, err := c.enter(ctx)
	if err != nil {
		return r.turnedAway(err)
	}
	status, header, answer, err := c.exchange(ctx, r, body)
	leave(status, err)
	if err != nil {
		return err
	}
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return r.decode(status, answer)
	}
	return r.errorOf(readFault(status, header, answer))
}

// turns admits requests in the order in which they arrive.
type turns chan struct{}

func (t turns) enter(ctx context.Context) (leave func(int, error), err error) {
	select {
	case t <- struct{}{}:
		if ctx.Err() == nil { // select chooses at random, so the context may have ended too
			return func(int, error) { <-t }, nil
		}
		<-t
	case <-ctx.Done():
	}
	return nil, context.Cause(ctx)
}

// turnedAway classifies a request that Enter refused.
func (r request) turnedAway(err error) error {
	e := &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, Message: "not sent", Err: err}
	kept, ok := errors.AsType[*upstream.NotSentError](err)
	if ok {
		e.Class, e.RetryAfter = kept.Class(), kept.RetryAfter
	}
	return e
}

// exchange returns an error only if there is no complete answer.
func (c *Client) exchange(ctx context.Context, r request, body []byte) (int, http.Header, []byte, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent sending
	req, err := http.NewRequestWithContext(sent.watch(limited), r.method, c.base+r.path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, &upstream.Error{Service: Service, Class: upstream.Permanent, Op: r.op, Err: err}
	}
	req.Header.Set("Accept", "application/json")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	} else {
		req.Body = http.NoBody
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, nil, r.lost(ctx, err, sent.never())
	}
	defer func() { _ = resp.Body.Close() }() // the answer is read; an error here changes nothing
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return 0, nil, nil, &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, Status: resp.StatusCode, MaybeDone: r.write(), Err: err}
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// sending records how far a request came, as httptrace reports it.
type sending struct{ asked, connected atomic.Bool }

func (s *sending) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { s.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) },
	})
}

// never reports that no connection could be made, so that the request was certainly not sent. If the transport was not even asked
// for a connection, another round tripper has the request, and its outcome is unknown.
func (s *sending) never() bool { return s.asked.Load() && !s.connected.Load() }

// lost classifies a request without an answer. caller is the context before this request's own time-out.
func (r request) lost(caller context.Context, err error, neverSent bool) error {
	e := &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, MaybeDone: r.write(), Err: err}
	// http.Client puts method and URL before the cause. Op has both.
	if u, ok := errors.AsType[*url.Error](err); ok {
		e.Err = u.Err
	}
	neverSent = neverSent || noConnection(err)
	switch {
	case upstream.NotSent(err), neverSent && caller.Err() != nil:
		e.Class, e.MaybeDone = upstream.Transient, false
	case neverSent:
		e.Class, e.MaybeDone = upstream.Unavailable, false
	}
	return e
}

// noConnection reports errors that occur before the first byte of a request is sent.
func noConnection(err error) bool {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// decode decodes a successful answer. If that fails, it is unknown whether the request was carried out.
func (r request) decode(status int, answer []byte) error {
	if r.method == http.MethodDelete && len(answer) == 0 {
		return nil
	}
	e := &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, Status: status, MaybeDone: r.write()}
	if !isJSON(answer) {
		e.Message = "the answer is not JSON"
		return e
	}
	if r.out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, r.out); err != nil {
		e.Message, e.Err = "the answer has another format", err
		return e
	}
	return nil
}

// errorOf turns a fault into an error, without any look-up.
func (r request) errorOf(f fault) error {
	e := &upstream.Error{Service: Service, Op: r.op, Status: f.status, RetryAfter: f.retryAfter, Message: f.text, Err: f.cause()}
	if r.item != "" && f.notFound(r.item) {
		e.Class, e.Err = upstream.Permanent, ErrNotFound
		return e
	}
	e.Class, e.MaybeDone = f.class(r.write())
	return e
}
