package console_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
)

// The type `visitor` is a browser without JavaScript.
type visitor struct {
	t      *testing.T
	w      *world
	client *http.Client
}

// The type `page` is an answer of the console.
type page struct {
	status int
	at     string // the path and query of the page, after redirects
	header http.Header
	text   string
}

func (w *world) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := *w.Client
	c.Jar = jar
	return &visitor{t, w, &c}
}

func (v *visitor) do(r *http.Request, err error) page {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Request.URL.RequestURI(), resp.Header, string(text)}
}

func (v *visitor) get(path string) page {
	v.t.Helper()
	return v.do(http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.w.URL+path, nil))
}

func (v *visitor) post(path string, form url.Values, headers ...string) page {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.w.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return v.do(r, nil)
}

func password(user, secret string) url.Values {
	return url.Values{"how": {"password"}, "user": {user}, "domain": {"Default"}, "password": {secret}}
}

func apiKey(m servicetest.Merchant) url.Values {
	return url.Values{"how": {"key"}, "key": {m.Key}, "secret": {m.Secret}}
}

// The method `operator` returns a visitor who has signed in as an operator.
func (w *world) operator(t *testing.T) *visitor {
	t.Helper()
	v := w.visitor(t)
	if p := v.post("/console/sign-in", password("olga", "pw")); p.status != http.StatusOK || p.at != "/console/runs" {
		t.Fatalf("signing in: %d at %s: %s", p.status, p.at, p.text)
	}
	return v
}

func TestWhoCanSignIn(t *testing.T) {
	w := newWorld(t, func(o *servicetest.Options) {
		before := o.Change
		o.Change = func(o *service.Options) { before(o); o.LoginRate = 100 }
	})
	unscoped := w.Keystone.IssueToken(w.User)
	olga := w.Keystone.AddUser(keystonetest.User{Name: "olga2", Password: "pw"})
	role, err := w.Keystone.Role(servicetest.AdminRole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 { // the role is on the last of several projects
		project := w.Keystone.AddProject(keystone.Project{Name: fmt.Sprint("p", i)})
		w.Keystone.Assign(keystone.Assignment{ProjectID: project, UserID: olga, RoleID: roleOf(t, w, "member")})
		if i == 3 {
			w.Keystone.Assign(keystone.Assignment{ProjectID: project, UserID: olga, RoleID: role.ID})
		}
	}
	expired := w.Keystone.AddUser(keystonetest.User{Name: "old", Password: "pw"})
	w.Keystone.ExpirePassword(expired)
	token := func(t string) url.Values { return url.Values{"how": {"token"}, "token": {t}} }
	key := func(key, secret string) url.Values {
		return url.Values{"how": {"key"}, "key": {key}, "secret": {secret}}
	}
	for _, c := range []struct {
		name   string
		form   url.Values
		status int
		says   string
	}{
		{"an operator", password("olga", "pw"), 200, "Runs"},
		{"an operator with several projects", password("olga2", "pw"), 200, "Runs"},
		{"a wrong password", password("olga", "pw2"), 401, "is wrong, or the user is locked"},
		{"an unknown user", password("nobody", "pw"), 401, "is wrong, or the user is locked"},
		{"an unknown domain", url.Values{"how": {"password"}, "user": {"olga"}, "domain": {"nope"}, "password": {"pw"}}, 401, "is wrong, or the user is locked"},
		{"an expired password", password("old", "pw"), 401, "has expired"},
		{"a user without the role", password("ada", "pw"), 401, "does not have the role tenantry-admin on any project"},
		{"no name", password("", "pw"), 401, "Enter a user name"},
		{"an operator's token", token(w.OperatorToken), 200, "Runs"},
		{"an operator's unscoped token", token(w.Keystone.IssueToken(olga)), 200, "Runs"},
		{"another user's unscoped token", token(unscoped), 401, "does not have the role"},
		{"not a token", token("x y"), 401, "not valid"},
		{"an unknown token", token("gAAAAA"), 401, "not valid"},
		{"an API key", apiKey(w.Merchant), 200, "Runs"},
		{"a wrong secret", key(w.Merchant.Key, "x"), 401, "is wrong"},
		{"the secret of another key", key(w.Merchant.Key, w.Other.Secret), 401, "is wrong"},
		{"an unknown key", key("tk_1", "x"), 401, "is wrong"},
		{"no way", url.Values{}, 401, "Choose a way"},
		{"a form that is too large", url.Values{"how": {"token"}, "token": {strings.Repeat("x", 1<<20)}}, 401, "Choose a way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := w.visitor(t)
			p := v.post("/console/sign-in", c.form)
			if p.status != c.status || !strings.Contains(p.text, c.says) {
				t.Errorf("%d %s", p.status, p.text)
			}
			for _, secret := range []string{"pw2", w.OperatorToken, w.Other.Secret} {
				if strings.Contains(p.text, secret) {
					t.Errorf("the page has the secret %q", secret)
				}
			}
			in := v.get("/console/runs")
			if signedIn := in.at == "/console/runs"; signedIn != (c.status == 200) {
				t.Errorf("then at %s", in.at)
			}
		})
	}
	for _, secret := range []string{`"pw"`, w.OperatorToken, w.Merchant.Secret} {
		if strings.Contains(w.Log.String(), secret) {
			t.Errorf("the log has the secret %s", secret)
		}
	}
}

