package v3_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestALockedUser(t *testing.T) {
	now := time.Now()
	k := keystonetest.New(keystonetest.Options{Now: func() time.Time { return now }, PasswordRules: keystonetest.PasswordRules{
		LockoutAttempts: 2, LockoutDuration: time.Minute,
	}})
	h := newHouseOf(t, k, signUp)
	u, _, _, err := h.cloud.EnsureUser(t.Context(), newUser("ann"))
	if err != nil {
		t.Fatal(err)
	}
	wrong := classification{class: upstream.Permanent, sentinel: keystone.ErrWrongLogin}
	lock := func() {
		t.Helper()
		for range 2 {
			_, err := h.cloud.LogIn(t.Context(), "default", "ann", "wrong")
			compare(t, "wrong password", err, wrong)
		}
		_, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1")
		compare(t, "right password of a locked user", err, wrong)
	}
	lock()
	now = now.Add(time.Minute)
	if _, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1"); err != nil {
		t.Error(err)
	}
	lock()
	if err := h.cloud.SetPassword(t.Context(), u.ID, "canary-1"); err != nil {
		t.Error(err)
	}
	if _, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1"); err != nil {
		t.Error(err)
	}
}

func TestATokenOfTheSecondOfANewPasswordIsInvalid(t *testing.T) {
	now := time.Now()
	h := newHouseOf(t, keystonetest.New(keystonetest.Options{Now: func() time.Time { return now }}), signUp)
	u, _, _, err := h.cloud.EnsureUser(t.Context(), newUser("ann"))
	if err != nil {
		t.Fatal(err)
	}
	valid := func(what string, want bool) {
		t.Helper()
		token, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.cloud.ValidateToken(t.Context(), token.ID); (err == nil) != want {
			t.Errorf("%s: got %v, want valid %t", what, err, want)
		}
	}
	valid("new user", true)
	if err := h.cloud.SetPassword(t.Context(), u.ID, "canary-1"); err != nil {
		t.Fatal(err)
	}
	valid("same second", false)
	now = now.Add(time.Second)
	valid("next second", true)
}

func TestFaultsOfALogin(t *testing.T) {
	const user = `"user":{"id":"u","name":"ann","domain":{"id":"default"}}`
	const expiry = `"expires_at":"2999-01-01T00:00:00.000000Z"`
	wrong := classification{class: upstream.Permanent, sentinel: keystone.ErrWrongLogin}
	transient := classification{class: upstream.Transient}
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
	}{
		{"400", answer(400, body(400)), classification{class: upstream.Permanent}},
		{"401", answer(401, own401), wrong},
		{"401 from a proxy", answer(401, "<html>"), classification{class: upstream.Unavailable}},
		{"401 from a proxy, in JSON", answer(401, `{"message":"Who are you?"}`), classification{class: upstream.Unavailable}},
		{
			"expired", answer(401, `{"error":{"code":401,"message":"The password is expired and needs to be changed for user: u."}}`),
			classification{class: upstream.Permanent, sentinel: keystone.ErrPasswordExpired},
		},
		{"403, too long", answer(403, body(403)), wrong},
		{"403 from a proxy", answer(403, "<html>"), classification{class: upstream.Unavailable}},
		{"404", answer(404, body(404)), classification{class: upstream.Permanent}},
		{"404 because an implied role is gone", answer(404, lacksRole), classification{class: upstream.Unavailable}},
		{"404 from a proxy", answer(404, "<html>"), classification{class: upstream.Unavailable}},
		{"429", answer(429, "", "Retry-After", "1"), classification{class: upstream.Transient, after: time.Second}},
		{"500", answer(500, body(500)), transient},
		{"503", answer(503, ""), classification{class: upstream.Unavailable}},
		{"redirected", answer(302, "", "Location", "http://127.0.0.1:1"), classification{class: upstream.Unavailable}},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: upstream.Unavailable}},
		{"answer lost", afterwards(io.EOF), transient},
		{"201 without a token", answer(201, `{"token":{`+user+`,`+expiry+`}}`), transient},
		{"201 without an expiry", answer(201, `{"token":{`+user+`}}`, "X-Subject-Token", "x"), transient},
		{"201 without a user", answer(201, `{"token":{"user":{"domain":{"id":"default"}},`+expiry+`}}`, "X-Subject-Token", "x"), transient},
		{"201 for another domain", answer(201, `{"token":{"user":{"id":"u","domain":{"id":"x"}},`+expiry+`}}`, "X-Subject-Token", "x"), transient},
		{"201 with a scope", answer(201, `{"token":{`+user+`,`+expiry+`,"project":{"id":"p"}}}`, "X-Subject-Token", "x"), transient},
		{"201 cut off", answer(201, `{"token":{`, "X-Subject-Token", "x"), transient},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t)
			h.wire.intercept(isLogin, c.fault)
			token, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1")
			compare(t, "LogIn", err, c.want)
			for _, sentinel := range []error{keystone.ErrWrongLogin, keystone.ErrPasswordExpired} {
				if errors.Is(err, sentinel) != errors.Is(c.want.sentinel, sentinel) {
					t.Errorf("got %v", err)
				}
			}
			if token != (keystone.UserToken{}) || len(h.wire.requests()) != 1 || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %+v, %v after %v", token, err, h.wire.requests())
			}
		})
	}
}

