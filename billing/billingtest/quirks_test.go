package billingtest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestClientOnTheOriginalsQuirks(t *testing.T) {
	for name, opts := range map[string]billingtest.Options{
		"v2":                {},
		"v2 behind a queue": {Queue: true},
		"v1":                {V1: true},
		"v1 behind a queue": {V1: true, Queue: true},
	} {
		t.Run(name, func(t *testing.T) {
			// The original server serves one connection at a time, so a second connection would hang. The client must therefore
			// send one request at a time and close each connection.
			quirks := billingtest.NewQuirkServer(opts)
			var under atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if under.Add(1) > 1 {
					t.Errorf("%s %s arrived during another request", r.Method, r.URL)
				}
				defer under.Add(-1)
				if !r.Close {
					t.Errorf("%s %s keeps its connection open", r.Method, r.URL)
				}
				if strings.HasSuffix(r.URL.Path, "/") {
					t.Errorf("%s %s has an empty id", r.Method, r.URL)
				}
				quirks.ServeHTTP(w, r)
			}))
			defer srv.Close()
			version := "/v2"
			if opts.V1 {
				version = "/v1"
			}
			billingtest.Conformance(t, billingtest.Target{URL: srv.URL + version, Connections: 1, NoUsage: opts.V1})
		})
	}
}

func TestReleasedV2CannotSubscribeOrStoreUsage(t *testing.T) {
	srv := httptest.NewServer(billingtest.NewQuirkServer(billingtest.Options{Unrepaired: true}))
	defer srv.Close()
	c, err := billing.New(billing.Config{URL: srv.URL + "/v2"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.EnsureSubscription(t.Context(), merchantID, billing.Subscription{
		ID: uuid.NewString(), PlanID: uuid.NewString(), CustomerID: uuid.NewString(), ResourceID: "pending:1",
	})
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Class != upstream.Permanent || e.MaybeDone || !strings.Contains(e.Message, "takes exactly") {
		t.Errorf("got %v; want a permanent refusal with its reason", err)
	}
	_, err = c.CreateUsage(t.Context(), merchantID, billing.Usage{
		ID: uuid.NewString(), SubscriptionID: uuid.NewString(), ProductID: uuid.NewString(),
	})
	if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Blocked || e.MaybeDone || !errors.Is(err, billing.ErrUsageBroken) {
		t.Errorf("got %v; want a blocked error with cause %v", err, billing.ErrUsageBroken)
	}
}

const (
	merchantID = "f47f51dd-e7db-47e2-bdb1-83935a50cf87"
	customerID = "4afa6af7-0c5d-467c-8b18-db57ba1bfabc"
)

// TestTheQuirksThemselves shows that QuirkServer has the bugs that the client works around.
func TestTheQuirksThemselves(t *testing.T) {
	merchant := `{"id": "` + merchantID + `", "name": "M", "currency": "nok", "language": "nor"}`
	customer := `{"id": "` + customerID + `", "name": "X", "unknown": 1}`
	for version, steps := range map[string][]struct {
		method, path, body string
		status             int
		contentType, text  string
	}{
		"v2": {
			{"POST", "/currencies", `{"name": "NOK"}`, 202, "application/json", `"nok"`},
			{"POST", "/languages", `{"name": "nor"}`, 202, "application/json", `"nor"`},
			{"POST", "/merchants", merchant, 202, "application/json", `"M"`},
			{"POST", "/merchants", merchant, 500, "application/json", "UNIQUE constraint failed"},
			{"POST", "/merchants/" + merchantID + "/customers", customer, 202, "application/json", `"X"`},
			{"POST", "/merchants/" + customerID + "/customers", `{"name": "X"}`, 500, "application/json", customerID},
			{"GET", "/merchants/nonsense/customers", "", 200, "application/json", customerID},
			{"GET", "/merchants/nonsense/customers/" + customerID, "", 200, "application/json", customerID},
			{"GET", "/merchants/nonsense/customers/" + merchantID, "", 500, "application/json", merchantID},
			{"GET", "/merchants/nonsense/customers?limit=1", "", 400, "application/json", "Unknown argument"},
			{"PUT", "/merchants/nonsense/customers/" + customerID, "{}", 404, "text/plain", ""},
			{"DELETE", "/merchants/" + merchantID, "", 500, "application/json", "NOT NULL constraint failed: customer.merchant_id"},
			{"DELETE", "/merchants/nonsense/customers/", "", 204, "", ""},
			{"GET", "/merchants/nonsense/customers", "", 200, "application/json", "[]"},
		},
		"v1": {
			{"POST", "/currencies", `{"name": "NOK"}`, 202, "application/json", `"nok"`},
			{"POST", "/languages", `{"name": "nor"}`, 202, "application/json", `"nor"`},
			{"POST", "/merchants", merchant, 202, "application/json", `"M"`},
			{"POST", "/merchants", "{", 500, "application/json", `{"code":500}`},
			{"POST", "/merchants/" + merchantID + "/customers", customer, 202, "application/json", `"X"`},
			{"GET", "/merchants/" + customerID + "/customers", "", 200, "application/json", "[]"},
			{"GET", "/merchants/" + merchantID + "/customers/" + merchantID, "", 500, "text/html", merchantID},
			{"PUT", "/merchants/" + merchantID + "/customers/" + customerID, `{"name": "Y"}`, 202, "application/json", `"Y"`},
			{"PATCH", "/merchants/" + merchantID + "/customers/" + customerID, "{}", 405, "text/html", ""},
			{"DELETE", "/merchants/" + merchantID + "/customers/" + merchantID, "", 404, "application/json", `"not_found"`},
			{"DELETE", "/merchants/" + merchantID + "/customers/", "", 404, "text/html", ""},
			{"DELETE", "/merchants/" + merchantID + "/customers/" + customerID, "", 204, "", ""},
		},
	} {
		t.Run(version, func(t *testing.T) {
			quirks := billingtest.NewQuirkServer(billingtest.Options{V1: version == "v1"})
			for _, s := range steps {
				r := httptest.NewRequest(s.method, "/"+version+s.path, strings.NewReader(s.body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				quirks.ServeHTTP(w, r)
				contentType := w.Header().Get("Content-Type")
				if w.Code != s.status || !strings.HasPrefix(contentType, s.contentType) || !strings.Contains(w.Body.String(), s.text) {
					t.Errorf("%s %s %s: got %d %s %s; want %d %s with %q", s.method, s.path, s.body,
						w.Code, contentType, w.Body, s.status, s.contentType, s.text)
				}
			}
			r := httptest.NewRequest(http.MethodGet, "/v9/currencies", nil)
			r.Header.Set("Accept", "application/json")
			w := httptest.NewRecorder()
			quirks.ServeHTTP(w, r)
			want := map[string]string{
				"v1": "text/html <!DOCTYPE HTML><title>Not here</title><p>Not here.</p>",
				"v2": `application/json {"code": 404, "title": "Not Found", "description": null}`,
			}[version]
			if got := w.Header().Get("Content-Type") + " " + w.Body.String(); w.Code != 404 || got != want {
				t.Errorf("a path without a route, as JSON: got %d %s; want 404 %s", w.Code, got, want)
			}
		})
	}
}
