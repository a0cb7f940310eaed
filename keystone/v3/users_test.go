package v3_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func signUp(cfg *conn.Config) { cfg.MaySignUp = func(id string) bool { return id == "default" } }

func newUser(name string) keystone.NewUser {
	return keystone.NewUser{Name: name, DomainID: "default", Email: name + "@example.org", Password: "canary-1", RunID: "run-1"}
}

func isUserWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/users")
}

func TestFaultsOfANewUser(t *testing.T) {
	maybe := classification{class: upstream.Transient, maybeDone: true}
	made := func(fields string) roundTrip { return answer(201, `{"user":{"id":"u1"`+fields+`}}`) }
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
	}{
		{"400", answer(400, body(400)), classification{class: upstream.Permanent}},
		{"401", answer(401, own401), classification{class: upstream.Unavailable, own: true}},
		{
			"403 by policy", answer(403, `{"error":{"code":403,"message":"You are not authorized to perform the requested action: identity:create_user."}}`),
			classification{class: upstream.Blocked, sentinel: keystone.ErrForbidden},
		},
		{"404", answer(404, `{"error":{"code":404,"message":"Could not find domain: default."}}`), classification{class: upstream.Permanent, sentinel: keystone.ErrNotFound}},
		{"409 though nothing has the name", answer(409, body(409)), classification{class: upstream.Permanent, sentinel: keystone.ErrConflict}},
		{"429", answer(429, "", "Retry-After", "7"), classification{class: upstream.Transient, after: 7 * time.Second}},
		{"500", answer(500, body(500)), maybe},
		{"503", answer(503, ""), classification{class: upstream.Unavailable, maybeDone: true}},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: upstream.Unavailable}},
		{"answer lost", afterwards(io.EOF), maybe},
		{"201 and nothing", answer(201, ""), maybe},
		{"201 without an id", answer(201, `{"user":{"name":"ann","domain_id":"default"}}`), maybe},
		{"201 with an id that is no segment of a path", answer(201, `{"user":{"id":"..","name":"ann","domain_id":"default"}}`), maybe},
		{"201 with another name", made(`,"name":"Ann","domain_id":"default"`), maybe},
		{"201 with another domain", made(`,"name":"ann","domain_id":"x"`), maybe},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t, signUp)
			if err := h.cloud.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.wire.intercept(isUserWrite, c.fault)
			u, made, set, err := h.cloud.EnsureUser(t.Context(), newUser("ann"))
			compare(t, "EnsureUser", err, c.want)
			if u != (keystone.User{}) || made || set || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %+v, made %t, password set %t, %v", u, made, set, err)
			}
		})
	}
}

