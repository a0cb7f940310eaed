package api_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
)

func TestHealth(t *testing.T) {
	w := newWorld(t)
	if got := w.call(request{path: "/healthcheck"}); got.status != 200 || got.body != "OK" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("healthcheck: got %d %q", got.status, got.body)
	}
	if got := w.call(request{method: "HEAD", path: "/healthcheck"}); got.status != 204 {
		t.Errorf("HEAD: got %d, want 204", got.status)
	}
	got := w.call(request{path: "/healthcheck", header: http.Header{"Accept": {"application/json"}}})
	if want := `{"detailed":false,"reasons":["OK"]}` + "\n"; got.body != want {
		t.Errorf("as JSON: got %s, want %s", got.body, want)
	}
}

func TestHeadIsAnsweredAsGetWithoutABody(t *testing.T) {
	w := newWorld(t)
	w.Service.CheckDependencies(t.Context())
	run := read[api.Run](t, w.call(w.order("k")))
	for _, path := range []string{"/", "/readyz", "/openapi.json", "/docs", "/v1/runs", "/v1/runs/" + run.ID, "/v1/runs/nothing"} {
		get, head := w.call(request{path: path, portal: w.Merchant}), w.call(request{method: "HEAD", path: path, portal: w.Merchant})
		if head.status != get.status || head.body != "" || head.header.Get("Content-Type") != get.header.Get("Content-Type") ||
			head.header.Get("ETag") != get.header.Get("ETag") {
			t.Errorf("HEAD %s: got %d %v %q, want the head of %d %v", path, head.status, head.header, head.body, get.status, get.header)
		}
	}
	w.steps.close() // the next run does not end, so a stream of its events would not end either
	next := w.order("l")
	next.header.Set("Prefer", "respond-async")
	path := w.call(next).header.Get("Location") + "/events"
	head := w.call(request{method: "HEAD", path: path, portal: w.Merchant, header: http.Header{"Accept": {"text/event-stream"}}})
	if head.status != http.StatusOK || head.header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD of events: got %d %v, want no stream", head.status, head.header)
	}
}

func TestReadiness(t *testing.T) {
	w := newWorld(t)
	states := func(q request) (answer, map[string]api.CheckResult) {
		t.Helper()
		q.path = "/readyz"
		got, found := w.call(q), map[string]api.CheckResult{}
		if checks := read[api.Readiness](t, got).Checks; checks != nil {
			for _, c := range *checks {
				found[c.Name] = c
			}
		}
		return got, found
	}
	w.Service.CheckDependencies(t.Context())
	got, found := states(request{})
	if ready := read[api.Readiness](t, got); got.status != 200 || !ready.Ready || ready.Status != api.ReadinessOK || len(found) != 5 {
		t.Errorf("readyz: got %d %s", got.status, got.body)
	}
	for name, c := range found {
		if c.Status != api.CheckOK || c.Reason != nil || c.Since.IsZero() || c.Needed != (name == "database" || name == "lease") {
			t.Errorf("%s: got %+v", name, c)
		}
	}

	w.upstreams.keystoneDown.Store(true)
	w.Service.CheckDependencies(t.Context())
	got, found = states(request{})
	if ready := read[api.Readiness](t, got); got.status != 200 || !ready.Ready || ready.Status != api.ReadinessDegraded {
		t.Errorf("readyz while Keystone is down: got %d %s", got.status, got.body)
	}
	if k := found["keystone"]; k.Status != api.CheckDown || !strings.Contains(text(k.Reason), "503") || found["billingstack"].Status != api.CheckOK {
		t.Errorf("the checks while Keystone is down: got %+v", found)
	}
	w.upstreams.keystoneDown.Store(false)

	for name, c := range map[string]struct {
		ask   request
		shown bool
	}{
		"from this host":                     {shown: true},
		"an operator behind a proxy":         {request{operator: w.OperatorToken, header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}, true},
		"a proxy on this host":               {request{header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}, false},
		"another proxy":                      {request{header: http.Header{"Via": {"1.1 proxy"}}}, false},
		"a token that is not valid":          {request{operator: "x"}, false},
		"a user's token":                     {request{operator: w.UserToken}, false},
		"a request with another host's name": {request{header: http.Header{"Host": {"evil.example.org"}}}, false},
	} {
		got, found := states(c.ask)
		if (len(found) > 0) != c.shown || strings.Contains(got.body, "503") != c.shown || read[api.Readiness](t, got).Status != api.ReadinessDegraded {
			t.Errorf("%s: got %d %s, want the checks shown: %t", name, got.status, got.body, c.shown)
		}
	}
}

