package v3_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestOneLoginServesAllWhoWait(t *testing.T) {
	h := newHouse(t)
	inLogin, leave := make(chan struct{}), make(chan struct{})
	h.wire.intercept(isLogin, roundTrip(func(req *http.Request) (*http.Response, error) {
		close(inLogin)
		<-leave
		return conn.NewTransport(nil).RoundTrip(req)
	}))

	// The caller that started the login gives up, but the login continues for the other callers.
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() { impatient <- h.cloud.Ping(ctx) }()
	<-inLogin
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if err := h.cloud.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
	close(leave)
	group.Wait()
	if h.wire.logins() != 1 {
		t.Errorf("got %d logins, want 1", h.wire.logins())
	}
}

func TestARefusedTokenIsReplacedByOneLogin(t *testing.T) {
	h := newHouse(t)
	var stale atomic.Value
	stale.Store("")
	refuse := roundTrip(func(req *http.Request) (*http.Response, error) {
		token := req.Header.Get("X-Auth-Token")
		if stale.CompareAndSwap("", token); token == stale.Load() {
			return answer(401, own401)(req)
		}
		return conn.NewTransport(nil).RoundTrip(req)
	})
	h.wire.intercept(func(r *http.Request) bool { return !isLogin(r) }, refuse)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			n := tenant(string(rune('a' + i)))
			if _, made, err := h.cloud.EnsureProject(t.Context(), n); err != nil || !made {
				t.Errorf("made %t, %v", made, err)
			}
		})
	}
	group.Wait()
	if h.wire.logins() != 2 || len(h.Projects()) != 17 {
		t.Errorf("got %d logins and %d projects, want 2 and 17", h.wire.logins(), len(h.Projects()))
	}
}

func TestALateRefusalDoesNotCostTheNewToken(t *testing.T) {
	h := newHouse(t)
	if err := h.cloud.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	began, renewed := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodPost && !isLogin(r) && !first.Swap(true) },
		roundTrip(func(req *http.Request) (*http.Response, error) {
			close(began)
			<-renewed
			return answer(401, own401)(req)
		}))
	late := make(chan error)
	go func() {
		_, _, err := h.cloud.EnsureProject(t.Context(), tenant("1"))
		late <- err
	}()
	<-began
	refused := false
	h.wire.also(func(r *http.Request) bool { return r.Method == http.MethodGet && !refused },
		roundTrip(func(req *http.Request) (*http.Response, error) {
			refused = true
			return answer(401, own401)(req)
		}))
	if err := h.cloud.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(renewed)
	if err := <-late; err != nil {
		t.Error(err)
	}
	if h.wire.logins() != 1 {
		t.Errorf("got %d logins, want 1", h.wire.logins())
	}
}

func TestAContextThatEndsDuringASecondLoginLeavesNothingBehind(t *testing.T) {
	h := newHouse(t)
	if err := h.cloud.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	leave := make(chan struct{})
	defer close(leave)
	h.wire.intercept(func(*http.Request) bool { return true }, roundTrip(func(req *http.Request) (*http.Response, error) {
		if isLogin(req) {
			cancel()
			<-leave
		}
		return answer(401, own401)(req)
	}))
	_, _, err := h.cloud.EnsureProject(ctx, tenant("1"))
	compare(t, "write", err, classification{class: upstream.Transient, sentinel: context.Canceled})
}

func TestATokenIsReplacedShortlyBeforeItExpires(t *testing.T) {
	// A test on simulated time must not use the network, so Base calls the in-memory Keystone directly.
	synctest.Test(t, func(t *testing.T) {
		k := keystonetest.New(keystonetest.Options{})
		var logins, refused int
		cloud, err := v3.New(conn.Config{
			URL:        "http://keystone.invalid/v3",
			Credential: conn.Credential{Username: "admin", UserDomainID: "default", Password: "secret", ProjectName: "admin", ProjectDomainID: "default"},
			Base: roundTrip(func(req *http.Request) (*http.Response, error) {
				if isLogin(req) {
					logins++
				}
				resp := serve(k, req)
				if resp.StatusCode == http.StatusUnauthorized {
					refused++
				}
				return resp, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 * 60 {
			if err := cloud.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if logins != 4 || refused != 0 {
			t.Errorf("in three hours: got %d logins and %d refusals, want 4 and none", logins, refused)
		}
	})
}

func TestNothingIsSentBeforeTheFirstCall(t *testing.T) {
	h := newHouse(t)
	if got := h.wire.requests(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestKeystoneMayComeUpLater(t *testing.T) {
	h := newHouse(t)
	h.wire.intercept(func(*http.Request) bool { return true }, elsewhere("http", "127.0.0.1:1"))
	compare(t, "while it is down", h.cloud.Ping(t.Context()), classification{class: upstream.Unavailable})
	h.wire.intercept(func(*http.Request) bool { return false }, nil)
	if err := h.cloud.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestATokenForSomebodyElse(t *testing.T) {
	fake := keystonetest.New(keystonetest.Options{AdminPassword: "secret"})
	url, stop, err := fake.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	cfg := conn.Config{URL: url, Credential: conn.Credential{
		Username: "admin", Password: "secret", UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
	}}
	token, err := clouds.Login(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := v3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cloud.ValidateToken(t.Context(), token); err != nil || got.UserName != "admin" || got.ProjectID == "" {
		t.Errorf("got %+v, %v, want a token of admin with the scope of a project", got, err)
	}
	for what, c := range map[string]struct {
		change func(*conn.Credential)
		want   error
		says   string
	}{
		"a wrong password": {func(c *conn.Credential) { c.Password = "wrong" }, keystone.ErrLoginRefused, "OS_PASSWORD"},
		"no project":       {func(c *conn.Credential) { c.ProjectName, c.ProjectDomainID = "", "" }, keystone.ErrUnscoped, "OS_PROJECT_NAME"},
	} {
		wrong := cfg
		c.change(&wrong.Credential)
		token, err := clouds.Login(t.Context(), wrong)
		if token != "" || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "Tenantry") {
			t.Errorf("%s: got a token of %d characters, %v; want %v with %s, and without the word Tenantry", what, len(token), err, c.want, c.says)
		}
	}
}

// A person's login can be refused with any status. The error contains the name of the person and Keystone's answer.
func TestARefusedLoginOfAPerson(t *testing.T) {
	for status, want := range map[int]string{
		400: "logging in as user ann: Keystone answered 400 Bad Request: The password is expired.",
		401: "logging in as user ann: the credential is refused: check OS_USERNAME, OS_USER_DOMAIN_NAME and OS_PASSWORD, and the project: " +
			"Keystone answered 401 Unauthorized: The password is expired.",
	} {
		_, err := clouds.Login(t.Context(), conn.Config{
			URL:        "http://keystone",
			Credential: conn.Credential{Username: "ann", UserDomainName: "Default", Password: "canary", ProjectName: "p", ProjectDomainName: "Default"},
			Base:       answer(status, `{"error":{"code":400,"message":"The password is expired."}}`),
		})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