// If the answer to the creation is lost, the user may exist. The repeated call then finds the user, but cannot know the user's password.
func TestAUserIsFoundAgainAfterALostAnswer(t *testing.T) {
	h := newHouse(t, signUp)
	h.wire.intercept(isUserWrite, afterwards(io.EOF))
	_, _, _, err := h.cloud.EnsureUser(t.Context(), newUser("ann"))
	compare(t, "EnsureUser", err, classification{class: upstream.Transient, maybeDone: true, sentinel: io.EOF})
	h.wire.intercept(func(*http.Request) bool { return false }, nil)
	u, made, set, err := h.cloud.EnsureUser(t.Context(), newUser("ann"))
	if err != nil || !made || set || u.RunID != "run-1" {
		t.Errorf("got %+v, made %t, password set %t, %v", u, made, set, err)
	}
	if got, want := h.wire.requests(), []string{"POST /users", "GET /users"}; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestFaultsOfANewPassword(t *testing.T) {
	maybe := classification{class: upstream.Transient, maybeDone: true}
	refused := classification{class: upstream.Permanent, sentinel: keystone.ErrPasswordRefused}
	const (
		length = `{"error":{"code":403,"message":"The password length must be less than or equal to 72. The server could not comply with the request because the password is invalid."}}`
		config = `{"error":{"code":400,"message":"Password validation error: Unable to validate password due to invalid configuration."}}`
		schema = `{"error":{"code":400,"message":"Invalid input for field 'options': {'password': {'type': ['string', 'null']}}"}}`
	)
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
	}{
		{"a rule", answer(400, `{"error":{"code":400,"message":"The password does not match the requirements: None."}}`), refused},
		{"too long", answer(403, length), refused},
		{"a faulty rule", answer(400, config), classification{class: upstream.Permanent}},
		{"another field", answer(400, schema), classification{class: upstream.Permanent}},
		{"the message of a proxy", answer(502, `{"message":"The password does not match the requirements: x"}`), maybe},
		{"404", answer(404, body(404)), classification{class: upstream.Permanent, sentinel: keystone.ErrNotFound}},
		{"answer lost", afterwards(io.EOF), maybe},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t, signUp)
			u, _, _, err := h.cloud.EnsureUser(t.Context(), newUser("ann"))
			if err != nil {
				t.Fatal(err)
			}
			h.wire.intercept(isUserWrite, c.fault)
			err = h.cloud.SetPassword(t.Context(), u.ID, "canary-2")
			compare(t, "SetPassword", err, c.want)
			if isRefused := errors.Is(err, keystone.ErrPasswordRefused); isRefused != errors.Is(c.want.sentinel, keystone.ErrPasswordRefused) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v", err)
			}
			if got, want := h.wire.requests(), []string{"GET /users/" + u.ID, "PATCH /users/" + u.ID}; !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func TestTheRulesForPasswords(t *testing.T) {
	now := time.Now()
	k := keystonetest.New(keystonetest.Options{Now: func() time.Time { return now }, PasswordRules: keystonetest.PasswordRules{
		Regex: regexp.MustCompile(`^.*\d.*$`), Description: "it needs a digit, and canary-9 is no password", MaxBytes: 20,
	}})
	h := newHouseOf(t, k, signUp)
	n := newUser("ann")
	for password, rule := range map[string]string{
		"letters": "The password does not match the requirements: it needs a digit", strings.Repeat("1", 21): "The password length must be less than or equal to 20.",
	} {
		n.Password = password
		_, made, _, err := h.cloud.EnsureUser(t.Context(), n)
		e, _ := errors.AsType[*upstream.Error](err)
		if !errors.Is(err, keystone.ErrPasswordRefused) || made || e == nil || !strings.HasPrefix(e.Message, rule) {
			t.Errorf("EnsureUser: made %t, %v", made, err)
		}
	}
	n.Password = "canary-1"
	u, made, set, err := h.cloud.EnsureUser(t.Context(), n)
	if err != nil || !made || !set {
		t.Fatalf("made %t, password set %t, %v", made, set, err)
	}
	for _, password := range []string{"letters", strings.Repeat("1", 21)} {
		if err := h.cloud.SetPassword(t.Context(), u.ID, password); !errors.Is(err, keystone.ErrPasswordRefused) {
			t.Errorf("SetPassword: %v", err)
		}
		_, err := h.cloud.LogIn(t.Context(), "default", "ann", password)
		compare(t, "LogIn", err, classification{class: upstream.Permanent, sentinel: keystone.ErrWrongLogin})
	}
	if _, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1"); err != nil {
		t.Error(err)
	}
}

// If Keystone has change_password_upon_first_use, the password of a new user has already expired. A password that SetPassword sets has not.
func TestAPasswordThatMustBeChanged(t *testing.T) {
	k := keystonetest.New(keystonetest.Options{PasswordRules: keystonetest.PasswordRules{ChangeUponFirstUse: true}})
	h := newHouseOf(t, k, signUp)
	expired := classification{class: upstream.Permanent, sentinel: keystone.ErrPasswordExpired}
	u, made, set, err := h.cloud.EnsureUser(t.Context(), newUser("ann"))
	if err != nil || !made || set {
		t.Fatalf("made %t, password set %t, %v", made, set, err)
	}
	_, err = h.cloud.LogIn(t.Context(), "default", "ann", "canary-1")
	compare(t, "login of a new user", err, expired)
	_, err = h.cloud.LogIn(t.Context(), "default", "ann", "canary-0")
	compare(t, "login of a new user with a wrong password", err, classification{class: upstream.Permanent, sentinel: keystone.ErrWrongLogin})
	if err := h.cloud.SetPassword(t.Context(), u.ID, "canary-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.cloud.LogIn(t.Context(), "default", "ann", "canary-1"); err != nil {
		t.Error(err)
	}
	k.ExpirePassword(u.ID)
	_, err = h.cloud.LogIn(t.Context(), "default", "ann", "canary-1")
	compare(t, "login with an expired password", err, expired)
}

