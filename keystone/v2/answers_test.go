package v2_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v2 "github.com/tenantry/tenantry/keystone/v2"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const someID = "0123456789abcdef0123456789abcdef"

func TestAnswersThatSayTooLittleAreNotBelieved(t *testing.T) {
	user := keystonetest.User{Name: "ann", Password: "pw"}
	for name, c := range map[string]struct {
		method, end string
		status      int
		body        string
		call        func(context.Context, *house, keystone.Assignment) error
		class       upstream.Class
		err         error // nil: any
		maybeDone   bool
	}{
		"a tenant is not found, and the answer names it": {
			"GET", "/tenants", 404, fault(404, "Could not find project: bs-customer-9."), find, upstream.Permanent, keystone.ErrNotFound, false,
		},
		"a 404 that names no tenant":  {"GET", "/tenants", 404, fault(404, "Not here."), find, upstream.Unavailable, nil, false},
		"a tenant without its state":  {"GET", "/tenants", 200, `{"tenant":{"id":"` + someID + `","name":"bs-customer-9"}}`, find, upstream.Transient, nil, false},
		"a list instead of a tenant":  {"GET", "/tenants", 200, `{"tenants":[]}`, find, upstream.Transient, nil, false},
		"a tenant with another name":  {"GET", "/tenants", 200, `{"tenant":{"id":"` + someID + `","name":"BS-customer-9","enabled":true}}`, find, upstream.Permanent, keystone.ErrNotFound, false},
		"a created tenant without id": {"POST", "/tenants", 200, `{"tenant":{"name":"bs-customer-9","enabled":true}}`, create, upstream.Transient, nil, true},
		"a created tenant with another id": {
			"POST", "/tenants", 200, `{"tenant":{"id":"x","name":"bs-customer-9","enabled":true}}`, create, upstream.Transient, nil, true,
		},
		"a role is there already, but is not listed": {"PUT", "/OS-KSADM/ROLE", 409, fault(409, "User already has role."), assign, upstream.Permanent, keystone.ErrConflict, false},
		"a user who is not found": {
			"GET", "/users/USER", 404, fault(404, "Could not find user: USER."), assign, upstream.Permanent, keystone.ErrNotFound, false,
		},
		"a role without a name":      {"GET", "/OS-KSADM/roles", 200, `{"roles":[{"id":"1"}]}`, roles, upstream.Transient, nil, false},
		"no list of roles":           {"GET", "/OS-KSADM/roles", 200, `{}`, roles, upstream.Transient, nil, false},
		"only administrators may":    {"GET", "/OS-KSADM/roles", 403, fault(403, "You are not authorized to perform the requested action: admin_required."), roles, upstream.Blocked, keystone.ErrForbidden, false},
		"a token without an expiry":  {"POST", "/tokens", 200, `{"access":{"token":{"id":"t"},"user":{"id":"u"}}}`, exchange, upstream.Transient, nil, false},
		"a token for another tenant": {"POST", "/tokens", 200, `{"access":{"token":{"id":"t","expires":"2030-01-01T00:00:00Z","tenant":{"id":"x"}},"user":{"id":"u"}}}`, exchange, upstream.Transient, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			a := keystone.Assignment{UserID: h.AddUser(user), ProjectID: h.AddProject(keystone.Project{Name: "bs-customer-1"})}
			member, err := h.cloud.Roles(t.Context(), []string{"member"})
			if err != nil {
				t.Fatal(err)
			}
			a.RoleID = member[0].ID
			end := strings.NewReplacer("ROLE", a.RoleID, "USER", a.UserID).Replace(c.end)
			h.fails(c.method, end, c.status, c.body)
			if strings.HasSuffix(c.end, "/roles") {
				h.cloud.Forget()
			}
			err = c.call(t.Context(), h, a)
			e, ok := errors.AsType[*upstream.Error](err)
			if !ok || e.Class != c.class || e.MaybeDone != c.maybeDone || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("got %v (%+v)", err, e)
			}
		})
	}
}

func find(ctx context.Context, h *house, _ keystone.Assignment) error {
	_, err := h.cloud.FindProject(ctx, "default", "bs-customer-9")
	return err
}