func roleOf(t *testing.T, w *world, name string) string {
	t.Helper()
	role, err := w.Keystone.Role(name)
	if err != nil {
		t.Fatal(err)
	}
	return role.ID
}

func TestTooManySignIns(t *testing.T) {
	w := newWorld(t)
	v := w.visitor(t)
	for range 10 {
		if p := v.post("/console/sign-in", password("olga", "x")); p.status != http.StatusUnauthorized {
			t.Fatal(p.status)
		}
	}
	p := v.post("/console/sign-in", password("olga", "pw"))
	if p.status != http.StatusTooManyRequests || p.header.Get("Retry-After") == "" || !strings.Contains(p.text, "too many attempts") {
		t.Errorf("%d, Retry-After %q", p.status, p.header.Get("Retry-After"))
	}
}

func TestASessionEnds(t *testing.T) {
	w := newWorld(t)
	t.Run("at the sign-out, for every copy of the cookie", func(t *testing.T) {
		v := w.operator(t)
		address, err := url.Parse(w.URL)
		if err != nil {
			t.Fatal(err)
		}
		stolen := w.visitor(t)
		stolen.client.Jar.SetCookies(address, v.client.Jar.Cookies(address))
		if p := stolen.get("/console/runs"); p.at != "/console/runs" {
			t.Fatalf("the copy does not work at all: %s", p.at)
		}
		if p := v.post("/console/sign-out", nil); p.at != "/console/sign-in" {
			t.Errorf("after the sign-out at %s", p.at)
		}
		if p := stolen.get("/console/runs"); !strings.HasPrefix(p.at, "/console/sign-in") {
			t.Errorf("the copy of the cookie still works: %s", p.at)
		}
	})
	t.Run("when Keystone revokes the token", func(t *testing.T) {
		v := w.visitor(t)
		token := w.Keystone.IssueToken(w.Keystone.AddUser(keystonetest.User{Name: "temp", Password: "pw"}))
		user, err := w.Identity.ValidateToken(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		project := w.Keystone.AddProject(keystone.Project{Name: "temp"})
		w.Keystone.Assign(keystone.Assignment{ProjectID: project, UserID: user.UserID, RoleID: roleOf(t, w, servicetest.AdminRole)})
		scoped, err := w.Identity.ExchangeToken(t.Context(), token, project)
		if err != nil {
			t.Fatal(err)
		}
		if p := v.post("/console/sign-in", url.Values{"how": {"token"}, "token": {scoped.ID}}); p.at != "/console/runs" {
			t.Fatalf("signing in: %d at %s", p.status, p.at)
		}
		id := w.order(t, w.Merchant)
		w.Keystone.RevokeToken(scoped.ID)
		w.later.Store(int64(2 * time.Minute)) // for some time, the API takes Keystone's earlier answer about the token
		p := v.post("/console/runs/"+id+"/hold", url.Values{"why": {"x"}})
		if p.status != http.StatusUnauthorized || !strings.Contains(p.text, "You are signed out") {
			t.Errorf("%d %s", p.status, p.text)
		}
		if p := v.get("/console/runs"); !strings.HasPrefix(p.at, "/console/sign-in?next=") {
			t.Errorf("then at %s", p.at)
		}
	})
	t.Run("when the token expires", func(t *testing.T) {
		w.later.Store(0)
		v := w.operator(t)
		w.later.Store(int64(time.Hour + time.Second))
		if p := v.get("/console/runs"); !strings.HasPrefix(p.at, "/console/sign-in") {
			t.Errorf("after an hour at %s", p.at)
		}
	})
	t.Run("after eight hours", func(t *testing.T) {
		w := newWorld(t, func(o *servicetest.Options) { o.Keystone.TokenLifetime = 24 * time.Hour })
		v := w.operator(t)
		w.later.Store(int64(8*time.Hour - time.Minute))
		if p := v.get("/console/runs"); p.at != "/console/runs" {
			t.Errorf("before eight hours at %s", p.at)
		}
		w.later.Store(int64(8*time.Hour + time.Second))
		if p := v.get("/console/runs"); !strings.HasPrefix(p.at, "/console/sign-in") {
			t.Errorf("after eight hours at %s", p.at)
		}
	})
}

func TestASessionSurvivesARestartOfTheService(t *testing.T) {
	database := storetest.SQLite(t)
	w := newWorld(t, func(o *servicetest.Options) { o.Database = database })
	v := w.operator(t)
	address, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t, func(o *servicetest.Options) { o.Database, o.Keystone = database, keystonetest.Options{} }).visitor(t)
	elsewhere, err := url.Parse(other.w.URL)
	if err != nil {
		t.Fatal(err)
	}
	other.client.Jar.SetCookies(elsewhere, v.client.Jar.Cookies(address))
	// The second world has another Keystone, which does not know the token. That the API asks about the token shows that the session was found.
	if p := other.get("/console/runs"); p.status != http.StatusUnauthorized {
		t.Errorf("%d at %s", p.status, p.at)
	}
}

