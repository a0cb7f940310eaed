package console_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `raw` passes a request over TLS to the service, as if it came from the address `remote`.
func (w *world) raw(method, path, remote string, form url.Values, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr, r.TLS = remote, &tls.ConnectionState{}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	out := httptest.NewRecorder()
	w.Service.Handler.ServeHTTP(out, r)
	return out
}

// The method `signIns` sends a form from a new address each time, and returns how often each status was the answer.
func (w *world) signIns(n int, form func(i int) url.Values) map[int]int {
	codes := map[int]int{}
	for i := range n {
		codes[w.raw(http.MethodPost, "/console/sign-in", fmt.Sprintf("192.0.2.%d:1", i+1), form(i)).Code]++
	}
	return codes
}

// Neither a field of another form nor another spelling of the name gives further attempts.
func TestTheLimitOfANameCannotBeBypassed(t *testing.T) {
	for name, form := range map[string]func(int) url.Values{
		"a field of another form": func(i int) url.Values {
			f := password("olga", "guess")
			f.Set("key", fmt.Sprint(i))
			return f
		},
		"spellings": func(i int) url.Values {
			return password([]string{"olga", "OLGA", "olga ", "\u00f3lga", "\uff4flga"}[i%5], "guess")
		},
		"an API key": func(i int) url.Values {
			return url.Values{"how": {"key"}, "key": {"tk_1"}, "secret": {"guess"}, "user": {fmt.Sprint(i)}}
		},
	} {
		w := newWorld(t)
		if codes := w.signIns(40, form); codes[http.StatusUnauthorized] != 10 || codes[http.StatusTooManyRequests] != 30 {
			t.Errorf("%s: %v", name, codes)
		}
		if o := w.raw(http.MethodPost, "/console/sign-in", "198.51.100.7:1", password("o", "lga")); o.Code != http.StatusUnauthorized {
			t.Errorf("%s: another name is limited: %d", name, o.Code)
		}
	}
}

// A form that nobody can sign in with is refused before it is counted, so that it needs no memory.
func TestAFormThatCannotBeRightIsNotCounted(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 2000)
	for _, form := range []url.Values{
		{"how": {"nothing"}, "user": {"olga"}},
		{"user": {"olga"}},
		password("", "pw"), password("olga", ""), password(long, "pw"), password("olga", long),
		password("a\x00", "x"), password("\xff", "x"),
		{"how": {"token"}},
		{"how": {"key"}, "key": {long}, "secret": {"x"}},
		{"how": {"key"}, "key": {"a\x00"}, "secret": {"x"}},
		{"how": {"password"}, "user": {"olga"}, "domain": {long}, "password": {"pw"}},
	} {
		for range 2 {
			if o := w.raw(http.MethodPost, "/console/sign-in", "192.0.2.1:1", form); o.Code != http.StatusUnauthorized || strings.Contains(o.Body.String(), long) {
				t.Errorf("%.80v: %d", form, o.Code)
			}
		}
	}
	if o := w.raw(http.MethodPost, "/console/sign-in", "192.0.2.1:1", password("olga", "pw")); o.Code != http.StatusSeeOther {
		t.Errorf("then %d", o.Code)
	}
}

