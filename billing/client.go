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

// Config says where a BillingStack is and how to speak to it.
type Config struct {
	// URL ends in the version: http://host:9091/v2, or /v1, whose updates are PUT.
	URL string
	// Connections is how many requests may be under way at once. With 1, the default, there is no keep-alive:
	// the original v2 serves one connection at a time, and an idle one blocks everybody. More keep
	// their connections.
	Connections int
	// Timeout bounds one request once its turn has come. The default, 65 s, is longer than the 60 s that the
	// original waits for its own services.
	Timeout time.Duration
	// Enter gives a request its turn, and leave is told how it ended: the status of its answer, or what came instead of
	// one. It must not let in more than Connections at once. An error is an [upstream.NotSentError]. nil serves requests in the order in which they come.
	Enter func(context.Context) (leave func(status int, err error), err error)
	// Wrap, if set, is put around the transport. An [upstream.NotSentError] of its own counts as
	// "not sent".
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Client calls one BillingStack. It is safe for concurrent use. Nothing is retried inside: every call sends
// its requests once, and returns an *upstream.Error when it did not succeed.
type Client struct {
	base    string
	update  string // the action of updates
	timeout time.Duration
	enter   func(context.Context) (leave func(status int, err error), err error)
	http    *http.Client
}

// New checks the configuration; it sends nothing.
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
		// The URL itself may hold a password.
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

// Ping asks for the list of currencies: a whole request, since a bare connection would block the original.
func (c *Client) Ping(ctx context.Context) error {
	return c.read(ctx, "pinging BillingStack", "/currencies", nil, new([]Currency))
}

// read gets path into out. Conditions become the filter.
func (c *Client) read(ctx context.Context, op, path string, where []Condition, out any) error {
	return c.call(ctx, request{op: op, method: http.MethodGet, path: path + filter(where), out: out})
}

// list gives a whole collection; there is no paging.
func list[T any](ctx context.Context, c *Client, op, collection string) ([]T, error) {
	var all []T
	if err := c.read(ctx, op, collection, nil, &all); err != nil {
		return nil, err
	}
	return all, nil
}

// find gives the object of a collection with that id, by the filter: the sure way, where an item's own URL
// answers 500 and checks no merchant. Nothing found is ErrNotFound.
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

// filter writes every condition with its own op: the original matches the three lists by position.
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
