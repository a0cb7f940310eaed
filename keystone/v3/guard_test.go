package v3_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestTheGuardStopsWhatIsNotOurs(t *testing.T) {
	h := newHouse(t)
	ours := h.AddProject(keystone.Project{Name: "bs-customer-1"})
	user := h.AddUser(keystonetest.User{Name: "customer"})
	ldap := h.AddUser(keystonetest.User{ID: "50% Ann;x", Name: "ldap"})
	role, err := h.Role("member")
	if err != nil {
		t.Fatal(err)
	}
	other := h.AddDomain("Other")
	foreign := h.AddProject(keystone.Project{Name: "payroll"})
	outside := h.AddProject(keystone.Project{Name: "bs-customer-1", DomainID: other})
	grant := "/users/" + user + "/roles/" + role.ID
	create := func(name, domain, more string) string {
		return fmt.Sprintf(`{"project":{"name":%q,"domain_id":%q%s}}`, name, domain, more)
	}
	tags := keystone.TenantTags("1", "m", "i")
	update := func(tags []string, more string) string {
		return fmt.Sprintf(`{"project":{"tags":["%s"],%s}}`, strings.Join(tags, `","`), more)
	}
	for _, c := range []struct {
		what, method, path, body string
		passes                   bool
	}{
		{"a customer tenant", "POST", "/projects", create("bs-customer-2", "default", ""), true},
		{"a subscription tenant", "POST", "/projects", create("bs-subscription-2", "default", `,"tags":["a"],"description":"d"`), true},
		{"another name", "POST", "/projects", create("payroll-2", "default", ""), false},
		{"only the prefix", "POST", "/projects", create("bs-customer-", "default", ""), false},
		{"a name that Keystone trims", "POST", "/projects", create(" bs-customer-3", "default", ""), false},
		{"another domain", "POST", "/projects", create("bs-customer-3", other, ""), false},
		{"no domain", "POST", "/projects", `{"project":{"name":"bs-customer-3"}}`, false},
		{"a domain made as a project", "POST", "/projects", create("bs-customer-3", "default", `,"is_domain":true`), false},
		{"a field name in other case", "POST", "/projects", create("bs-customer-3", "default", `,"Name":"payroll"`), false},
		{"two names, the last not ours", "POST", "/projects", create("bs-customer-3", "default", `,"name":"payroll-3"`), false},
		{"two bodies", "POST", "/projects", `{"project":{"name":"bs-customer-3","domain_id":"default"},"domain":{}}`, false},
		{"no body", "POST", "/projects", "", false},
		{"a role on a tenant", "PUT", "/projects/" + ours + grant, "", true},
		{"a role taken from a tenant", "DELETE", "/projects/" + ours + grant, "", true},
		{"a role on another project", "PUT", "/projects/" + foreign + grant, "", false},
		{"a role on a tenant in a domain that may not be written", "PUT", "/projects/" + outside + grant, "", false},
		{"a role on a domain", "PUT", "/domains/default" + grant, "", false},
		{"a role on the system", "PUT", "/system" + grant, "", false},
		{"a role of a group", "PUT", "/projects/" + ours + "/groups/x/roles/" + role.ID, "", false},
		{"a role on a path that leaves the project", "PUT", "/projects/" + ours + "/../" + foreign + grant, "", false},
		{"a path with escaped slashes", "DELETE", "/projects/" + ours + "%2f..%2f" + foreign, "", false},
		{"a path with escaped dots", "DELETE", "/projects/" + ours + "/%2e%2e/" + foreign, "", false},
		{"a project whose id is two escaped dots", "DELETE", "/projects/%2e%2e", "", false},
		{"a role for a user whose id is a dot", "PUT", "/projects/" + ours + "/users/%2E/roles/" + role.ID, "", false},
		{"a role for a user from LDAP", "PUT", "/projects/" + ours + "/users/" + url.PathEscape(ldap) + "/roles/" + role.ID, "", true},
		{"a tenant is disabled", "PATCH", "/projects/" + ours, `{"project":{"enabled":false}}`, true},
		{"a tenant is disabled and marked", "PATCH", "/projects/" + ours, update(append(tags, "d"), `"enabled":false`), true},
		{"a tenant is enabled", "PATCH", "/projects/" + ours, update(tags, `"enabled":true`), true},
		{"a tenant gets an empty list of tags", "PATCH", "/projects/" + ours, `{"project":{"enabled":true,"tags":[]}}`, false},
		{"a tenant gets no tags", "PATCH", "/projects/" + ours, `{"project":{"enabled":true,"tags":null}}`, false},
		{"a tenant loses the service's tag", "PATCH", "/projects/" + ours, update(tags[1:], `"enabled":true`), false},
		{"a tenant loses its run", "PATCH", "/projects/" + ours, update([]string{tags[0], tags[2], tags[3]}, `"enabled":true`), false},
		{"a tenant loses its merchant", "PATCH", "/projects/" + ours, update([]string{tags[0], tags[1]}, `"enabled":true`), false},
		{"two lists of tags, the last one empty", "PATCH", "/projects/" + ours, update(tags, `"tags":[]`), false},
		{"a tenant is renamed", "PATCH", "/projects/" + ours, `{"project":{"name":"payroll-4"}}`, false},
		{"another project is disabled", "PATCH", "/projects/" + foreign, `{"project":{"enabled":false}}`, false},
		{"another project is deleted", "DELETE", "/projects/" + foreign, "", false},
		{"all projects are deleted", "DELETE", "/projects", "", false},
		{"a user", "POST", "/users", `{"user":{"name":"x"}}`, false},
		{"a user is deleted", "DELETE", "/users/" + user, "", false},
		{"a role is made", "POST", "/roles", `{"role":{"name":"x"}}`, false},
		{"a role implies another", "PUT", "/roles/" + role.ID + "/implies/" + role.ID, "", false},
		{"a credential", "POST", "/users/" + user + "/application_credentials", `{}`, false},
		{"a token is revoked", "DELETE", "/auth/tokens", "", false},
		{"a tenant is deleted", "DELETE", "/projects/" + ours, "", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			h.wire.intercept(func(*http.Request) bool { return false }, nil)
			sent := v3.Send(t.Context(), h.cloud, c.method, c.path, c.body)
			left := slices.ContainsFunc(h.wire.requests(), func(r string) bool {
				return !strings.HasPrefix(r, "GET ") && r != "POST /auth/tokens"
			})
			if left != c.passes || errors.Is(sent, keystone.ErrGuard) == c.passes || c.passes && sent != nil {
				t.Errorf("passes %t, %v, %v; want %t", left, sent, h.wire.requests(), c.passes)
			}
		})
	}
	all := h.Projects()
	if !slices.ContainsFunc(all, func(p keystone.Project) bool { return p.ID == foreign && p.Enabled }) {
		t.Errorf("project payroll is missing or disabled: %v", all)
	}
}

