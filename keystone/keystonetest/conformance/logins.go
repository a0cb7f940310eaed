package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// setPassword sets passwords. A token from a login in the same second as the new password is invalid, so the test logs in again until
// the token is valid.
func setPassword(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	first, err := f.cloud.LogIn(f.ctx, "default", n.Name, password)
	f.ok(err)
	f.ok(only(f.cloud.ValidateToken(f.ctx, first.ID)))
	const second = "Another-horse-2"
	for range 2 {
		f.ok(f.cloud.SetPassword(f.ctx, u.ID, second))
		f.wants(only(f.cloud.ValidateToken(f.ctx, first.ID)), keystone.ErrTokenInvalid)
		f.wants(only(f.cloud.LogIn(f.ctx, "default", n.Name, password)), keystone.ErrWrongLogin)
		first = f.validLogin(n.Name, second)
	}
	same(f, "run", f.shown(u.ID, keystone.RunAttribute), n.RunID)
	same(f, "email", f.shown(u.ID, "email"), n.Email)
}

func (f *fixture) validLogin(name, password string) keystone.UserToken {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, 20*time.Second)
	defer cancel()
	for {
		t, err := f.cloud.LogIn(ctx, "default", name, password)
		f.ok(err)
		_, err = f.cloud.ValidateToken(ctx, t.ID)
		if err == nil {
			return t
		}
		if !errors.Is(err, keystone.ErrTokenInvalid) {
			f.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func setPasswordAbsent(_ *testing.T, f *fixture) {
	f.wants(f.cloud.SetPassword(f.ctx, "nope", password), keystone.ErrNotFound)
	f.wants(f.cloud.SetPassword(f.ctx, "a/b", password), nil)
}

func logIn(_ *testing.T, f *fixture) {
	n := newUser()
	u := f.signedUp(n)
	t, err := f.cloud.LogIn(f.ctx, "default", n.Name, password)
	f.ok(err)
	same(f, "token", t, keystone.UserToken{ID: t.ID, UserID: u.ID, UserName: n.Name, ExpiresAt: t.ExpiresAt})
	told, err := f.cloud.ValidateToken(f.ctx, t.ID)
	f.ok(err)
	if told.Scoped() || told.UserID != u.ID || !told.ExpiresAt.Equal(t.ExpiresAt) || time.Until(t.ExpiresAt) <= 0 {
		f.Errorf("got %+v and %+v", t, told)
	}
	refused := func(name, password string) {
		f.Helper()
		t, err := f.cloud.LogIn(f.ctx, "default", name, password)
		f.wants(err, keystone.ErrWrongLogin)
		same(f, "token", t, keystone.UserToken{})
		if strings.Contains(err.Error(), "horse") {
			f.Errorf("the error contains the password: %v", err)
		}
	}
	refused(n.Name, "Wrong-horse")
	refused(n.Name, strings.ToUpper(password))
	refused(n.Name, "x")
	refused(strings.ToUpper(n.Name), password)
	refused(" "+n.Name, password)
	refused("u-"+random(), password)
	refused(strings.Repeat("x", 300), password)
	refused(n.Name, password+"\x00") // a real Keystone would close the connection
	refused(n.Name+"\x00", password)
	f.wants(f.cloud.SetPassword(f.ctx, u.ID, password+"\x00"), keystone.ErrPasswordRefused)
	refused(url.PathEscape("ü"+n.Name), password)
	f.must(200, "PATCH", "/users/"+u.ID, f.admin, `{"user":{"enabled":false}}`)
	refused(n.Name, password)
	f.wants(only(f.cloud.ValidateToken(f.ctx, t.ID)), keystone.ErrTokenInvalid)
}

// logInDefaultProject logs in a user for whom Keystone would issue a token for the default project.
func logInDefaultProject(_ *testing.T, f *fixture) {
	project := f.project(newProject())
	id := f.plainUser("u-"+random(), fmt.Sprintf(`,"default_project_id":%q`, project.ID))
	f.ok(f.cloud.EnsureAssignment(f.ctx, keystone.Assignment{ProjectID: project.ID, UserID: id, RoleID: f.role("member")}))
	scoped := f.must(201, "POST", "/auth/tokens", "", passwordLogin(fmt.Sprintf(`"id":%q`, id), password, ""))
	same(f, "project of a login without a scope", scoped.get("token", "project", "id"), project.ID)
	t, err := f.cloud.LogIn(f.ctx, "default", f.shown(id, "name"), password)
	f.ok(err)
	told, err := f.cloud.ValidateToken(f.ctx, t.ID)
	f.ok(err)
	same(f, "scoped", told.Scoped(), false)
	f.ok(only(f.cloud.ExchangeToken(f.ctx, t.ID, project.ID)))
}

// logInMultiFactor uses only methods that Keystone has by default. Keystone ignores all other methods in the rules of a user.
func logInMultiFactor(_ *testing.T, f *fixture) {
	for _, c := range []struct {
		rules   string
		enabled bool
		want    [][]string // nil if the login succeeds
	}{
		{`[["password","mapped"]]`, true, [][]string{{"mapped", "password"}}},
		{`[["password","mapped"]]`, false, nil},
		{`[["password","mapped"],["oauth1","mapped"]]`, true, [][]string{{"mapped", "password"}}},
		{`[["mapped"]]`, true, [][]string{}},
		{`[["password","mapped"],["password"]]`, true, nil},
		{`[["password","bogus"]]`, true, nil},
		{`[["bogus"]]`, true, nil},
		{`[]`, true, nil},
	} {
		name := "u-" + random()
		f.plainUser(name, fmt.Sprintf(`,"options":{"multi_factor_auth_enabled":%t,"multi_factor_auth_rules":%s}`, c.enabled, c.rules))
		t, err := f.cloud.LogIn(f.ctx, "default", name, password)
		if c.want == nil {
			f.ok(err)
			continue
		}
		f.wants(err, nil)
		second, ok := errors.AsType[*keystone.SecondFactorError](err)
		if !ok || t != (keystone.UserToken{}) {
			f.Fatalf("%s: got %v, %v", c.rules, t, err)
		}
		same(f, c.rules, sets(second.Methods), sets(c.want))
		if !strings.HasPrefix(second.Receipt, "gAAAA") || strings.Contains(err.Error(), second.Receipt) || strings.Contains(upstream.ForOperator(err), second.Receipt) {
			f.Errorf("%s: receipt %q in %v", c.rules, second.Receipt, err)
		}
		f.wants(only(f.cloud.LogIn(f.ctx, "default", name, "wrong")), keystone.ErrWrongLogin)
	}
}

// The function `sets` returns the combinations of methods without their order, which is random in Keystone's answers.
func sets(combinations [][]string) []map[string]bool {
	all := []map[string]bool{}
	for _, methods := range combinations {
		set := map[string]bool{}
		for _, m := range methods {
			set[m] = true
		}
		all = append(all, set)
	}
	return all
}
