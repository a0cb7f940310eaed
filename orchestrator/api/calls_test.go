package api_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The type `portal` is a merchant's id and API key.
type portal = servicetest.Merchant

// The type `request` is one call of the API. Empty fields are not sent.
type request struct {
	method, path string
	body         string
	portal       portal
	operator     string
	header       http.Header
}

// The type `answer` is the response to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// The method `call` sends a request, and checks the answer against the OpenAPI document.
func (w *world) call(q request) answer {
	w.t.Helper()
	a, err := w.try(q)
	must(w.t, err)
	w.document.check(w.t, q, a)
	return a
}

func (w *world) try(q request) (answer, error) {
	r, err := http.NewRequestWithContext(w.t.Context(), cmp.Or(q.method, http.MethodGet), w.URL+q.path, strings.NewReader(q.body))
	if err != nil {
		return answer{}, err
	}
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(r.Header, q.header)
	r.Host = q.header.Get("Host")
	if q.portal.Key != "" {
		r.SetBasicAuth(q.portal.Key, q.portal.Secret)
	}
	if q.operator != "" {
		r.Header.Set("X-Auth-Token", q.operator)
	}
	resp, err := w.Client.Do(r)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, errors.Join(err, resp.Body.Close())
}

// The method `order` creates a valid order. Tests may change the order before they send it.
func (w *world) order(key string) request {
	return request{
		method: http.MethodPost, path: "/v1/merchants/" + w.Merchant.ID + "/subscriptions", portal: w.Merchant,
		body: fmt.Sprintf(`{"plan_id": %q, "customer": {"name": "Ada", "currency": "nok", "language": "nor"}}`, w.Merchant.Plan),
		header: http.Header{
			"Idempotency-Key": {key}, "X-Subject-Token": {w.UserToken},
		},
	}
}

// The method `change` creates a valid request that changes a subscription of the merchant. The parameter `name` is the last segment of
// the path, such as "suspend".
func (w *world) change(subscription, name, key string) request {
	return request{
		method: http.MethodPost, path: "/v1/merchants/" + w.Merchant.ID + "/subscriptions/" + subscription + "/" + name, portal: w.Merchant,
		body: `{"why": "a test"}`, header: http.Header{"Idempotency-Key": {key}},
	}
}

// asOperator returns the request q with the credential of an operator.
func (w *world) asOperator(q request) request {
	q.portal, q.operator = portal{}, w.OperatorToken
	return q
}

// The function `read` decodes a body.
func read[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// The method `refused` sends a request, and checks that the server refuses it with this status and problem, and writes nothing.
func (w *world) refused(q request, status int, problem string) answer {
	w.t.Helper()
	runs, writes := w.runs(), w.upstreams.writes.Load()
	a := w.call(q)
	if p := read[api.Problem](w.t, a); a.status != status || p.Type != "/problems/"+problem {
		w.t.Errorf("got %d %s, want %d %s: %s", a.status, p.Type, status, problem, a.body)
	}
	if after, wrote := w.runs(), w.upstreams.writes.Load(); after != runs || wrote != writes {
		w.t.Errorf("the refused request made %d runs and %d writes upstream", after-runs, wrote-writes)
	}
	return a
}

// The method `from` sends a request to the handler of the API. The parameter `remote` is the client's address.
func (w *world) from(remote string, q request) *httptest.ResponseRecorder {
	return w.fromIn(w.t.Context(), remote, q)
}

// fromIn sends a request to the handler of the API, like the method `from`. The request ends when ctx ends.
func (w *world) fromIn(ctx context.Context, remote string, q request) *httptest.ResponseRecorder {
	out := httptest.NewRecorder()
	w.into(ctx, out, remote, q)
	return out
}

// The method `into` is like fromIn, but writes the answer to the writer `out`.
func (w *world) into(ctx context.Context, out http.ResponseWriter, remote string, q request) {
	r := httptest.NewRequestWithContext(ctx, cmp.Or(q.method, http.MethodGet), q.path, strings.NewReader(q.body))
	r.RemoteAddr = remote
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(r.Header, q.header)
	if q.portal.Key != "" {
		r.SetBasicAuth(q.portal.Key, q.portal.Secret)
	}
	if q.operator != "" {
		r.Header.Set("X-Auth-Token", q.operator)
	}
	w.Service.Handler.ServeHTTP(out, r)
}