func create(ctx context.Context, h *house, _ keystone.Assignment) error {
	_, _, err := h.cloud.EnsureProject(ctx, keystone.NewProject{ID: someID, Name: "bs-customer-9", DomainID: "default"})
	return err
}

func assign(ctx context.Context, h *house, a keystone.Assignment) error {
	return h.cloud.EnsureAssignment(ctx, a)
}

func roles(ctx context.Context, h *house, _ keystone.Assignment) error {
	_, err := h.cloud.Roles(ctx, []string{"member"})
	return err
}

func exchange(ctx context.Context, h *house, a keystone.Assignment) error {
	_, err := h.cloud.ExchangeToken(ctx, h.IssueToken(a.UserID), a.ProjectID)
	return err
}

// A role that was deleted and created again has a new id. The ids in a token show that the cached roles are old.
func TestTheRolesOfATokenHaveTheirCurrentIDs(t *testing.T) {
	h := newHouse(t)
	a := keystone.Assignment{UserID: h.AddUser(keystonetest.User{Name: "ann"}), ProjectID: h.AddProject(keystone.Project{Name: "bs-customer-1"})}
	var ids []string
	for range 2 {
		a.RoleID = h.AddRole("boss")
		h.Assign(a)
		scoped, err := h.cloud.ExchangeToken(t.Context(), h.IssueToken(a.UserID), a.ProjectID)
		if err != nil || len(scoped.Roles) != 1 || scoped.Roles[0] != (keystone.Role{ID: a.RoleID, Name: "boss"}) {
			t.Fatalf("got %+v, %v", scoped.Roles, err)
		}
		ids = append(ids, a.RoleID)
		h.RemoveRole("boss")
	}
	if ids[0] == ids[1] {
		t.Error("both roles have the same id, so the test shows nothing")
	}
}

// Tenantry must not send its token to an address without TLS, even if the catalog contains this address.
func TestAnAdminAddressWithoutTLSIsRefused(t *testing.T) {
	for admin, good := range map[string]bool{
		"https://keystone:35357/v2.0": true, "http://keystone:35357/v2.0": false, "https://u:p@keystone:35357/v2.0": false, "https://keystone/v3": false,
	} {
		h := newHouse(t, func(c *conn.Config) { c.URL, c.AdminURL = "https://keystone:5000/v2.0", "" })
		h.answer = func(req *http.Request) (int, string, bool) {
			return 200, `{"access":{"token":{"id":"t","expires":"2030-01-01T00:00:00Z","tenant":{"id":"x"}},"user":{"id":"u"},
				"serviceCatalog":[{"type":"identity","endpoints":[{"region":"one","adminURL":"` + admin + `"}]}]}}`,
				req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/tokens")
		}
		_, err := h.cloud.AllRoles(t.Context())
		toAdmin := slices.Contains(h.requests, "GET keystone:35357/v2.0/OS-KSADM/roles")
		if toAdmin != good || !good && (len(h.requests) != 1 || err == nil || !strings.Contains(err.Error(), "identity_endpoint_override")) {
			t.Errorf("%s: got the requests %v, and %v", admin, h.requests, err)
		}
	}
}

func TestNoErrorContainsATokenOrThePassword(t *testing.T) {
	for _, answer := range []string{"in the message", "as a text"} {
		h := newHouse(t)
		user := h.AddUser(keystonetest.User{Name: "ann"})
		token := h.IssueToken(user)
		if err := h.cloud.Ping(t.Context()); err != nil { // logs in
			t.Fatal(err)
		}
		h.answer = func(req *http.Request) (int, string, bool) {
			text := "was sent canary and " + token + " at " + req.URL.String()
			if answer == "in the message" {
				text = fault(500, text)
			}
			return 500, text, true
		}
		_, validating := h.cloud.ValidateToken(t.Context(), token)
		_, exchanging := h.cloud.ExchangeToken(t.Context(), token, someID)
		for _, err := range []error{validating, exchanging} {
			if err == nil || strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "logging in") {
				t.Errorf("%s: got %v", answer, err)
			}
		}
	}
	if _, err := v2.New(conn.Config{URL: "http://u:canary@k/v2.0"}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}
