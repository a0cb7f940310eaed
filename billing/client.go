package billing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Config describes where a BillingStack is and how to call it.
type Config struct {
	// URL ends in the version: http://host:9091/v2, or /v1, where updates are PUT.
	URL string
	// Connections is the maximum number of concurrent requests; the default is 1. With 1, connections are not kept alive: the
	// original v2 serves one connection at a time, and an idle one blocks all others. With more, they are kept alive.
	Connections int
	// Timeout limits one request, not counting the wait in Enter. The default, 65 s, is longer than the 60 s that the original waits
	// for its own services.
	Timeout time.Duration
	// Enter waits until a request may be sent. leave is called with the status of its answer, or with the error. Enter must not
	// admit more than Connections at once. Its error is an [upstream.NotSentError]. If it is nil, requests are sent in the order in
	// which they arrive.
	Enter func(context.Context) (leave func(status int, err error), err error)
	// Wrap, if set, wraps the transport. If it returns an [upstream.NotSentError], the request counts as not sent.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Client calls one BillingStack. It is safe for concurrent use. It never retries: a call sends its requests once, and returns an
// *upstream.Error if it does not succeed.
type Client struct {
	base    string
	update  string // the HTTP method of updates
	timeout time.Duration
	enter   func(context.Context) (leave func(status int, err error), err error)
	http    *http.Client
}

// New checks the configuration. It sends nothing.
func New(cfg Config) (*Client, error) {
	base, update, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("reading the BillingStack URL: %w", err)
	}
	connections := max(cfg.Connections, 1)
	var transport http.RoundTripper = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		DisableKeepAlives:   connections == 1,
		DisableCompression:  true,
		MaxConnsPerHost:     connections,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     30 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	if cfg.Wrap != nil {
		transport = cfg.Wrap(transport)
	}
	timeout := cfg.Timeout
	if timeout <= 0 {
		timeout = 65 * time.Second
	}
	enter := cfg.Enter
	if enter == nil {
		enter = make(turns, connections).enter
	}
	return &Client{
		base:    base,
		update:  update,
		timeout: timeout,
		enter:   enter,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func parseURL(raw string) (base, update string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The URL may contain a password.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return "", "", err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", "", errors.New("it must be http(s)://host:port/v2 or /v1, with no user, query or fragment")
	}
	base = strings.TrimRight(u.String(), "/")
	switch {
	case strings.HasSuffix(base, "/v2"):
		return base, http.MethodPatch, nil
	case strings.HasSuffix(base, "/v1"):
		return base, http.MethodPut, nil
	}
	return "", "", errors.New("it must end in the version, /v2 or /v1")
}

// Ping reads the list of currencies. A connection without a request would block the original.
func (c *Client) Ping(ctx context.Context) error {
	return c.read(ctx, "pinging BillingStack", "/currencies", nil, new([]Currency))
}

// read reads path into out. Conditions become the filter.
func (c *Client) read(ctx context.Context, op, path string, where []Condition, out any) error {
	return c.call(ctx, request{op: op, method: http.MethodGet, path: path + filter(where), out: out})
}

// list returns a whole collection. There is no paging.
func list[T any](ctx context.Context, c *Client, op, collection string) ([]T, error) {
	var all []T
	if err := c.read(ctx, op, collection, nil, &all); err != nil {
		return nil, err
	}
	return all, nil
}

// find returns the object of a collection with that id, or ErrNotFound. It uses the filter, because the URL of an item answers
// 500 and checks no merchant.
func find[T any](ctx context.Context, c *Client, op, collection, id string) (T, error) {
	var found []T
	var none T
	if err := c.read(ctx, op, collection, []Condition{{Field: "id", Value: id}}, &found); err != nil {
		return none, err
	}
	if len(found) == 0 {
		return none, &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
	}
	return found[0], nil
}

// filter encodes the conditions, each with its own op, because the original matches the three lists by position.
func filter(where []Condition) string {
	if len(where) == 0 {
		return ""
	}
	var b strings.Builder
	for i, w := range where {
		if w.Op == "" {
			w.Op = "eq"
		}
		b.WriteByte("?&"[min(i, 1)])
		fmt.Fprintf(&b, "q.field=%s&q.op=%s&q.value=%s",
			url.QueryEscape(w.Field), url.QueryEscape(w.Op), url.QueryEscape(w.Value))
	}
	return b.String()
}

func encode(body any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
