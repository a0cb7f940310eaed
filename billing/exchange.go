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

// maxAnswer holds a list of about a hundred thousand subscriptions.
const maxAnswer = 32 << 20

type request struct {
	op     string
	method string
	path   string // after the base, with the query
	body   any    // nil: none
	out    any    // nil: of the answer's body only the form matters
	item   string // the id in the path, to tell "not found" from other 500s; empty for a collection
}

func (r request) write() bool { return r.method != http.MethodGet }

// call sends one request, in its turn, and classifies what comes back.
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

// turns lets in who comes first.
type turns chan struct{}

func (t turns) enter(ctx context.Context) (leave func(int, error), err error) {
	select {
	case t <- struct{}{}:
		if ctx.Err() == nil { // a free turn does not hide it: select chooses at random
			return func(int, error) { <-t }, nil
		}
		<-t
	case <-ctx.Done():
	}
	return nil, context.Cause(ctx)
}

// turnedAway classifies a request that had no turn.
func (r request) turnedAway(err error) error {
	e := &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, Message: "not sent", Err: err}
	kept, ok := errors.AsType[*upstream.NotSentError](err)
	if ok {
		e.Class, e.RetryAfter = kept.Class(), kept.RetryAfter
	}
	return e
}

// exchange returns an error only when there is no whole answer.
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
	defer func() { _ = resp.Body.Close() }() // what was needed is read; nothing can be done about it
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return 0, nil, nil, &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, Status: resp.StatusCode, MaybeDone: r.write(), Err: err}
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// sending watches how far a request came, in the transport's own words.
type sending struct{ asked, connected atomic.Bool }

func (s *sending) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { s.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) },
	})
}

// never is true when the transport was asked for a connection and had none to give. When it was not even
// asked, somebody in between kept the request, and what became of it is not known.
func (s *sending) never() bool { return s.asked.Load() && !s.connected.Load() }

// lost classifies a request without an answer. caller is the context before this request's own time-out.
func (r request) lost(caller context.Context, err error, neverSent bool) error {
	e := &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, MaybeDone: r.write(), Err: err}
	// http.Client puts action and URL before the cause; Op says that already.
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

// noConnection knows the errors that come before the first byte of a request.
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

// decode reads a success. One that cannot be read is no proof that the thing was done, nor that it was not.
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
		e.Message, e.Err = "the answer has another shape", err
		return e
	}
	return nil
}

// errorOf makes an Error of a fault, without any look-up.
func (r request) errorOf(f fault) error {
	e := &upstream.Error{Service: Service, Op: r.op, Status: f.status, RetryAfter: f.retryAfter, Message: f.text, Err: f.cause()}
	if r.item != "" && f.notFound(r.item) {
		e.Class, e.Err = upstream.Permanent, ErrNotFound
		return e
	}
	e.Class, e.MaybeDone = f.class(r.write())
	return e
}
