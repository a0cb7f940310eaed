package billingtest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/billing/billingtest"
)

func TestClientOnTheOriginalsQuirks(t *testing.T) {
	for name, opts := range map[string]billingtest.Options{
		"v2":                {},
		"v2 behind a queue": {Queue: true},
		"v1":                {V1: true},
		"v1 behind a queue": {V1: true, Queue: true},
	} {
		t.Run(name, func(t *testing.T) {
			// One at a time, HTTP/1.0: a second connection while one is served would hang there.
			quirks := billingtest.NewQuirkServer(opts)
			var under atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if under.Add(1) > 1 {
					t.Errorf("%s %s came while another request was under way", r.Method, r.URL)
				}
				defer under.Add(-1)
				if !r.Close {
					t.Errorf("%s %s would keep its connection", r.Method, r.URL)
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
