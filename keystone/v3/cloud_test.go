package v3_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
)

// The type `house` is the fixture of a test. It consists of an in-memory Keystone, and a Cloud that calls this Keystone. A test may
// intercept the Cloud's requests.
type house struct {
	*keystonetest.Keystone

	url    string
	config conn.Config
	cloud  *v3.Cloud
	wire   *wire
}

func newHouse(t *testing.T, change ...func(*conn.Config)) *house {
	t.Helper()
	return newHouseOf(t, keystonetest.New(keystonetest.Options{}), change...)
}

func newHouseOf(t *testing.T, k *keystonetest.Keystone, change ...func(*conn.Config)) *house {
	t.Helper()
	h := &house{Keystone: k, wire: &wire{next: conn.NewTransport(nil)}}
	url, stop, err := h.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	h.url = url
	h.config = conn.Config{
		URL:            url,
		Credential:     conn.Credential{Username: "admin", UserDomainID: "default", Password: "secret", ProjectName: "admin", ProjectDomainID: "default"},
		Base:           h.wire,
		MayWriteDomain: func(id string) bool { return id == "default" },
		Enter:          turns(t),
	}
	for _, c := range change {
		c(&h.config)
	}
	if h.cloud, err = v3.New(h.config); err != nil {
		t.Fatal(err)
	}
	return h
}

// The function `turns` returns a Config.Enter that admits at most 64 concurrent requests. At the end of the test, all requests must have
// ended.
func turns(t *testing.T) func(context.Context) (func(int, error), error) {
	place := make(chan struct{}, 64)
	t.Cleanup(func() {
		for range cap(place) {
			select {
			case place <- struct{}{}:
			case <-time.After(5 * time.Second):
				t.Fatal("a request has not ended")
			}
		}
	})
	return func(ctx context.Context) (func(int, error), error) {
		select {
		case place <- struct{}{}:
			leave := sync.OnceFunc(func() { <-place })
			return func(int, error) { leave() }, nil
		case <-ctx.Done():
			return nil, unsent(ctx.Err())
		}
	}
}

// The type `wire` is a transport that records requests. A test can replace Keystone's answers with its own.
type wire struct {
	next http.RoundTripper

	mu    sync.Mutex
	step  func(req *http.Request, next http.RoundTripper) (*http.Response, error) // nil forwards every request
	seen  []string                                                                // the requests, for example "POST /projects"
	login int
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	step := w.step
	w.seen = append(w.seen, req.Method+" "+strings.TrimPrefix(req.URL.Path, "/v3"))
	if isLogin(req) {
		w.login++
	}
	w.mu.Unlock()
	if step != nil {
		return step(req, w.next)
	}
	return w.next.RoundTrip(req)
}

// The method `intercept` passes all matching requests to the round tripper `do`, not to Keystone. `intercept` also clears the list
// of recorded requests.
func (w *wire) intercept(match func(*http.Request) bool, do http.RoundTripper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.login = nil, 0
	w.step = func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if match(req) {
			return do.RoundTrip(req)
		}
		return next.RoundTrip(req)
	}
}

// The method `also` works like `intercept`, but keeps the earlier interceptions and the list of recorded requests.
func (w *wire) also(match func(*http.Request) bool, do http.RoundTripper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.step
	w.step = func(req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if match(req) {
			return do.RoundTrip(req)
		}
		return before(req, next)
	}
}

func (w *wire) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

func (w *wire) logins() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.login
}

func isLogin(req *http.Request) bool {
	return req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/auth/tokens")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func tenant(name string) keystone.NewProject {
	return keystone.NewProject{Name: "bs-customer-" + name, DomainID: "default", RunTag: "tenantry-run-1"}
}

var keystonetestUser = keystonetest.User{Name: "customer", Password: "pw"}

// The function `serve` calls the HTTP handler k directly, without a network, and returns its answer.
func serve(k http.Handler, req *http.Request) *http.Response {
	w := httptest.NewRecorder()
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = in.URL.RequestURI()
	k.ServeHTTP(w, in)
	return w.Result()
}