func TestVersionsAndPages(t *testing.T) {
	w := newWorld(t)
	if got := read[api.VersionList](t, w.call(request{path: "/"})).Versions; len(got) != 1 || got[0].Status != api.CURRENT {
		t.Errorf("versions: got %+v", got)
	}
	docs := w.call(request{path: "/docs"})
	for _, want := range []string{"Subscribe a user to a plan", "Idempotency-Key: $(uuidgen)", "idempotency-key-reused", `id="schema-Run"`, "Ada Lovelace", "<h4>Body</h4><p>Send either `customer` or `customer_id`, but not both. Send either `user`"} {
		if !strings.Contains(docs.body, want) {
			t.Errorf("the docs do not contain %q", want)
		}
	}
	if strings.Contains(docs.body, "ZgotmplZ") || strings.Contains(docs.body, "<no value>") {
		t.Error("the docs hold something that could not be rendered")
	}
	if got := w.call(request{path: "/problems/nothing"}); got.status != http.StatusNotFound {
		t.Errorf("no such problem: got %d", got.status)
	}
	// The problem pages and the OpenAPI document must list the same problem types.
	documented := map[string]bool{}
	for _, item := range w.document.doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for status, response := range operation.Responses.Map() {
				listed, _ := response.Value.Extensions["x-problems"].([]any)
				for _, name := range listed {
					documented[name.(string)] = true
					page := w.call(request{path: "/problems/" + name.(string)})
					if page.status != 200 || !strings.Contains(page.body, "Status "+status) {
						t.Errorf("problem %s has no page, or the page does not show the status %s", name, status)
					}
				}
			}
		}
	}
	for _, found := range regexp.MustCompile(`id="problem-([a-z-]+)"`).FindAllStringSubmatch(docs.body, -1) {
		if name := found[1]; !documented[name] && name != "method-not-allowed" { // the document describes only allowed methods
			t.Errorf("problem %s is nowhere in the document", name)
		}
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	w := newWorld(t, changed(func(o *service.Options) {
		known := o.Cloud
		o.Cloud = func(name string) (conn.Config, error) {
			if name == "panic" {
				panic("the canary of a panic")
			}
			return known(name)
		}
	}))
	_, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error {
		m.Cloud = "panic"
		return nil
	})
	must(t, err)
	got := w.call(w.order("k"))
	if got.status != http.StatusInternalServerError || strings.Contains(got.body, "canary") {
		t.Errorf("got %d %s, want 500 without the text of the panic", got.status, got.body)
	}
	if log := w.Log.String(); !strings.Contains(log, "canary") || !strings.Contains(log, got.header.Get("X-Openstack-Request-Id")) {
		t.Errorf("the log does not contain the panic and the request's id: %s", log)
	}
}

// The number of concurrent token validations is limited for each client address. RealIP returns this address. The test calls
// RealIP on the Echo instance.
func TestClientAddressIsThatOfTheConnection(t *testing.T) {
	handler, err := api.New(api.Options{Version: "test"})
	must(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.1:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.Header.Set("X-Real-Ip", "203.0.113.7")
	if got := handler.Handler.(*echo.Echo).NewContext(r, httptest.NewRecorder()).RealIP(); got != "192.0.2.1" {
		t.Errorf("the client's address is %q, want 192.0.2.1, whatever the request's headers say", got)
	}
}
