package v3_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestRolesThatOpenTheWholeCloudAreRefused(t *testing.T) {
	h := newHouse(t)
	h.AddRole("bs-admin", "member")
	h.AddRole("deputy", "admin")
	h.AddRole("deputy-of-deputy", "member", "deputy")
	for name, refused := range map[string]bool{
		"member": false, "bs-admin": false, "admin": true, "ADMIN": true, "deputy": true, "deputy-of-deputy": true,
	} {
		roles, err := h.cloud.Roles(t.Context(), []string{"reader", name})
		if errors.Is(err, keystone.ErrRefusedRole) != refused || !refused && (err != nil || len(roles) != 2 || roles[1].Name != name) {
			t.Errorf("%s: got %v, %v; want refused %t", name, roles, err, refused)
		}
	}
	h.config.AllowAdminRole = true
	cloud, err := v3.New(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.Roles(t.Context(), []string{"admin", "deputy"}); err != nil {
		t.Error(err)
	}
}

func TestTheOperatorsRoleIsRefused(t *testing.T) {
	h := newHouse(t)
	h.AddRole("tenantry-admin")
	h.AddRole("deputy", "member", "tenantry-admin")
	h.AddRole("deputy-of-deputy", "deputy")
	h.config.OperatorRole = "Tenantry-Admin"
	for _, allowAdmin := range []bool{false, true} {
		h.config.AllowAdminRole = allowAdmin
		cloud, err := v3.New(h.config)
		if err != nil {
			t.Fatal(err)
		}
		for name, refused := range map[string]bool{
			"member": false, "admin": !allowAdmin, "tenantry-admin": true, "TENANTRY-ADMIN": true, "deputy": true, "deputy-of-deputy": true,
		} {
			if _, err := cloud.Roles(t.Context(), []string{name}); errors.Is(err, keystone.ErrRefusedRole) != refused || !refused && err != nil {
				t.Errorf("%s, with admin allowed %t: got %v; want refused %t", name, allowAdmin, err, refused)
			}
		}
	}
}

func TestARoleWhoseImplicationsAreNotToldIsNotResolved(t *testing.T) {
	h := newHouse(t)
	h.wire.intercept(func(r *http.Request) bool { return r.URL.Path == "/v3/role_inferences" },
		answer(403, `{"error":{"code":403,"message":"You are not authorized to perform the requested action: identity:list_role_inference_rules."}}`))
	_, err := h.cloud.Roles(t.Context(), []string{"member"})
	compare(t, "resolve", err, classification{class: upstream.Blocked, sentinel: keystone.ErrForbidden})
}

func TestARoleIsResolvedOnce(t *testing.T) {
	h := newHouse(t)
	for range 3 {
		if _, err := h.cloud.Roles(t.Context(), []string{"member", "reader"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(h.wire.requests()); got != 5 { // one login, and two reads for each role: its id and its implied roles
		t.Errorf("got %v", h.wire.requests())
	}
	// If EnsureAssignment finds that a role does not exist, it clears the cache of roles.
	a := keystone.Assignment{ProjectID: h.AddProject(keystone.Project{Name: "bs-customer-1"}), UserID: h.AddUser(keystonetestUser), RoleID: "gone"}
	if err := h.cloud.EnsureAssignment(t.Context(), a); !errors.Is(err, keystone.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	before := len(h.wire.requests())
	if _, err := h.cloud.Roles(t.Context(), []string{"member"}); err != nil || len(h.wire.requests()) == before {
		t.Errorf("got %v, sent %v", err, h.wire.requests())
	}
}

// The answer to a HEAD request has no body. Therefore, only the header shows whether a 404 is about the assignment.
func TestAnAssignmentIsAbsentOnlyIfKeystoneSaysSo(t *testing.T) {
	h := newHouse(t)
	a := keystone.Assignment{ProjectID: h.AddProject(keystone.Project{Name: "bs-customer-1"}), UserID: h.AddUser(keystonetestUser), RoleID: "r"}
	for what, c := range map[string]struct {
		header []string
		want   bool // whether the assignment is absent
	}{
		"Keystone about the assignment": {[]string{"Content-Type", "application/json", "X-Openstack-Request-Id", "req-1"}, true},
		"Keystone without a route":      {[]string{"Content-Type", "text/html; charset=utf-8", "X-Openstack-Request-Id", "req-1"}, false},
		"a proxy":                       {[]string{"Content-Type", "application/json"}, false},
	} {
		h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodHead }, answer(http.StatusNotFound, "", c.header...))
		has, err := h.cloud.HasAssignment(t.Context(), a)
		if c.want && (has || err != nil) {
			t.Errorf("%s: got %v, %v, want that the assignment is absent", what, has, err)
		}
		if !c.want {
			compare(t, what, err, classification{class: upstream.Unavailable})
		}
	}
}

func TestIDsThatWouldLeadElsewhereAreNotSent(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"", ".", "..", "a/b", "../b", "a\nb", "a\u0085b", "a\xff", strings.Repeat("a", 65)} {
		good := keystone.Assignment{ProjectID: "p", UserID: "u", RoleID: "r"}
		for _, a := range []keystone.Assignment{
			{ProjectID: id, UserID: good.UserID, RoleID: good.RoleID},
			{ProjectID: good.ProjectID, UserID: id, RoleID: good.RoleID},
			{ProjectID: good.ProjectID, UserID: good.UserID, RoleID: id},
		} {
			compare(t, "ensure", h.cloud.EnsureAssignment(t.Context(), a), classification{class: upstream.Permanent})
			compare(t, "remove", only(h.cloud.RemoveAssignment(t.Context(), a)), classification{class: upstream.Permanent})
			_, err := h.cloud.HasAssignment(t.Context(), a)
			compare(t, "has", err, classification{class: upstream.Permanent})
		}
		_, err := h.cloud.AssignedRoles(t.Context(), id, "u")
		compare(t, "list", err, classification{class: upstream.Permanent})
		_, err = h.cloud.ExchangeToken(t.Context(), "token", id)
		compare(t, "exchange", err, classification{class: upstream.Permanent})
		compare(t, "remove project", only(h.cloud.RemoveProject(t.Context(), keystone.Project{ID: id}, "m")), classification{class: upstream.Permanent})
	}
	if got := h.wire.requests(); len(got) != 0 {
		t.Errorf("sent %v", got)
	}
}

// The function `only` drops the first result of a call that has two results, and returns the call's error.
func only[T any](_ T, err error) error { return err }
