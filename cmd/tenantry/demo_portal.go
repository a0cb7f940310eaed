package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tenantry/tenantry/keystone/keystonetest"
)

// The type `answer` is the answer to a portal's call.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// The method `login` logs a user in, as a portal does, and returns the user's unscoped token. If the user has a
// default project, and the request does not ask for an unscoped token, Keystone issues a token for this project.
func (s *stage) login(ctx context.Context, user string) (string, error) {
	got, err := send(ctx, s.keystoneURL+"/auth/tokens", fmt.Sprintf(`{"auth": {"scope": "unscoped", "identity": {
		"methods": ["password"], "password": {"user": {"name": %q, "domain": {"id": %q}, "password": %q}}}}}`,
		user, keystonetest.DefaultDomain, demoPassword), nil)
	if err == nil && got.status != http.StatusCreated {
		err = fmt.Errorf("logging in as %s: Keystone answers %d", user, got.status)
	}
	return got.header.Get("X-Subject-Token"), err
}

// The type `subscription` is an order that the portal sends.
type subscription struct {
	plan, customer, key string
}

func (c subscription) body() string {
	return fmt.Sprintf(`{"plan_id": %q,
       "customer": {"name": %q, "currency": "eur", "language": "eng"}}`, c.plan, c.customer)
}

// The method `curl` returns the order as a curl command, with each line indented.
func (c subscription) curl(indent string) string {
	return indent + strings.ReplaceAll(`curl -i "$API/v1/merchants/$MERCHANT/subscriptions" \
  -u "$API_KEY:$API_SECRET" -H "X-Subject-Token: $TOKEN" \
  -H 'Idempotency-Key: "`+c.key+`"' \
  -H 'Content-Type: application/json' \
  -d '`+c.body()+`'`, "\n", "\n"+indent)
}

// The method `subscribe` sends the order and waits for the answer.
func (s *stage) subscribe(ctx context.Context, c subscription, token string) (answer, error) {
	return send(ctx, s.URL+"/v1/merchants/"+s.merchant.ID+"/subscriptions", c.body(), func(r *http.Request) {
		r.SetBasicAuth(s.apiKey, s.apiSecret)
		r.Header.Set("X-Subject-Token", token)
		r.Header.Set("Idempotency-Key", `"`+c.key+`"`)
		r.Header.Set("Prefer", "wait=20")
	})
}

// The function `send` posts a body.
func send(ctx context.Context, url, body string, change func(*http.Request)) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	return exchange(r)
}

func exchange(r *http.Request) (answer, error) {
	c := newHTTPClient()
	defer c.CloseIdleConnections()
	resp, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, errors.Join(err, resp.Body.Close())
}

// The method `equal` reports whether two answers have the same status, Location and body.
func (a answer) equal(b answer) bool {
	return a.status == b.status && a.header.Get("Location") == b.header.Get("Location") && bytes.Equal(a.body, b.body)
}

// The method `into` decodes the body.
func (a answer) into(v any) error { return json.Unmarshal(a.body, v) }
