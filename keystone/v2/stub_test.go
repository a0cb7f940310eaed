package v2_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v2 "github.com/tenantry/tenantry/keystone/v2"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The type `house` is a Keystone with Identity v2.0, and a Cloud that uses it. The requests do not leave the process.
type house struct {
	*keystonetest.Keystone
	cloud    *v2.Cloud
	requests []string                                               // method, host and path of each request
	answer   func(*http.Request) (status int, body string, ok bool) // replaces the answer of Keystone if ok is true
}

func newHouse(t *testing.T, change ...func(*conn.Config)) *house {
	t.Helper()
	h := &house{Keystone: keystonetest.New(keystonetest.Options{Pike: true, AdminPassword: "canary"})}
	h.AddRole("member")
	cfg := conn.Config{
		URL: "http://keystone:5000/v2.0", Version: "2.0", AdminURL: "http://keystone:35357/v2.0",
		Credential:     conn.Credential{Username: "admin", Password: "canary", ProjectName: "admin"},
		MayWriteDomain: func(id string) bool { return id == "default" },
		Base: roundTrip(func(req *http.Request) (*http.Response, error) {
			h.requests = append(h.requests, req.Method+" "+req.URL.Host+req.URL.EscapedPath())
			if h.answer != nil {
				if status, body, ok := h.answer(req); ok {
					return &http.Response{
						StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}, "X-Openstack-Request-Id": {"req-1"}},
						Body: io.NopCloser(strings.NewReader(body)), Request: req,
					}, nil
				}
			}
			recorder := httptest.NewRecorder()
			clone := req.Clone(req.Context())
			clone.RequestURI = req.URL.RequestURI()
			if clone.Body == nil {
				clone.Body = http.NoBody
			}
			h.ServeHTTP(recorder, clone)
			return recorder.Result(), nil
		}),
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if h.cloud, err = v2.New(cfg); err != nil {
		t.Fatal(err)
	}
	return h
}

// The method `fails` replaces the answers to the requests with this method and this end of the path.
func (h *house) fails(method, end string, status int, body string) {
	h.answer = func(req *http.Request) (int, string, bool) {
		return status, body, req.Method == method && strings.HasSuffix(req.URL.Path, end)
	}
}

func fault(status int, message string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"title":"x","message":%q}}`, status, message)
}
