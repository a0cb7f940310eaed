package gate_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
)

func TestFence(t *testing.T) {
	var heard atomic.Pointer[http.Header]
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		heard.Store(&r.Header)
	}))
	t.Cleanup(server.Close)
	client := &http.Client{Transport: gate.Fence(&http.Transport{DisableKeepAlives: true})}
	send := func(ctx context.Context) error {
		heard.Store(nil)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	errLost := errors.New("lost")
	asked := 0
	lostAfter := func(n int) func() error { // the lease ends after n calls of MayWrite
		asked = 0
		return func() error {
			if asked++; asked > n {
				return errLost
			}
			return nil
		}
	}

	ctx := upstream.WithCaller(t.Context(), upstream.Caller{RequestID: "req-ours", MayWrite: lostAfter(2)})
	if err := send(ctx); err != nil || asked != 2 || heard.Load().Get("X-Openstack-Request-Id") != "req-ours" {
		t.Errorf("with a lease: %v; asked %d times, heard %v", err, asked, heard.Load())
	}
	for _, n := range []int{0, 1} { // the lease ends before the request, or while the connection is made
		err := send(upstream.WithCaller(t.Context(), upstream.Caller{MayWrite: lostAfter(n)}))
		if !errors.Is(err, errLost) || !upstream.NotSent(err) || heard.Load() != nil {
			t.Errorf("no lease at call %d of MayWrite: %v, heard %v", n+1, err, heard.Load())
		}
	}
	if err := send(t.Context()); err != nil || heard.Load().Get("X-Openstack-Request-Id") != "" {
		t.Errorf("without a caller: %v, heard %v", err, heard.Load())
	}
}

func TestACallerThatMayOnlyRead(t *testing.T) {
	sent := ""
	through := gate.Fence(roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = r.Method + " " + r.URL.Path
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	}))
	ctx := upstream.WithCaller(t.Context(), upstream.Caller{ReadOnly: true})
	for request, allowed := range map[string]bool{
		"GET /v3/projects": true, "HEAD /v3/projects/p/users/u/roles/r": true, "POST /v3/auth/tokens": true,
		"POST /v3/projects": false, "PUT /v3/projects/p/users/u/roles/r": false, "PATCH /v3/projects/p": false,
		"DELETE /v3/auth/tokens": false, "DELETE /v3/projects/p": false,
		"POST /v2.0/tokens": true, "POST /v2.0/tenants": false, "PUT /v2.0/tenants/t": false, "DELETE /v2.0/tokens/x": false, "POST /v2/tokens": false,
	} {
		sent = ""
		method, path, _ := strings.Cut(request, " ")
		req, err := http.NewRequestWithContext(ctx, method, "http://keystone"+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := through.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if allowed && (err != nil || sent != request) || !allowed && (!upstream.NotSent(err) || sent != "") {
			t.Errorf("%s: sent %q, %v; want it allowed: %t", request, sent, err, allowed)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
