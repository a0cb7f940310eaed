package stories_test

import (
	"bytes"
	"io"
	"net/http"
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
	at := pathOf(r)
	switch {
	case len(at) >= 4 && at[1] == "merchants": // path v2/merchants/ID/customers/ID
		return r.Method + " " + at[3]
	case strings.HasSuffix(r.URL.Path, "/projects") && r.Method == http.MethodPost:
		_, name, _ := strings.Cut(string(body), `"name":"`)
		return "POST projects " + kindOfTenant(name)
	case len(at) == 3 && at[1] == "projects": // v3/projects/ID
		name := nameOf(k, at[2])
		return r.Method + " projects " + kindOfTenant(name)
	case len(at) == 7 && at[1] == "projects": // path v3/projects/ID/users/ID/roles/ID
		name := nameOf(k, at[2])
		for _, role := range []string{"member", "bs-admin"} {
			if found, err := k.Role(role); err == nil && found.ID == at[6] {
				return r.Method + " roles/" + role + " on " + kindOfTenant(name)
			}
		}
	case strings.HasSuffix(r.URL.Path, "/auth/tokens") && !bytes.Contains(body, []byte(`"methods":["token"]`)):
		return "login"
	}
	return r.Method + " " + at[len(at)-1]
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
