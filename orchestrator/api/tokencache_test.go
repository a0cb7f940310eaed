package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// After Keystone has revoked a token, the service may still accept it: for up to five minutes in requests that read, and for up to
// one minute in requests that change something.
func TestHowLongARevokedTokenWorks(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}))
	list := w.admin("GET", "/v1/merchants", "")
	change := w.admin("PATCH", "/v1/merchants/"+w.Merchant.ID, `{"max_live_runs": 7}`)
	if a := w.call(list); a.status != http.StatusOK {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	w.Keystone.RevokeToken(w.OperatorToken)
	for _, c := range []struct {
		after time.Duration
		of    request
		want  int
	}{
		{59 * time.Second, list, 200},
		{59 * time.Second, change, 200},
		{299 * time.Second, list, 200},
		{301 * time.Second, list, 401},
	} {
		ahead.Store(int64(c.after - 500*time.Millisecond))
		if a := w.call(c.of); a.status != c.want {
			t.Errorf("after %s: %s got %d %s, want %d", c.after, c.of.method, a.status, a.body, c.want)
		}
	}
}

func TestARevokedTokenChangesNothingAfterAMinute(t *testing.T) {
	var ahead atomic.Int64
	w := newWorld(t, changed(func(o *service.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}))
	w.call(w.admin("GET", "/v1/merchants", ""))
	w.Keystone.RevokeToken(w.OperatorToken)
	ahead.Store(int64(time.Minute))
	w.refused(w.admin("PATCH", "/v1/merchants/"+w.Merchant.ID, `{"max_live_runs": 7}`), http.StatusUnauthorized, "operator-token-invalid")
	w.refused(w.admin("GET", "/v1/merchants", ""), http.StatusUnauthorized, "operator-token-invalid") // the refusal is cached
}

// If Keystone does not know a token, the service asks Keystone about the token at most once in five seconds. The service checks at most
// six tokens from one address at a time, so that it can also check tokens from other addresses. The IPv6 addresses of one /64 network
// count as one address.
func TestTokensThatAreNotValidKeepNobodyOut(t *testing.T) {
	for name, c := range map[string]struct {
		address func(i int) string
		other   string
	}{
		"one IPv4 address": {func(int) string { return "192.0.2.1:1" }, "192.0.2.2:1"},
		"IPv6 addresses of one host": {
			func(i int) string { return fmt.Sprintf("[2001:db8:0:1::%x]:1", i) }, "[2001:db8:0:2::1]:1",
		},
		"IPv4 addresses in IPv6": {func(int) string { return "[::ffff:192.0.2.1]:1" }, "[::ffff:192.0.2.2]:1"},
		"a link-local address":   {func(i int) string { return fmt.Sprintf("[fe80::1%%eth%d]:1", i) }, "192.0.2.2:1"},
	} {
		t.Run(name, func(t *testing.T) { tokensThatAreNotValid(t, c.address, c.other) })
	}
}

func tokensThatAreNotValid(t *testing.T, address func(i int) string, other string) {
	t.Helper()
	var checks atomic.Int32
	hold := make(chan struct{})
	w := newWorld(t, func(o *servicetest.Options) {
		around := o.Around
		o.TLS = true // over plain HTTP, only tokens from this host are checked
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			next = around(upstream, next)
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				if strings.HasPrefix(req.Header.Get("X-Subject-Token"), "bogus") {
					checks.Add(1)
					<-hold
				}
				return next.RoundTrip(req)
			})
		}
	})
	ask := func(address, token string) int {
		return w.from(address, request{path: "/v1/merchants", operator: token}).Code
	}
	const places, more = 6, 50
	var all sync.WaitGroup
	var refused atomic.Int32
	for i := range places + more {
		all.Go(func() {
			switch status := ask(address(i), fmt.Sprint("bogus", i)); status {
			case http.StatusUnauthorized:
			case http.StatusTooManyRequests:
				refused.Add(1)
			default:
				t.Errorf("got %d", status)
			}
		})
	}
	waitUntil(t, "the tokens that find no place are refused", func() bool { return refused.Load() == more })
	if got := ask(other, w.OperatorToken); got != http.StatusOK {
		t.Errorf("an operator at another address: got %d", got)
	}
	close(hold)
	all.Wait()
	if got := checks.Load(); got != places {
		t.Errorf("Keystone was asked about %d tokens, want %d", got, places)
	}
	for range 3 {
		if got := ask(address(1), "bogus again"); got != http.StatusUnauthorized {
			t.Errorf("got %d", got)
		}
		if got := ask(address(1), "bogus-again"); got != http.StatusUnauthorized {
			t.Errorf("got %d", got)
		}
	}
	if got := checks.Load(); got != places+1 {
		t.Errorf("Keystone was asked %d times about a token that it does not know, want 1", got-places)
	}
}
