package v3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

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