func TestThePasswordOfANewUserThatExpiresLaterIsSet(t *testing.T) {
	for at, want := range map[string]bool{
		`null`: true, `"` + time.Now().UTC().Add(24*time.Hour).Format("2006-01-02T15:04:05.000000") + `"`: true, `"soon"`: true,
		`"` + time.Now().UTC().Add(-time.Hour).Format("2006-01-02T15:04:05.000000") + `"`: false,
		`"` + time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05.000000Z") + `"`: false,
	} {
		h := newHouse(t, signUp)
		h.wire.intercept(isUserWrite, answer(201, `{"user":{"id":"u1","name":"ann","domain_id":"default","password_expires_at":`+at+`}}`))
		if _, made, set, err := h.cloud.EnsureUser(t.Context(), newUser("ann")); err != nil || !made || set != want {
			t.Errorf("%s: made %t, password set %t, %v", at, made, set, err)
		}
	}
}

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

func TestThePasswordOfAUserIsInNoError(t *testing.T) {
	const password, run = `hunter2"\<&ü %`, "run-1"
	for how, echo := range echoes {
		for what, call := range map[string]func(*v3.Cloud) error{
			"EnsureUser": func(c *v3.Cloud) error {
				n := newUser("ann")
				n.Password = password
				_, _, _, err := c.EnsureUser(t.Context(), n)
				return err
			},
			"SetPassword": func(c *v3.Cloud) error { return c.SetPassword(t.Context(), "u1", password) },
			"LogIn": func(c *v3.Cloud) error {
				_, err := c.LogIn(t.Context(), "default", "ann", password)
				return err
			},
		} {
			h := newHouse(t, signUp)
			if err := h.cloud.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodGet },
				answer(200, `{"user":{"id":"u1","name":"ann","domain_id":"default","tenantry_run":"`+run+`"}}`))
			h.wire.also(func(r *http.Request) bool { return r.Method != http.MethodGet }, roundTrip(func(r *http.Request) (*http.Response, error) {
				sent, err := io.ReadAll(r.Body)
				if err != nil {
					return nil, err
				}
				return echo(string(sent))(r)
			}))
			if err := call(h.cloud); err == nil || strings.Contains(err.Error()+upstream.ForOperator(err), "hunter2") {
				t.Errorf("%s, %s: got %v", what, how, err)
			}
		}
	}
}

