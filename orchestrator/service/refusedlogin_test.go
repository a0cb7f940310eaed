package service_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// Keystone refuses the login of the service's user, for example because the user is locked. Requests to the API cause no further
// logins, and the answers name the refused login. The state of the service shows the refused login before the next regular check.
func TestARefusedLoginOfTheServiceIsSeenAtOnceAndNotRepeated(t *testing.T) {
	var refuses atomic.Bool
	var logins atomic.Int32
	checks := func(o *service.Options) { o.CheckByHand = false }
	in := servicetest.New(t, servicetest.Options{Change: checks, Around: func(upstream string, next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(req *http.Request) (*http.Response, error) {
			if upstream == service.BillingStack || !refuses.Load() {
				return next.RoundTrip(req)
			}
			if req.Body != nil {
				_ = req.Body.Close()
			}
			if strings.HasSuffix(req.URL.Path, "/auth/tokens") && req.Method == http.MethodPost {
				logins.Add(1)
			}
			return &http.Response{
				StatusCode: http.StatusUnauthorized, ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{},
				Body: io.NopCloser(strings.NewReader(`{"error":{"code":401,"message":"The request you have made requires authentication."}}`)),
			}, nil
		})
	}})
	if status, got := ready(t, in); status != http.StatusOK || got.Status != "ok" {
		t.Fatalf("before: %d %+v", status, got)
	}
	refuses.Store(true)
	began := logins.Load()
	for range 20 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.URL+"/v1/runs", http.NoBody)
		must(t, err)
		r.Header.Set("X-Auth-Token", in.OperatorToken)
		resp, err := in.Client.Do(r)
		must(t, err)
		var problem struct{ Detail string }
		must(t, json.NewDecoder(resp.Body).Decode(&problem))
		must(t, resp.Body.Close())
		const want = "the server's own login to Keystone is refused (OS_* or clouds.yaml of tenantry serve)"
		if resp.StatusCode != http.StatusServiceUnavailable || problem.Detail != want || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("got %s, %q, want 503, %q", resp.Status, problem.Detail, want)
		}
	}
	if got := logins.Load() - began; got > 2 { // in a slow test, the circuit may already have made its first trial
		t.Errorf("%d refused logins for 20 requests, want 1", got)
	}
	within(t, "the refused login in the state", func() (string, bool) {
		resp, err := in.Client.Get(in.URL + "/readyz")
		must(t, err)
		var got readiness
		must(t, json.NewDecoder(resp.Body).Decode(&got))
		must(t, resp.Body.Close())
		const reason = "Keystone refuses the login of user admin (domain default) on project admin: the password is wrong, or " +
			"the user is disabled or locked, or it has no role on the project"
		for _, check := range got.Checks {
			if check.Name == "keystone" && check.Status == "down" && strings.HasSuffix(strings.Split(check.Reason, ": Keystone answered")[0], reason) {
				return "", got.Status == "degraded"
			}
		}
		return fmt.Sprintf("%+v", got), false
	})
}
