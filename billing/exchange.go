package billing

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"unicode"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

type request struct {
	op     string
	method string
	path   string // relative to the base URL, with the query
	body   any    // nil if there is none
	out    any    // the decoded answer; if nil, the answer must be JSON but is ignored
	// If the answer is a list, the function `element` decodes one element of the list, and `limits` limits the list. Otherwise both
	// fields are unset.
	element func(*json.Decoder) error
	limits  upstream.Limits
	item    string // the id of the object, or the merchant of a new object; a fault with this id as its text means "not found"
}

// foreignTexts returns a text that names those fields of the body whose values contain non-ASCII characters.
func (r request) foreignTexts() string {
	var body map[string]any
	var names []string
	encoded, err := json.Marshal(r.body)
	if err == nil && json.Unmarshal(encoded, &body) == nil {
		for _, name := range slices.Sorted(maps.Keys(body)) {
			text, _ := body[name].(string)
			if strings.ContainsFunc(text, func(c rune) bool { return c > unicode.MaxASCII }) {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return "a field"
	}
	return "field " + strings.Join(names, ", ")
}

func (r request) write() bool { return r.method != http.MethodGet }

// The method `call` waits until the request may be sent, sends it once, and classifies the answer.
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
	_, tooMuch := errors.AsType[*upstream.LimitError](err)
	_, otherType := errors.AsType[*json.UnmarshalTypeError](err)
	if tooMuch || otherType {
		leave(status, nil) // the server works: it has answered, but the answer is too long, or a merchant has stored a value of another type
	} else {
		leave(status, err)
	}
	if err != nil {
		return err
	}
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return r.decode(status, answer)
	}
	return r.errorOf(readFault(status, header, answer))
}

// The type `turns` is a semaphore for the requests in flight. Waiting requests are admitted in the order of their arrival.
type turns chan struct{}

func (t turns) enter(ctx context.Context) (leave func(int, error), err error) {
	select {
	case t <- struct{}{}:
		if ctx.Err() == nil { // if both cases are ready, select chooses one at random
			return func(int, error) { <-t }, nil
		}
		<-t
	case <-ctx.Done():
	}
	return nil, context.Cause(ctx)
}

// turnedAway returns the error for a request that Enter refused.
func (r request) turnedAway(err error) error {
	e := &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, Message: "not sent", Err: err}
	kept, ok := errors.AsType[*upstream.NotSentError](err)
	if ok {
		e.Class, e.RetryAfter = kept.Class(), kept.RetryAfter
	}
	return e
}

// The method `exchange` sends a request and reads the answer. `exchange` returns an error only if the answer is missing or
// incomplete.
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
	upstream.ReportAnswer(ctx, resp.Header)
	defer func() { _ = resp.Body.Close() }() // an error of Close does not matter, because the answer has been read
	var answer []byte
	if r.element != nil && resp.StatusCode == http.StatusOK {
		err = upstream.ReadList(r.limits.Reader(resp.Body), "", r.element)
	} else {
		answer, err = io.ReadAll(objectLimits.Reader(resp.Body))
	}
	if err != nil {
		return resp.StatusCode, nil, nil, &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, Status: resp.StatusCode, MaybeDone: r.write(), Err: err}
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// The type `sending` records whether the transport has asked for a connection, and whether the transport got one.
type sending struct{ asked, connected atomic.Bool }

func (s *sending) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { s.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) },
	})
}

// sent.never() reports whether the request was certainly not sent: the transport asked for a connection and did not get one. If the
// transport did not ask for a connection, another RoundTripper handled the request. The outcome of the request is then unknown.
func (s *sending) never() bool { return s.asked.Load() && !s.connected.Load() }

// The method `lost` returns the error for a request without an answer. The parameter `caller` is the caller's context, which does
// not have the time-out of the request.
func (r request) lost(caller context.Context, err error, neverSent bool) error {
	e := &upstream.Error{Service: Service, Class: upstream.Transient, Op: r.op, MaybeDone: r.write(), Err: err}
	// A *url.Error names the method and the URL before the cause. Only the cause is kept, because Op describes the request.
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

// noConnection reports whether the error occurred before the first byte of the request was sent.
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

// The method `decode` decodes a successful answer. If the answer cannot be decoded, it is unknown whether the server executed the
// request.
func (r request) decode(status int, answer []byte) error {
	if r.element != nil && status == http.StatusOK { // exchange has decoded the list
		return nil
	}
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

// errorOf turns a fault into an error. errorOf sends no request.
func (r request) errorOf(f fault) error {
	e := &upstream.Error{Service: Service, Op: r.op, Status: f.status, RetryAfter: f.retryAfter, Message: statement.ReplaceAllString(f.text, "")}
	if f.notFound(r) {
		e.Class, e.Err = upstream.Permanent, ErrNotFound
		return e
	}
	e.Class, e.MaybeDone = f.class(r.write())
	switch {
	case f.status == http.StatusConflict:
		e.Err = ErrConflict
	case e.Class == upstream.Permanent && f.mentions(unstorable[:]):
		e.Err, e.Message = ErrText, "BillingStack's database cannot store the characters of "+r.foreignTexts()
	case e.Class == upstream.Permanent && r.method != http.MethodDelete && f.mentions([]string{foreignKey}):
		e.Err, e.Message = ErrReference, "the request refers to an object that does not exist"
	case e.Class == upstream.Permanent && f.refusedValue() != "":
		e.Message = f.refusedValue()
	}
	return e
}
