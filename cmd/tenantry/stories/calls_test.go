package stories_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone/keystonetest"
)

// callOf returns a short name for a request to BillingStack or Keystone, such as "POST customers" or "DELETE roles/member on
// bs-customer". The caller can read the request's body afterwards.
func callOf(k *keystonetest.Keystone, r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	method, at := asV3(r)
	switch {
	case len(at) >= 4 && at[1] == "merchants": // path v2/merchants/ID/customers/ID
		return method + " " + at[3]
	case len(at) == 2 && at[1] == "projects" && method == http.MethodPost:
		_, name, _ := strings.Cut(string(body), `"name":"`)
		return "POST projects " + kindOfTenant(name)
	case len(at) == 3 && at[1] == "users": // v3/users/ID
		return method + " users"
	case len(at) == 3 && at[1] == "projects": // v3/projects/ID
		name := nameOf(k, at[2])
		return method + " projects " + kindOfTenant(name)
	case len(at) == 7 && at[1] == "projects": // path v3/projects/ID/users/ID/roles/ID
		name := nameOf(k, at[2])
		for _, role := range []string{"member", "bs-admin"} {
			if found, err := k.Role(role); err == nil && found.ID == at[6] {
				return method + " roles/" + role + " on " + kindOfTenant(name)
			}
		}
	case at[len(at)-1] == "tokens" && bytes.Contains(body, []byte(`"grace"`)):
		return "login of grace"
	case at[len(at)-1] == "tokens" && !bytes.Contains(body, []byte(`"methods":["token"]`)) && !bytes.Contains(body, []byte(`"token":{`)):
		return "login"
	}
	return method + " " + at[len(at)-1]
}

// asV3 returns the method and the segments of the path of a request. For a request of Identity v2.0, it returns the method and the path of
// the same request of Identity v3.
func asV3(r *http.Request) (method string, path []string) {
	method, path = r.Method, pathOf(r)
	if path[0] != "v2.0" {
		return method, path
	}
	path = slices.DeleteFunc(path, func(segment string) bool { return segment == "OS-KSADM" })
	if len(path) > 1 && path[1] == "tenants" {
		path[1] = "projects"
	}
	if method == http.MethodPut && len(path) == 3 {
		method = http.MethodPatch
	}
	if method == http.MethodGet && len(path) == 6 && path[5] == "roles" { // v2.0/tenants/ID/users/ID/roles
		path = []string{"v3", "role_assignments"}
	}
	return method, path
}

// pathOf returns the segments of a request's path. The first segment is the version of the API, such as "v3".
func pathOf(r *http.Request) []string { return strings.Split(strings.Trim(r.URL.Path, "/"), "/") }

// kindOfTenant returns the beginning of a tenant's name: "bs-customer" or "bs-subscription".
func kindOfTenant(name string) string {
	for _, kind := range []string{"bs-customer", "bs-subscription"} {
		if strings.HasPrefix(name, kind) {
			return kind
		}
	}
	return ""
}

func nameOf(k *keystonetest.Keystone, projectID string) string {
	for _, p := range k.Projects() {
		if p.ID == projectID {
			return p.Name
		}
	}
	return ""
}