func TestTheGuardReadsAnUnknownProjectOnce(t *testing.T) {
	h := newHouse(t)
	a := keystone.Assignment{ProjectID: h.AddProject(keystone.Project{Name: "bs-customer-1"}), UserID: h.AddUser(keystonetestUser)}
	role, err := h.Role("member")
	if err != nil {
		t.Fatal(err)
	}
	a.RoleID = role.ID
	for range 2 {
		if err := h.cloud.EnsureAssignment(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	put := "PUT /projects/" + a.ProjectID + "/users/" + a.UserID + "/roles/" + a.RoleID
	want := []string{"POST /auth/tokens", "GET /projects/" + a.ProjectID, put, put}
	if got := h.wire.requests(); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}

	// The guard does not read a project that the Cloud has created.
	p, _, err := h.cloud.EnsureProject(t.Context(), tenant("2"))
	if err != nil {
		t.Fatal(err)
	}
	a.ProjectID = p.ID
	h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodGet }, answer(500, ""))
	if err := h.cloud.EnsureAssignment(t.Context(), a); err != nil {
		t.Error(err)
	}
}

func TestAWriteWhoseProjectCannotBeReadIsNotSent(t *testing.T) {
	h := newHouse(t)
	id := h.AddProject(keystone.Project{Name: "bs-customer-1"})
	for _, c := range []struct {
		what  string
		fault http.RoundTripper
		want  classification
	}{
		{"500", answer(500, body(500)), classification{class: upstream.Transient}},
		{"503", answer(503, body(503)), classification{class: upstream.Unavailable}},
		{"401", answer(401, own401), classification{class: upstream.Unavailable, own: true}},
		{"connection refused", elsewhere("http", "127.0.0.1:1"), classification{class: upstream.Unavailable}},
		{"a page", answer(200, "<html>"), classification{class: upstream.Transient}},
		{"another project", answer(200, `{"project":{"id":"x","name":"bs-customer-1","domain_id":"default"}}`), classification{class: upstream.Transient}},
	} {
		t.Run(c.what, func(t *testing.T) {
			h.wire.intercept(func(r *http.Request) bool { return r.Method == http.MethodGet }, c.fault)
			err := h.cloud.EnsureAssignment(t.Context(), keystone.Assignment{ProjectID: id, UserID: "u", RoleID: "r"})
			compare(t, "write", err, c.want)
			if slices.ContainsFunc(h.wire.requests(), func(r string) bool { return strings.HasPrefix(r, "PUT ") }) {
				t.Errorf("sent %v", h.wire.requests())
			}
		})
	}
}