func TestNobodyKeepsOthersFromSigningIn(t *testing.T) {
	token := func(t string) url.Values { return url.Values{"how": {"token"}, "token": {t}} }
	t.Run("with tokens", func(t *testing.T) {
		w := newWorld(t)
		w.signIns(20, func(int) url.Values { return token("x") })
		if o := w.raw(http.MethodPost, "/console/sign-in", "198.51.100.7:1", token(w.OperatorToken)); o.Code != http.StatusSeeOther {
			t.Error(o.Code)
		}
		for range 10 {
			w.raw(http.MethodPost, "/console/sign-in", "192.0.2.1:1", token("x"))
		}
		if o := w.raw(http.MethodPost, "/console/sign-in", "192.0.2.1:1", token(w.OperatorToken)); o.Code != http.StatusTooManyRequests {
			t.Errorf("one visitor has no limit: %d", o.Code)
		}
	})
	t.Run("with somebody's name", func(t *testing.T) {
		w := newWorld(t)
		w.signIns(20, func(int) url.Values { return password("olga", "guess") })
		if o := w.raw(http.MethodPost, "/console/sign-in", "198.51.100.7:1", password("olga", "pw")); o.Code != http.StatusTooManyRequests ||
			!strings.Contains(o.Body.String(), "token can still be used") {
			t.Error(o.Code)
		}
		if o := w.raw(http.MethodPost, "/console/sign-in", "198.51.100.7:1", token(w.OperatorToken)); o.Code != http.StatusSeeOther {
			t.Errorf("with a token: %d", o.Code)
		}
	})
	t.Run("with many names from many networks", func(t *testing.T) {
		w := newWorld(t)
		for i := range 310 {
			w.raw(http.MethodPost, "/console/sign-in", fmt.Sprintf("[2001:db8:0:%x::1]:1", i), password(fmt.Sprint("n", i), "x"))
		}
		if o := w.raw(http.MethodPost, "/console/sign-in", "198.51.100.7:1", password("olga", "pw")); o.Code != http.StatusSeeOther {
			t.Error(o.Code)
		}
	})
	t.Run("behind a proxy on this host", func(t *testing.T) {
		for _, c := range []struct {
			bad, good string // the values of X-Forwarded-For
			status    int
		}{
			{"192.0.2.1", "198.51.100.7", http.StatusSeeOther},
			{"198.51.100.7, 192.0.2.1", "198.51.100.7", http.StatusSeeOther},
			{"192.0.2.1", "198.51.100.7, 192.0.2.1", http.StatusTooManyRequests},
			{"", "", http.StatusSeeOther},
			{"unknown", "unknown", http.StatusSeeOther},
		} {
			w := newWorld(t)
			for i := range 10 {
				w.raw(http.MethodPost, "/console/sign-in", "127.0.0.1:1", password(fmt.Sprint("n", i), "x"), "X-Forwarded-Proto", "https", "X-Forwarded-For", c.bad)
			}
			o := w.raw(http.MethodPost, "/console/sign-in", "127.0.0.1:2", password("olga", "pw"), "X-Forwarded-Proto", "https", "X-Forwarded-For", c.good)
			if o.Code != c.status {
				t.Errorf("%v: %d", c, o.Code)
			}
		}
		w := newWorld(t)
		for i := range 10 { // a visitor who is not behind the proxy cannot choose the address
			w.raw(http.MethodPost, "/console/sign-in", "192.0.2.1:1", password(fmt.Sprint("n", i), "x"), "X-Forwarded-Proto", "https", "X-Forwarded-For", fmt.Sprint("10.0.0.", i))
		}
		if o := w.raw(http.MethodPost, "/console/sign-in", "192.0.2.1:1", password("olga", "pw")); o.Code != http.StatusTooManyRequests {
			t.Errorf("without a proxy: %d", o.Code)
		}
	})
}

// Only 16 sign-ins are checked at the same time.
func TestManySignInsAtTheSameTime(t *testing.T) {
	asked, release := make(chan struct{}, 100), make(chan struct{})
	w := newWorld(t, func(o *servicetest.Options) {
		around := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			next = around(upstream, next)
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if upstream != service.BillingStack && strings.HasSuffix(r.URL.Path, "/auth/tokens") && r.Header.Get("X-Subject-Token") != "" {
					asked <- struct{}{}
					select {
					case <-release:
					case <-time.After(30 * time.Second): // so that the test fails, and does not hang
					}
				}
				return next.RoundTrip(r)
			})
		}
	})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			w.raw(http.MethodPost, "/console/sign-in", fmt.Sprintf("192.0.2.%d:1", i+1), url.Values{"how": {"token"}, "token": {fmt.Sprint("x", i)}})
		})
	}
	for range 16 {
		<-asked
	}
	o := w.raw(http.MethodPost, "/console/sign-in", "198.51.100.7:1", url.Values{"how": {"key"}, "key": {"tk_1"}, "secret": {"x"}})
	if o.Code != http.StatusServiceUnavailable || o.Header().Get("Retry-After") == "" {
		t.Errorf("the 17th: %d", o.Code)
	}
	close(release)
	all.Wait()
	if o := w.raw(http.MethodPost, "/console/sign-in", "198.51.100.8:1", password("olga", "pw")); o.Code != http.StatusSeeOther {
		t.Errorf("then %d", o.Code)
	}
}