func TestTheGuardStopsWritesToUsers(t *testing.T) {
	h := newHouse(t, signUp)
	other := h.AddDomain("Other")
	mark := map[string]any{keystone.RunAttribute: "run-1"}
	ours := h.AddUser(keystonetest.User{Name: "ours", Extra: mark})
	foreign := h.AddUser(keystonetest.User{Name: "foreign", Extra: map[string]any{"email": "x"}})
	odd := h.AddUser(keystonetest.User{Name: "odd", Extra: map[string]any{keystone.RunAttribute: 7}})
	outside := h.AddUser(keystonetest.User{Name: "ours", DomainID: other, Extra: mark})
	group := h.AddGroup("g", "")
	role, err := h.Role("member")
	if err != nil {
		t.Fatal(err)
	}
	create := func(domain, more string) string {
		return fmt.Sprintf(`{"user":{"name":"u","domain_id":%q,"password":"pw"%s}}`, domain, more)
	}
	const marked, password = `,"tenantry_run":"run-1"`, `{"user":{"password":"pw"}}`
	for i, c := range []struct {
		what, method, path, body string
		passes                   bool
	}{
		{"a user with the mark", "POST", "/users", create("default", marked), true},
		{"a user with the e-mail address and the option", "POST", "/users", create("default", marked+`,"email":"e","options":{"ignore_change_password_upon_first_use":true}`), true},
		{"a user without the mark", "POST", "/users", create("default", ""), false},
		{"an empty mark", "POST", "/users", create("default", `,"tenantry_run":""`), false},
		{"a mark that is no text", "POST", "/users", create("default", `,"tenantry_run":7`), false},
		{"two marks, the last one empty", "POST", "/users", create("default", marked+`,"tenantry_run":""`), false},
		{"another domain", "POST", "/users", create(other, marked), false},
		{"no domain", "POST", "/users", `{"user":{"name":"u","tenantry_run":"r"}}`, false},
		{"a default project", "POST", "/users", create("default", marked+`,"default_project_id":"p"`), false},
		{"a federated user", "POST", "/users", create("default", marked+`,"federated":[]`), false},
		{"a disabled user", "POST", "/users", create("default", marked+`,"enabled":false`), false},
		{"another attribute", "POST", "/users", create("default", marked+`,"more":1`), false},
		{"a user who is never locked", "POST", "/users", create("default", marked+`,"options":{"ignore_lockout_failure_attempts":true}`), false},
		{"a password that never expires", "POST", "/users", create("default", marked+`,"options":{"ignore_change_password_upon_first_use":true,"ignore_password_expiry":true}`), false},
		{"the option with another value", "POST", "/users", create("default", marked+`,"options":{"ignore_change_password_upon_first_use":false}`), false},
		{"options that are no object", "POST", "/users", create("default", marked+`,"options":[]`), false},
		{"a body with two objects", "POST", "/users", `{"user":{"name":"u","domain_id":"default","tenantry_run":"r"},"project":{}}`, false},
		{"a body that is a list", "POST", "/users", `[]`, false},
		{"no body", "POST", "/users", "", false},
		{"the password of our user", "PATCH", "/users/" + ours, password, true},
		{"the password by another method", "PUT", "/users/" + ours, password, false},
		{"the password of another user", "PATCH", "/users/" + foreign, password, false},
		{"the password of a user with an odd mark", "PATCH", "/users/" + odd, password, false},
		{"the password of a user in another domain", "PATCH", "/users/" + outside, password, false},
		{"the state of our user", "PATCH", "/users/" + ours, `{"user":{"enabled":false}}`, false},
		{"the password and the state", "PATCH", "/users/" + ours, `{"user":{"password":"pw","enabled":true}}`, false},
		{"the mark of our user", "PATCH", "/users/" + ours, `{"user":{"tenantry_run":"run-2"}}`, false},
		{"the name of our user", "PATCH", "/users/" + ours, `{"user":{"name":"x"}}`, false},
		{"the options of our user", "PATCH", "/users/" + ours, `{"user":{"options":{}}}`, false},
		{"a field name in other case", "PATCH", "/users/" + ours, `{"user":{"Password":"x"}}`, false},
		{"the mark and the password of another user", "PATCH", "/users/" + foreign, `{"user":{"password":"pw","tenantry_run":"r"}}`, false},
		{"all users", "PATCH", "/users", password, false},
		{"the user's own change of the password", "POST", "/users/" + ours + "/password", `{"user":{"password":"x","original_password":"y"}}`, false},
		{"a credential of our user", "POST", "/users/" + ours + "/application_credentials", `{}`, false},
		{"an access rule of our user", "DELETE", "/users/" + ours + "/access_rules/x", "", false},
		{"a project below our user", "PUT", "/users/" + ours + "/projects/x", "", false},
		{"a path that leaves the users", "PATCH", "/users/" + ours + "/../" + foreign, password, false},
		{"a path with escaped slashes", "DELETE", "/users/" + ours + "%2f..%2f" + foreign, "", false},
		{"a user whose id is two dots", "DELETE", "/users/%2e%2e", "", false},
		{"a user with an empty id", "DELETE", "/users/", "", false},
		{"our user in a group", "PUT", "/groups/" + group + "/users/" + ours, "", false},
		{"a role of our user on a domain", "PUT", "/domains/default/users/" + ours + "/roles/" + role.ID, "", false},
		{"another user is deleted", "DELETE", "/users/" + foreign, "", false},
		{"a user in another domain is deleted", "DELETE", "/users/" + outside, "", false},
		{"all users are deleted", "DELETE", "/users", "", false},
		{"our user is deleted", "DELETE", "/users/" + ours, "", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			h.wire.intercept(func(*http.Request) bool { return false }, nil)
			sent := v3.Send(t.Context(), h.cloud, c.method, c.path, strings.Replace(c.body, `"name":"u"`, fmt.Sprintf(`"name":"u%d"`, i), 1))
			left := slices.ContainsFunc(h.wire.requests(), func(r string) bool {
				return !strings.HasPrefix(r, "GET ") && r != "POST /auth/tokens"
			})
			if left != c.passes || errors.Is(sent, keystone.ErrGuard) == c.passes || c.passes && sent != nil {
				t.Errorf("passes %t, %v, %v; want %t", left, sent, h.wire.requests(), c.passes)
			}
		})
	}
}