// The cookie is not sent to other sites' requests, to scripts, or over plain HTTP.
func TestTheCookieAndTheHeaders(t *testing.T) {
	w := newWorld(t)
	v := w.visitor(t)
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p := v.post("/console/sign-in", password("olga", "pw"))
	cookie := p.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-tenantry=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("the cookie %s lacks %s", cookie, part)
		}
	}
	id := w.order(t, w.Merchant)
	for _, path := range []string{
		"/console", "/console/", "/console/sign-in", "/console/runs", "/console/runs/" + id, "/console/runs/nope", "/console/nope",
		"/console/static/console.css", "/console/static/nope", "/console/runs?marker=x",
	} {
		p := v.get(path)
		policy := p.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: Content-Security-Policy: %s", path, policy)
		}
		if p.header.Get("X-Content-Type-Options") != "nosniff" || p.status >= 500 {
			t.Errorf("%s: %d %v", path, p.status, p.header)
		}
	}
}

func TestAnotherSitesRequestIsRefused(t *testing.T) {
	w := newWorld(t)
	v := w.operator(t)
	id := w.order(t, w.Merchant)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		for _, path := range []string{"/console/runs/" + id + "/retry", "/console/sign-in", "/console/sign-out"} {
			if p := v.post(path, url.Values{"why": {"x"}}, headers...); p.status != http.StatusForbidden {
				t.Errorf("%s with %v: %d", path, headers, p.status)
			}
		}
	}
	if p := v.get("/console/runs"); p.at != "/console/runs" {
		t.Errorf("then at %s", p.at)
	}
}

