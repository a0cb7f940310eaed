package console_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHeadAnswersAsGet(t *testing.T) {
	w := newWorld(t)
	v, id := w.operator(t), w.order(t, w.Merchant)
	for path, status := range map[string]int{
		"/console/runs": http.StatusOK, "/console/runs/" + id: http.StatusOK, "/console/sign-in": http.StatusOK, "/console/static/console.css": http.StatusOK,
		"/console/runs/nope": http.StatusNotFound, "/console/live": http.StatusNotFound,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, w.URL+path, nil)
		if p := v.do(r, err); p.status != status || p.text != "" {
			t.Errorf("%s: %d, %d bytes", path, p.status, len(p.text))
		}
	}
}

func TestTheStaticFilesAreNotListed(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/console/static/", "/console/static/index.html", "/console/static/../static/"} {
		if p := w.visitor(t).get(path); p.status != http.StatusNotFound || strings.Contains(p.text, "console.js<") {
			t.Errorf("%s: %d %s", path, p.status, p.text)
		}
	}
}

// Browsers are told to use TLS if the console owns the host: on the default port, and not at localhost.
func TestStrictTransportSecurity(t *testing.T) {
	w := newWorld(t)
	for address, sent := range map[string]bool{
		"https://tenantry.example/console/sign-in":      true,
		"https://tenantry.example:9292/console/sign-in": false,
		"https://localhost/console/sign-in":             false,
		"https://[::1]/console/sign-in":                 false,
		"http://tenantry.example/console/sign-in":       false,
	} {
		out := httptest.NewRecorder()
		w.Service.Handler.ServeHTTP(out, httptest.NewRequest(http.MethodGet, address, nil))
		if header := out.Header().Get("Strict-Transport-Security"); (header == "max-age=31536000") != sent {
			t.Errorf("%s: %q", address, header)
		}
	}
}