// The guard reads the user again before each write, because a user can lose the mark between two writes.
func TestAWriteToAUserThatCannotBeReadIsNotSent(t *testing.T) {
	h := newHouse(t, signUp)
	id := h.AddUser(keystonetest.User{Name: "ann", Extra: map[string]any{keystone.RunAttribute: "run-1"}})
	closes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, `{"user":{"id":`)
	}))
	t.Cleanup(closes.Close)
	user := func(id, more string) string {
		return `{"user":{"id":"` + id + `","name":"ann","domain_id":"default","tenantry_run":"run-1"` + more + `}}`
	}
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
	}{
		{"500", answer(500, body(500)), classification{class: upstream.Transient}},
		{"503", answer(503, body(503)), classification{class: upstream.Unavailable}},
		{"401", answer(401, own401), classification{class: upstream.Unavailable, own: true}},
		{"403", answer(403, `{"error":{"code":403,"message":"You are not authorized to perform the requested action: identity:get_user."}}`), classification{class: upstream.Blocked, sentinel: keystone.ErrForbidden}},
		{"404", answer(404, body(404)), classification{class: upstream.Permanent, sentinel: keystone.ErrNotFound}},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: upstream.Unavailable}},
		{"cut off", elsewhere("http", strings.TrimPrefix(closes.URL, "http://")), classification{class: upstream.Transient}},
		{"a page", answer(200, "<html>"), classification{class: upstream.Transient}},
		{"nothing", answer(200, ""), classification{class: upstream.Transient}},
		{"another user", answer(200, user("x", "")), classification{class: upstream.Transient}},
		{"too much", answer(200, user(id, `,"more":"`+strings.Repeat("x", 9<<20)+`"`)), classification{class: upstream.Transient}},
		{"a user without the mark", answer(200, `{"user":{"id":"`+id+`","domain_id":"default"}}`), classification{class: upstream.Permanent, sentinel: keystone.ErrGuard}},
		{"a user without a domain", answer(200, `{"user":{"id":"`+id+`","tenantry_run":"r"}}`), classification{class: upstream.Permanent, sentinel: keystone.ErrGuard}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodGet }, c.fault)
			compare(t, "SetPassword", h.cloud.SetPassword(t.Context(), id, "canary-2"), c.want)
			if slices.ContainsFunc(h.wire.requests(), func(r string) bool { return strings.HasPrefix(r, "PATCH ") }) {
				t.Errorf("sent %v", h.wire.requests())
			}
		})
	}
	h.wire.intercept(func(*http.Request) bool { return false }, nil)
	for range 2 {
		if err := h.cloud.SetPassword(t.Context(), id, "canary-2"); err != nil {
			t.Fatal(err)
		}
	}
	get, patch := "GET /users/"+id, "PATCH /users/"+id
	if got, want := h.wire.requests(), []string{get, patch, get, patch}; !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestFaultsOfARemoval(t *testing.T) {
	n := newUser("ann")
	is := func(method, part string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
	}
	for _, c := range []struct {
		what  string
		match func(*http.Request) bool
		fault http.RoundTripper
		want  *classification // nil: the removal succeeds
	}{
		{"list of users fails", is("GET", "/users"), answer(500, body(500)), &classification{class: upstream.Transient}},
		{"list of assignments fails", is("GET", "/role_assignments"), answer(503, ""), &classification{class: upstream.Unavailable}},
		{"list of assignments is cut", is("GET", "/role_assignments"), answer(200, `{"role_assignments":[],"truncated":true}`), &classification{class: upstream.Unavailable, sentinel: keystone.ErrCut}},
		{"no list of assignments", is("GET", "/role_assignments"), answer(200, `{}`), &classification{class: upstream.Transient}},
		{"list of groups fails", is("GET", "/groups"), answer(500, body(500)), &classification{class: upstream.Transient}},
		{"list of groups is cut", is("GET", "/groups"), answer(200, `{"groups":[],"truncated":true}`), &classification{class: upstream.Unavailable, sentinel: keystone.ErrCut}},
		{"user is gone before the list of groups", is("GET", "/groups"), answer(404, body(404)), nil},
		{"user is gone before the removal", is("DELETE", "/users"), answer(404, body(404)), nil},
		{"answer is lost", is("DELETE", "/users"), afterwards(io.EOF), &classification{class: upstream.Transient, maybeDone: true}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h := newHouse(t, signUp)
			if _, _, _, err := h.cloud.EnsureUser(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			h.wire.intercept(c.match, c.fault)
			removed, kept, err := h.cloud.RemoveUser(t.Context(), "default", n.Name, n.RunID)
			if c.want != nil {
				compare(t, "RemoveUser", err, *c.want)
			} else if err != nil {
				t.Error(err)
			}
			if removed != (keystone.User{}) || kept != "" {
				t.Errorf("removed %+v, kept %q", removed, kept)
			}
		})
	}
}