// A login asks for an unscoped token, and is sent without Tenantry's own token.
func TestALoginIsSentWithoutTenantrysCredential(t *testing.T) {
	h := newHouse(t)
	h.AddUser(keystonetest.User{Name: "ann", Password: "canary-1"})
	if err := h.cloud.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Auth struct{ Scope any }
	}
	h.wire.intercept(isLogin, roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("X-Auth-Token") != "" {
			t.Error("the login contains a token")
		}
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(strings.NewReader(string(text)))
		return serve(h.Keystone, r), json.Unmarshal(text, &sent)
	}))
	for range 2 {
		if _, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1"); err != nil {
			t.Fatal(err)
		}
	}
	if sent.Auth.Scope != "unscoped" || h.wire.logins() != 2 {
		t.Errorf("got the scope %v after %d logins", sent.Auth.Scope, h.wire.logins())
	}
}

func TestASecondFactorIsReported(t *testing.T) {
	const receipt = "gAAAA-canary-receipt"
	for methods, want := range map[string]string{
		`[["password","totp"],["password","mapped"]]`: ": password and totp, or password and mapped",
		`[["password","a\nb","/etc",""]]`:             ": password",
		`"x"`:                                         "",
		`[]`:                                          "",
	} {
		h := newHouse(t)
		h.wire.intercept(isLogin, answer(401, `{"receipt":{"methods":["password"]},"required_auth_methods":`+methods+`}`, "Openstack-Auth-Receipt", receipt))
		_, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1")
		compare(t, "LogIn", err, classification{class: upstream.Permanent})
		second, ok := errors.AsType[*keystone.SecondFactorError](err)
		if !ok || second.Receipt != receipt || second.Error() != "the user needs another login method"+want {
			t.Errorf("%s: got %v (%+v)", methods, err, second)
		}
		if strings.Contains(err.Error()+upstream.ForOperator(err), "canary") || errors.Is(err, keystone.ErrWrongLogin) {
			t.Errorf("%s: got %v", methods, err)
		}
	}
	for _, bad := range []string{"", "a b", strings.Repeat("x", 9000)} {
		h := newHouse(t)
		h.wire.intercept(isLogin, answer(401, own401, "Openstack-Auth-Receipt", bad))
		_, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1")
		compare(t, "LogIn without a receipt", err, classification{class: upstream.Permanent, sentinel: keystone.ErrWrongLogin})
	}
}
