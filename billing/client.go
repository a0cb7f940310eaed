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

// Config is the configuration of a Client. Only URL is required.
type Config struct {
	// URL is the address of BillingStack with the version of the API, such as http://host:9091/v2. If the URL ends in /v1, the
	// client sends updates as PUT instead of PATCH.
	URL string
	// Connections is the maximum number of concurrent requests; the default is 1. The original v2 server serves one connection at a
	// time, so an idle connection would block all others. If Connections is 1, the client therefore closes each connection after
	// one request. If Connections is greater than 1, the client keeps connections alive.
	Connections int
	// Timeout is the time limit of one request. Timeout does not include the wait in Enter. The default is 65 s, because the
	// original server waits up to 60 s for its internal services.
	Timeout time.Duration
	// UsageTimes says that the server stores the times of usage. The original server cannot: after it has stored usage with times, it answers
	// 400 to each list that contains this usage. If UsageTimes is false, the client therefore writes the times into Usage.Measure.
	UsageTimes bool
	// Enter waits until the client may send a request. After the request, the client calls the function `leave` with the status of
	// the answer, or with the error if there is no answer. Enter must limit the number of concurrent requests to Connections. If
	// Enter refuses a request, Enter returns an [upstream.NotSentError]. If Enter is nil, the client sends requests in the sequence of the
	// calls.
	Enter func(context.Context) (leave func(status int, err error), err error)
	// Wrap, if set, wraps the HTTP transport of the client. If the wrapped transport returns an [upstream.NotSentError], the
	// client treats the request as not sent.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Client calls the API of one BillingStack. A Client is safe for concurrent use. A Client never retries a request. A call that
// fails returns an *upstream.Error.
type Client struct {
	base    string
	update  string // the HTTP method of updates
	timeout time.Duration
	times   bool // Config.UsageTimes
	enter   func(context.Context) (leave func(status int, err error), err error)
	http    *http.Client
}

// New checks the configuration and returns a client. New sends no requests.
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

		MaxResponseHeaderBytes: upstream.MaxHeader,
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
		times:   cfg.UsageTimes,
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
		// The text of a url.Error contains the URL, and the URL may contain a password.
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return "", "", err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return "", "", errors.New("the URL must be http(s)://HOST:PORT/v2 or /v1, without user, query or fragment")
	}
	base = strings.TrimRight(u.String(), "/")
	switch {
	case strings.HasSuffix(base, "/v2"):
		return base, http.MethodPatch, nil
	case strings.HasSuffix(base, "/v1"):
		return base, http.MethodPut, nil
	}
	return "", "", errors.New("the URL must end in the version of the API, /v2 or /v1")
}

// Ping reads the list of currencies. Ping must send a request, because a connection without a request would block the original
// server.
func (c *Client) Ping(ctx context.Context) error {
	return each(ctx, c, "pinging BillingStack", "/currencies", nil, func(Currency) {})
}

// The function `find` returns the object with the given id from a collection, or ErrNotFound. `find` filters the collection by id.
// `find` does not GET the URL of the object, because the original server would then answer 500 for a missing object and would not
// check the merchant.
func find[T any](ctx context.Context, c *Client, op, collection, id string) (T, error) {
	var found, none T
	n := 0
	err := eachWithin(ctx, c, bulkLimits, op, collection, []Condition{{Field: "id", Value: id}}, func(one T) {
		if n++; n == 1 {
			found = one
		}
	})
	if err != nil {
		return none, err
	}
	if n == 0 {
		return none, &upstream.Error{Service: Service, Class: upstream.Permanent, Op: op, Err: ErrNotFound}
	}
	return found, nil
}

// The function `filter` encodes conditions as query parameters. Each condition needs a q.op, because the original server matches
// the lists of q.field, q.op and q.value by position.
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
