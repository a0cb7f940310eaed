package api_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	v3 "github.com/tenantry/tenantry/keystone/v3"
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
	if got := w.call(request{path: "/readyz"}); got.status != 200 || !read[api.Readiness](t, got).Ready {
		t.Errorf("readyz: got %d %s", got.status, got.body)
	}
	w.upstreams.keystoneDown.Store(true)
	got = w.call(request{path: "/readyz"})
	want := []api.CheckResult{{Name: "database", Ok: true}, {Name: "keystone"}, {Name: "billingstack", Ok: true}}
	if got.status != 503 || !slices.Equal(read[api.Readiness](t, got).Checks, want) || strings.Contains(got.body, "canary") {
		t.Errorf("readyz while Keystone is down: got %d %s", got.status, got.body)
	}
}

func TestVersionsAndPages(t *testing.T) {
	w := newWorld(t)
	if got := read[api.VersionList](t, w.call(request{path: "/"})).Versions; len(got) != 1 || got[0].Status != api.CURRENT {
		t.Errorf("versions: got %+v", got)
	}
	docs := w.call(request{path: "/docs"})
	for _, want := range []string{"Subscribe a user to a plan", "Idempotency-Key: $(uuidgen)", "idempotency-key-reused", `id="schema-Run"`, "Ada Lovelace", "<h4>Body</h4><p>Send either customer or customer_id.</p>"} {
		if !strings.Contains(docs.body, want) {
			t.Errorf("the docs do not tell %q", want)
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
						t.Errorf("problem %s has no page that tells its status %s", name, status)
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
		o.Cloud = func(name string) (v3.Config, error) {
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
		t.Errorf("got %d %s, want a bare 500", got.status, got.body)
	}
	if log := w.Log.String(); !strings.Contains(log, "canary") || !strings.Contains(log, got.header.Get("X-Openstack-Request-Id")) {
		t.Errorf("the log does not tell the panic under the request's id: %s", log)
	}
}

// No code of this package calls RealIP, so the test calls RealIP on the Echo instance.
func TestClientAddressIsThatOfTheConnection(t *testing.T) {
	handler, err := api.New(api.Options{Version: "test"})
	must(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.1:40000"
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.Header.Set("X-Real-Ip", "203.0.113.7")
	if got := handler.(*echo.Echo).NewContext(r, httptest.NewRecorder()).RealIP(); got != "192.0.2.1" {
		t.Errorf("the client's address is %q, want 192.0.2.1, whatever the request's headers say", got)
	}
}
