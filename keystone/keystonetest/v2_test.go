package keystonetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone/keystonetest"
)

// TestIdentityV2AnswersLikePike compares the answers with the answers of a real Keystone Pike. Each row has a request, and the status and
// the fields of Pike's answer. A field has its path, and a list has the path of its first element.
func TestIdentityV2AnswersLikePike(t *testing.T) {
	k := keystonetest.New(keystonetest.Options{Pike: true})
	admin := httptest.NewServer(k)
	defer admin.Close()
	public := httptest.NewServer(k.Public())
	defer public.Close()
	known := map[string]string{} // the values that later requests use, by the name of the row
	ask := func(at, token, method, path, body string) (int, any) {
		for name, value := range known {
			path, body = strings.ReplaceAll(path, "{"+name+"}", value), strings.ReplaceAll(body, "{"+name+"}", value)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, at+"/v2.0"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if req.Header.Set("X-Auth-Token", known[token]); body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var content any
		if json.Unmarshal(text, &content) != nil {
			content = string(text)
		}
		return resp.StatusCode, content
	}
	const (
		access = "access.metadata.is_admin access.metadata.roles access.serviceCatalog access.token.audit_ids access.token.expires access.token.id " +
			"access.token.issued_at access.user.id access.user.name access.user.roles access.user.roles_links access.user.username"
		scoped = "access.metadata.is_admin access.metadata.roles access.serviceCatalog.endpoints.adminURL access.serviceCatalog.endpoints.id " +
			"access.serviceCatalog.endpoints.internalURL access.serviceCatalog.endpoints.publicURL access.serviceCatalog.endpoints.region " +
			"access.serviceCatalog.endpoints_links access.serviceCatalog.name access.serviceCatalog.type access.token.audit_ids access.token.expires " +
			"access.token.id access.token.issued_at access.token.tenant.description access.token.tenant.enabled access.token.tenant.id " +
			"access.token.tenant.name access.user.id access.user.name access.user.roles.name access.user.roles_links access.user.username"
		tenant = "tenant.description tenant.enabled tenant.id tenant.name"
		role   = "role.domain_id role.id role.name"
		fault  = "error.code error.message error.title"
	)
	for _, c := range []struct {
		name, token, method, path, body string
		status                          int
		fields                          string
		keep                            string // the path of the value to keep
	}{
		{"ADMIN", "", "POST", "/tokens", `{"auth":{"passwordCredentials":{"username":"admin","password":"secret"},"tenantName":"admin"}}`, 200, scoped, "access.token.id"},
		{"", "", "POST", "/tokens", `{"auth":{"passwordCredentials":{"username":"admin","password":"wrong"},"tenantName":"admin"}}`, 401, fault, ""},
		{"", "ADMIN", "GET", "/OS-KSADM/roles", "", 200, "roles.domain_id roles.id roles.name", ""},
		{"ROLE", "ADMIN", "POST", "/OS-KSADM/roles", `{"role":{"name":"member"}}`, 200, role, "role.id"},
		{"", "ADMIN", "POST", "/OS-KSADM/roles", `{"role":{"name":"member"}}`, 409, fault, ""},
		{
			"USER", "ADMIN", "POST", "/users", `{"user":{"name":"ext@example.org","password":"pw","email":"ext@example.org","enabled":true}}`, 200,
			"user.email user.enabled user.id user.name user.options user.username", "user.id",
		},
		{"", "ADMIN", "POST", "/users", `{"user":{"name":"ext@example.org","password":"pw"}}`, 409, fault, ""},
		{"", "ADMIN", "GET", "/users?name=ext@example.org", "", 200, "user.email user.enabled user.id user.name user.options user.username", ""},
		{"", "ADMIN", "GET", "/users?name=absent", "", 404, fault, ""},
		{
			"RUN", "ADMIN", "POST", "/users", `{"user":{"name":" ann ","password":"pw","tenantry_run":"r","options":{"lock_password":true}}}`, 200,
			"user.enabled user.id user.name user.options.lock_password user.tenantry_run user.username", "user.id",
		},
		{"", "ADMIN", "GET", "/users?name=ann", "", 200, "user.enabled user.id user.name user.options.lock_password user.tenantry_run user.username", ""},
		{"", "ADMIN", "PUT", "/users/{RUN}", `{"user":{"password":"pw2"}}`, 200, "user.enabled user.id user.name user.options.lock_password user.tenantry_run user.username", ""},
		{"", "", "POST", "/tokens", `{"auth":{"passwordCredentials":{"username":"ann","password":"pw"}}}`, 401, fault, ""},
		{"", "", "POST", "/tokens", `{"auth":{"passwordCredentials":{"username":"ann","password":"pw2"}}}`, 200, access, ""},
		{"", "ADMIN", "PUT", "/users/{RUN}", `{"user":{"name":"ext@example.org"}}`, 409, fault, ""},
		{"", "ADMIN", "DELETE", "/users/{RUN}", "", 204, "", ""},
		{"UNSCOPED", "", "POST", "/tokens", `{"auth":{"passwordCredentials":{"username":"ext@example.org","password":"pw"}}}`, 200, access, "access.token.id"},
		{
			"TENANT", "ADMIN", "POST", "/tenants", `{"tenant":{"name":"bs-customer-1","description":"customer 42","enabled":true,"bs_workflow":"w-1"}}`, 200,
			"tenant.bs_workflow " + tenant, "tenant.id",
		},
		{"", "ADMIN", "POST", "/tenants", `{"tenant":{"name":"bs-customer-1"}}`, 409, fault, ""},
		{"", "ADMIN", "POST", "/tenants", `{"tenant":{"id":"0123456789abcdef0123456789abcdef","name":"bs-customer-2","enabled":true}}`, 200, tenant, ""},
		{"", "ADMIN", "POST", "/tenants", `{"tenant":{"id":"0123456789abcdef0123456789abcdef","name":"bs-customer-3"}}`, 409, fault, ""},
		{"", "ADMIN", "POST", "/tenants", `{"tenant":{"name":""}}`, 400, fault, ""},
		{"", "ADMIN", "POST", "/tenants", `{"tenant":{"name":"` + strings.Repeat("x", 65) + `"}}`, 400, fault, ""},
		{"", "", "POST", "/tenants", `{"tenant":{"name":"bs-customer-4"}}`, 401, fault, ""},
		{"", "ADMIN", "GET", "/tenants?name=bs-customer-2", "", 200, tenant, ""},
		{"", "ADMIN", "GET", "/tenants?name=absent", "", 404, fault, ""},
		{"", "ADMIN", "GET", "/tenants/0123456789abcdef0123456789abcdef", "", 200, tenant, ""},
		{"", "ADMIN", "GET", "/tenants?limit=1", "", 200, "tenants.description tenants.enabled tenants.id tenants.name tenants_links", ""},
		{"", "", "POST", "/tokens", `{"auth":{"token":{"id":"{UNSCOPED}"},"tenantId":"{TENANT}"}}`, 401, fault, ""},
		{"", "ADMIN", "PUT", "/tenants/{TENANT}/users/{USER}/roles/OS-KSADM/{ROLE}", "", 200, role, ""},
		{"", "ADMIN", "PUT", "/tenants/{TENANT}/users/{USER}/roles/OS-KSADM/{ROLE}", "", 409, fault, ""},
		{"", "ADMIN", "PUT", "/tenants/absent/users/{USER}/roles/OS-KSADM/{ROLE}", "", 404, fault, ""},
		{"", "ADMIN", "PUT", "/tenants/{TENANT}/users/{USER}/roles/OS-KSADM/absent", "", 404, fault, ""},
		{"", "ADMIN", "PUT", "/tenants/{TENANT}/users/absent/roles/OS-KSADM/{ROLE}", "", 200, role, ""}, // stored without a check
		{"", "ADMIN", "GET", "/tenants/{TENANT}/users/{USER}/roles", "", 200, "roles.domain_id roles.id roles.name", ""},
		{"SCOPED", "", "POST", "/tokens", `{"auth":{"token":{"id":"{UNSCOPED}"},"tenantId":"{TENANT}"}}`, 200, scoped, "access.token.id"},
		{"", "", "POST", "/tokens", `{"auth":{"token":{"id":"{UNSCOPED}"},"tenantName":"absent"}}`, 401, fault, ""},
		{"", "", "POST", "/tokens", `{"auth":{"token":{"id":"garbage"},"tenantId":"{TENANT}"}}`, 401, fault, ""},
		{"", "ADMIN", "GET", "/tokens/{SCOPED}", "", 200, scoped, ""},
		{"", "ADMIN", "GET", "/tokens/{SCOPED}?belongsTo=absent", "", 401, fault, ""},
		{"", "ADMIN", "GET", "/tokens/garbage", "", 404, fault, ""},
		{"", "SCOPED", "GET", "/tokens/{SCOPED}", "", 403, fault, ""},
		{"", "SCOPED", "GET", "/tenants", "", 403, fault, ""},
		{"", "ADMIN", "DELETE", "/tenants/{TENANT}/users/{USER}/roles/OS-KSADM/{ROLE}", "", 204, "", ""},
		{"", "ADMIN", "DELETE", "/tenants/{TENANT}/users/{USER}/roles/OS-KSADM/{ROLE}", "", 404, fault, ""},
		{"", "ADMIN", "PUT", "/tenants/{TENANT}", `{"tenant":{"description":"x"}}`, 200, "tenant.bs_workflow " + tenant, ""},
		{"", "ADMIN", "POST", "/tenants/{TENANT}", `{"tenant":{"enabled":false}}`, 200, "tenant.bs_workflow " + tenant, ""},
		{"", "ADMIN", "GET", "/tokens/{SCOPED}", "", 404, fault, ""}, // the tenant is disabled
		{"", "ADMIN", "PUT", "/tenants/{TENANT}", `{"tenant":{"enabled":true}}`, 200, "tenant.bs_workflow " + tenant, ""},
		{"", "ADMIN", "GET", "/tokens/{SCOPED}", "", 404, fault, ""}, // the token stays invalid
		{"", "ADMIN", "DELETE", "/tokens/{UNSCOPED}", "", 204, "", ""},
		{"", "ADMIN", "DELETE", "/tokens/{UNSCOPED}", "", 404, fault, ""},
		{"", "ADMIN", "DELETE", "/tenants/{TENANT}", "", 204, "", ""},
		{"", "ADMIN", "DELETE", "/tenants/{TENANT}", "", 404, fault, ""},
		{"", "ADMIN", "DELETE", "/users/{USER}", "", 204, "", ""},
		{"", "ADMIN", "DELETE", "/users/{USER}", "", 404, fault, ""},
	} {
		what := c.method + " " + c.path + " " + c.body
		status, content := ask(admin.URL, c.token, c.method, c.path, c.body)
		if got := strings.Join(slices.Sorted(maps.Keys(leaves("", content))), " "); status != c.status || got != sorted(c.fields) {
			t.Errorf("%s: got %d with %s, want %d with %s", what, status, got, c.status, sorted(c.fields))
		}
		if c.name != "" {
			known[c.name] = fmt.Sprint(leaves("", content)[c.keep])
		}
	}

	// The public application has the caller's own tenants, and nothing else of the admin application.
	for path, want := range map[string]int{"/tenants": 200, "/users": 404, "/OS-KSADM/roles": 404} {
		if status, _ := ask(public.URL, "ADMIN", "GET", path, ""); status != want {
			t.Errorf("the public application answers GET %s with %d, want %d", path, status, want)
		}
	}
	if status, _ := ask(public.URL, "ADMIN", "POST", "/tenants", `{"tenant":{"name":"x"}}`); status != http.StatusMethodNotAllowed && status != http.StatusNotFound {
		t.Errorf("the public application creates tenants: got %d", status)
	}
}

func sorted(fields string) string {
	return strings.Join(slices.Sorted(slices.Values(strings.Fields(fields))), " ")
}

// The function `leaves` returns the values in an answer by their paths. A list counts as its first element. An empty list and an empty
// object are leaves.
func leaves(path string, v any) map[string]any {
	all := map[string]any{}
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			maps.Copy(all, leaves(strings.TrimPrefix(path+"."+name, "."), value))
		}
	case []any:
		if len(v) > 0 {
			all = leaves(path, v[0])
		}
	case string:
		if v != "" || path != "" {
			all[path] = v
		}
		return all
	}
	if len(all) == 0 && path != "" {
		all[path] = v
	}
	return all
}