// Over plain HTTP, only a browser on the host of the service can sign in, and only at an address of this host.
func TestSignInOverPlainHTTP(t *testing.T) {
	w := newWorld(t, func(o *servicetest.Options) { o.TLS = false })
	sent := func(remote, host string, headers ...string) page {
		r := httptest.NewRequest(http.MethodPost, "/console/sign-in", strings.NewReader(password("olga", "pw").Encode()))
		r.RemoteAddr, r.Host = remote, host
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		out := httptest.NewRecorder()
		w.Service.Handler.ServeHTTP(out, r)
		return page{out.Code, out.Header().Get("Location"), out.Header(), out.Body.String()}
	}
	for _, c := range []struct {
		name   string
		page   page
		cookie string // the beginning of the cookie; empty: refused
	}{
		{"on the host", sent("127.0.0.1:4000", "localhost:9292"), "tenantry-console="},
		{"on the host, by address", sent("[::1]:4000", "[::1]:9292"), "tenantry-console="},
		{"from another host", sent("192.0.2.1:4000", "tenantry.example"), ""},
		{"from another host that claims TLS", sent("192.0.2.1:4000", "tenantry.example", "X-Forwarded-Proto", "https"), ""},
		{"by a name that leads to this host", sent("127.0.0.1:4000", "evil.example"), ""},
		{"through a proxy without TLS", sent("127.0.0.1:4000", "tenantry.example", "X-Forwarded-For", "192.0.2.1"), ""},
		{"through a proxy without TLS that keeps no Host", sent("127.0.0.1:4000", "127.0.0.1:9292", "X-Forwarded-For", "192.0.2.1"), ""},
		{"through a proxy that sends only X-Real-IP", sent("127.0.0.1:4000", "127.0.0.1:9292", "X-Real-Ip", "192.0.2.1"), ""},
		{"through a proxy that sends only Forwarded", sent("127.0.0.1:4000", "127.0.0.1:9292", "Forwarded", "for=192.0.2.1;proto=http"), ""},
		{"through a proxy that sends only Via", sent("127.0.0.1:4000", "127.0.0.1:9292", "Via", "1.1 nginx"), ""},
		{"through a proxy that sends only X-Forwarded-Host", sent("127.0.0.1:4000", "127.0.0.1:9292", "X-Forwarded-Host", "tenantry.example"), ""},
		{"through a proxy that sends nothing", sent("127.0.0.1:4000", "127.0.0.1:9292", "Origin", "https://tenantry.example", "Sec-Fetch-Site", "same-origin"), ""},
		{"on the host, from a form", sent("127.0.0.1:4000", "127.0.0.1:9292", "Origin", "http://127.0.0.1:9292"), "tenantry-console="},
		{"through a proxy with TLS", sent("127.0.0.1:4000", "tenantry.example", "X-Forwarded-Proto", "https", "X-Forwarded-For", "192.0.2.1"), "__Host-tenantry="},
	} {
		cookie := c.page.header.Get("Set-Cookie")
		if c.cookie == "" && (cookie != "" || c.page.status != http.StatusForbidden || !strings.Contains(c.page.text, "TENANTRY_TLS_CERT")) ||
			c.cookie != "" && (!strings.HasPrefix(cookie, c.cookie) || c.page.status != http.StatusSeeOther) {
			t.Errorf("%s: %d, cookie %q", c.name, c.page.status, cookie)
		}
	}
}

func TestAfterTheSignInThePageIsShownThatWasAskedFor(t *testing.T) {
	w := newWorld(t, func(o *servicetest.Options) {
		before := o.Change
		o.Change = func(o *service.Options) { before(o); o.LoginRate = 100 }
	})
	id := w.order(t, w.Merchant)
	for next, at := range map[string]string{
		"/console/runs/" + id:              "/console/runs/" + id,
		"/console/runs?state=stuck&q=a%2F": "/console/runs?state=stuck&q=a%2F",
		"":                                 "/console/runs",
		"//evil.example/console/":          "/console/runs",
		"https://evil.example/console/x":   "/console/runs",
		"/\\evil.example/console/":         "/console/runs",
		"/console/\\evil":                  "/console/runs",
		"/v1/runs":                         "/console/runs",
		"/console/../v1/runs":              "/console/runs",
		"/console/%2e%2e/v1/runs":          "/console/runs",
		"/console/..//evil.example":        "/console/runs",
		"javascript:alert(1)":              "/console/runs",
	} {
		v := w.visitor(t)
		form := password("olga", "pw")
		form.Set("next", next)
		if p := v.post("/console/sign-in", form); p.at != at {
			t.Errorf("next=%s: at %s, want %s", next, p.at, at)
		}
	}
	v := w.visitor(t)
	p := v.get("/console/runs/" + id)
	if want := "/console/sign-in?next=" + url.QueryEscape("/console/runs/"+id); p.at != want || !strings.Contains(p.text, `name="next" value="/console/runs/`+id+`"`) {
		t.Errorf("at %s", p.at)
	}
}
