package console_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
)

// The method `cookie` returns the visitor's cookie, as the value of the header Cookie.
func (v *visitor) cookie() string {
	v.t.Helper()
	address, err := url.Parse(v.w.URL)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range v.client.Jar.Cookies(address) {
		return c.Name + "=" + c.Value
	}
	v.t.Fatal("there is no cookie")
	return ""
}

// The session ends, although the browser goes away before the answer.
func TestASignOutWhoseBrowserGoesAway(t *testing.T) {
	w := newWorld(t)
	cookie := w.operator(t).cookie()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest(http.MethodPost, w.URL+"/console/sign-out", nil).WithContext(ctx)
	r.Header.Set("Cookie", cookie)
	w.Service.Handler.ServeHTTP(httptest.NewRecorder(), r)
	if o := w.raw(http.MethodGet, "/console/runs", "127.0.0.1:1", nil, "Cookie", cookie); o.Code != http.StatusSeeOther {
		t.Errorf("the session still works: %d", o.Code)
	}
}

// Without the database, a sign-out fails, but the browser loses the cookie. What needs no session needs no database.
func TestASignOutWithoutTheDatabase(t *testing.T) {
	database := storetest.SQLite(t)
	w := newWorld(t, func(o *servicetest.Options) { o.Database = database })
	cookie := w.operator(t).cookie()
	db, err := sql.Open("sqlite", strings.TrimPrefix(database, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "DROP TABLE sign_ins"); err != nil {
		t.Fatal(err)
	}
	o := w.raw(http.MethodPost, "/console/sign-out", "127.0.0.1:1", nil, "Cookie", cookie)
	if o.Code != http.StatusServiceUnavailable || !strings.Contains(o.Body.String(), "did not succeed") ||
		!strings.Contains(o.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("%d, cookie %q: %s", o.Code, o.Header().Get("Set-Cookie"), o.Body)
	}
	for _, cookie := range []string{"", "__Host-tenantry=abc", "__Host-tenantry=" + strings.Repeat("x", 44), "__Host-tenantry=" + strings.Repeat("!", 43)} {
		if o := w.raw(http.MethodPost, "/console/sign-out", "127.0.0.1:1", nil, "Cookie", cookie); o.Code != http.StatusSeeOther {
			t.Errorf("signing out with the cookie %q: %d", cookie, o.Code)
		}
		if o := w.raw(http.MethodGet, "/console/sign-in", "127.0.0.1:1", nil, "Cookie", cookie); o.Code != http.StatusOK {
			t.Errorf("the page for the sign-in with the cookie %q: %d", cookie, o.Code)
		}
	}
}

// A session that another release has stored is no session.
func TestASessionThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	value := strings.Repeat("x", 43)
	hash := sha256.Sum256([]byte(value))
	id, cookie := base64.RawURLEncoding.EncodeToString(hash[:]), "__Host-tenantry="+value
	if err := w.Store.SignIns(time.Now).CommitCtx(t.Context(), id, []byte("content of another release"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if o := w.raw(http.MethodGet, "/console/sign-in", "127.0.0.1:1", nil, "Cookie", cookie); o.Code != http.StatusOK {
		t.Errorf("the page for the sign-in: %d", o.Code)
	}
	if o := w.raw(http.MethodGet, "/console/runs", "127.0.0.1:1", nil, "Cookie", cookie); o.Code != http.StatusSeeOther {
		t.Errorf("another page: %d", o.Code)
	}
	o := w.raw(http.MethodPost, "/console/sign-in", "127.0.0.1:1", password("olga", "pw"), "Cookie", cookie)
	if o.Code != http.StatusSeeOther {
		t.Fatalf("signing in: %d", o.Code)
	}
	cookie, _, _ = strings.Cut(o.Header().Get("Set-Cookie"), ";")
	if o := w.raw(http.MethodGet, "/console/runs", "127.0.0.1:1", nil, "Cookie", cookie); o.Code != http.StatusOK {
		t.Errorf("then %d", o.Code)
	}
}

func TestTheSessionOfADisabledMerchantEnds(t *testing.T) {
	w := newWorld(t)
	v := w.merchant(t, w.Merchant)
	cookie, id := v.cookie(), w.order(t, w.Merchant)
	set := func(change func(*merchants.Merchant)) {
		t.Helper()
		if _, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error { change(m); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(func(m *merchants.Merchant) { m.Disable(time.Now()) })
	p := v.post("/console/runs/"+id+"/retry", url.Values{"why": {"x"}})
	if p.status != http.StatusForbidden || !strings.Contains(p.text, "You are signed out") || !strings.Contains(p.text, "merchant is disabled") {
		t.Errorf("%d %s", p.status, p.text)
	}
	set((*merchants.Merchant).Enable)
	if o := w.raw(http.MethodGet, "/console/runs", "127.0.0.1:1", nil, "Cookie", cookie); o.Code != http.StatusSeeOther {
		t.Errorf("the session still works: %d", o.Code)
	}
}
