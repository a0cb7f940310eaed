package v3_test

import (
	"errors"
	"io"
	"net/http"
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
