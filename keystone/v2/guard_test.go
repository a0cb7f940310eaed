package v2_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v2 "github.com/tenantry/tenantry/keystone/v2"
)

func TestTheGuardStopsWhatIsNotOurs(t *testing.T) {
	h := newHouse(t)
	ours := h.AddProject(keystone.Project{Name: "bs-customer-1"})
	foreign := h.AddProject(keystone.Project{Name: "payroll"})
	user := h.AddUser(keystonetest.User{Name: "customer"})
	role, err := h.Role("member")
	if err != nil {
		t.Fatal(err)
	}
	grant := "/users/" + user + "/roles/OS-KSADM/" + role.ID
	tags := keystone.TenantTags("1", "m", "i")
	described := func(tags []string, more string) string {
		text, err := json.Marshal(keystone.Describe("of a customer / tags: x", tags))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"tenant":{"description":%s%s}}`, text, more)
	}
	for _, c := range []struct {
		what, method, path, body string
		passes                   bool
	}{
		{"a customer tenant", "POST", "/tenants", `{"tenant":{"name":"bs-customer-2"}}`, true},
		{"a subscription tenant with an id", "POST", "/tenants", `{"tenant":{"id":"` + someID + `","name":"bs-subscription-2","enabled":true}}`, true},
		{"another name", "POST", "/tenants", `{"tenant":{"name":"payroll-2"}}`, false},
		{"only the prefix", "POST", "/tenants", `{"tenant":{"name":"bs-customer-"}}`, false},
		{"another field", "POST", "/tenants", `{"tenant":{"name":"bs-customer-3","domain_id":"other"}}`, false},
		{"the name of Identity v3", "POST", "/tenants", `{"project":{"name":"bs-customer-3"}}`, false},
		{"no body", "POST", "/tenants", "", false},
		{"a role on a tenant", "PUT", "/tenants/" + ours + grant, "", true},
		{"a role taken from a tenant", "DELETE", "/tenants/" + ours + grant, "", true},
		{"a role on another tenant", "PUT", "/tenants/" + foreign + grant, "", false},
		{"a role of the path of Identity v3", "PUT", "/tenants/" + ours + "/users/" + user + "/roles/" + role.ID, "", false},
		{"a path that leaves the tenant", "PUT", "/tenants/" + ours + "/../" + foreign + grant, "", false},
		{"a path with escaped slashes", "DELETE", "/tenants/" + ours + "%2f..%2f" + foreign, "", false},
		{"a tenant is disabled", "PUT", "/tenants/" + ours, `{"tenant":{"enabled":false}}`, true},
		{"a tenant is enabled and tagged", "PUT", "/tenants/" + ours, described(append(slices.Clone(tags), "d"), `,"enabled":true`), true},
		{"an update by POST", "POST", "/tenants/" + ours, `{"tenant":{"enabled":false}}`, false},
		{"a tenant loses its tags", "PUT", "/tenants/" + ours, `{"tenant":{"description":"of a customer"}}`, false},
		{"a tenant loses the service's tag", "PUT", "/tenants/" + ours, described(tags[1:], ""), false},
		{"a tenant loses its merchant", "PUT", "/tenants/" + ours, described(tags[:2], ""), false},
		{"a tenant is renamed", "PUT", "/tenants/" + ours, `{"tenant":{"name":"payroll-4"}}`, false},
		{"another tenant is disabled", "PUT", "/tenants/" + foreign, `{"tenant":{"enabled":false}}`, false},
		{"another tenant is deleted", "DELETE", "/tenants/" + foreign, "", false},
		{"a user", "POST", "/users", `{"user":{"name":"x"}}`, false},
		{"a user is changed", "PUT", "/users/" + user, `{"user":{"enabled":false}}`, false},
		{"a role is made", "POST", "/OS-KSADM/roles", `{"role":{"name":"x"}}`, false},
		{"a token is revoked", "DELETE", "/tokens/x", "", false},
		{"a tenant is deleted", "DELETE", "/tenants/" + ours, "", true},
	} {
		before := len(h.requests)
		err := v2.Send(t.Context(), h.cloud, c.method, c.path, c.body)
		if c.passes != (err == nil) || !c.passes && !errors.Is(err, keystone.ErrGuard) {
			t.Errorf("%s: got %v", c.what, err)
		}
		for _, sent := range h.requests[before:] {
			if !c.passes && !strings.HasPrefix(sent, "GET ") && !strings.HasSuffix(sent, "/tokens") {
				t.Errorf("%s: sent %s", c.what, sent)
			}
		}
	}
}