// If Keystone has cut a list of users, a user with a similar name may be missing in the list.
func TestACutListOfUsersHasNoSimilarUser(t *testing.T) {
	h := newHouseOf(t, keystonetest.New(keystonetest.Options{ListLimit: 2}), signUp)
	for _, name := range []string{"Ann-1-x", "Ann-2-x", "Ann-3-x", "bob"} {
		h.AddUser(keystonetest.User{Name: name})
	}
	if u, err := h.cloud.SimilarUser(t.Context(), "default", "BOB"); err != nil || u.Name != "bob" {
		t.Errorf("got %+v, %v", u, err)
	}
	if u, err := h.cloud.SimilarUser(t.Context(), "default", "ANN-3-X"); err != nil || u.Name != "Ann-3-x" {
		t.Errorf("got %+v, %v", u, err)
	}
	_, err := h.cloud.SimilarUser(t.Context(), "default", "é")
	compare(t, "cut", err, classification{class: upstream.Unavailable, sentinel: keystone.ErrCut})
	_, err = h.cloud.SimilarUser(t.Context(), "default", "bo")
	compare(t, "absent", err, classification{class: upstream.Permanent, sentinel: keystone.ErrNotFound})
}

func TestUsersOnMySQL(t *testing.T) {
	k, open := newLooseHouse(t)
	k.AddUser(keystonetest.User{Name: "Émile", Password: "pw", Extra: map[string]any{keystone.RunAttribute: "run-1"}})
	cloud := open(false)
	if _, err := cloud.FindUser(t.Context(), "default", "émile"); !errors.Is(err, keystone.ErrNotFound) {
		t.Errorf("FindUser: %v", err)
	}
	if u, err := cloud.SimilarUser(t.Context(), "default", "ÉMILE"); err != nil || u.Name != "Émile" {
		t.Errorf("SimilarUser: %+v, %v", u, err)
	}
	for _, name := range []string{"émile", "emile"} { // MySQL treats these names as the same
		_, made, _, err := cloud.EnsureUser(t.Context(), newUser(name))
		if !errors.Is(err, keystone.ErrConflict) || made {
			t.Errorf("EnsureUser %s: made %t, %v", name, made, err)
		}
		if removed, kept, err := cloud.RemoveUser(t.Context(), "default", name, "run-1"); err != nil || kept != "" || removed.ID != "" {
			t.Errorf("RemoveUser %s: %+v, %q, %v", name, removed, kept, err)
		}
	}
}
