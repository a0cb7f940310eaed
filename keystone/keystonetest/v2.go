package keystonetest

import (
	"fmt"
	"net/http"
	"strconv"
)

// The routes of Identity v2.0 that Keystone's admin application serves. Keystone Pike is the last but one release with Identity v2.0. The
// API knows only the domain "default". It has no tags, no groups and no application credentials.
func (k *Keystone) adminRoutes() map[string]func(call) (int, any, error) {
	return map[string]func(call) (int, any, error){
		"GET /v2.0/{$}": version2,
		"GET /v2.0":     version2,

		"POST /v2.0/tokens":        k.createToken2,
		"GET /v2.0/tokens/{id}":    k.validateToken2,
		"DELETE /v2.0/tokens/{id}": k.revokeToken2,

		"POST /v2.0/tenants":           k.createTenant,
		"GET /v2.0/tenants":            k.listTenants,
		"GET /v2.0/tenants/{id}":       k.getTenant,
		"PUT /v2.0/tenants/{id}":       k.updateTenant,
		"POST /v2.0/tenants/{id}":      k.updateTenant,
		"DELETE /v2.0/tenants/{id}":    k.deleteTenant,
		"GET /v2.0/tenants/{id}/users": k.listTenantUsers,

		"GET /v2.0/tenants/{tenant}/users/{user}/roles":                    k.listTenantRoles,
		"PUT /v2.0/tenants/{tenant}/users/{user}/roles/OS-KSADM/{role}":    k.addTenantRole,
		"DELETE /v2.0/tenants/{tenant}/users/{user}/roles/OS-KSADM/{role}": k.removeTenantRole,

		"POST /v2.0/OS-KSADM/roles":        k.createRole2,
		"GET /v2.0/OS-KSADM/roles":         k.listRoles2,
		"GET /v2.0/OS-KSADM/roles/{id}":    k.getRole2,
		"DELETE /v2.0/OS-KSADM/roles/{id}": k.deleteRole2,

		"POST /v2.0/users":                       k.createUser2,
		"GET /v2.0/users":                        k.listUsers2,
		"GET /v2.0/users/{id}":                   k.getUser2,
		"PUT /v2.0/users/{id}":                   k.updateUser2,
		"PUT /v2.0/users/{id}/OS-KSADM/enabled":  k.updateUser2,
		"PUT /v2.0/users/{id}/OS-KSADM/password": k.updateUser2,
		"DELETE /v2.0/users/{id}":                k.deleteUser2,
	}
}

// The routes of Identity v2.0 that Keystone's public application serves: the tokens of the caller, and the caller's own tenants.
func (k *Keystone) publicRoutes() map[string]func(call) (int, any, error) {
	return map[string]func(call) (int, any, error){
		"GET /v2.0/{$}":     version2,
		"GET /v2.0":         version2,
		"POST /v2.0/tokens": k.createToken2,
		"GET /v2.0/tenants": k.listOwnTenants,
	}
}

// Public serves the public application of Identity v2.0, which a Keystone of that time serves on port 5000. The Keystone itself serves the
// admin application, on port 35357, and Identity v3.
func (k *Keystone) Public() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range k.publicRoutes() {
		mux.Handle(pattern, k.handle(h))
	}
	return k.bounded(mux)
}

// requireAdmin returns an error if the caller does not have role admin in the scope of the caller's token. Unlike the errors of Identity
// v3, the error names no policy rule of the API.
func (k *Keystone) requireAdmin(c call) error {
	switch {
	case c.token == nil:
		return unauthorized
	case !hasRole(k.tokenRoles(c.token), "admin"):
		return forbidden("You are not authorized to perform the requested action: admin_required.")
	}
	return nil
}

// The function `paged` returns the objects after the object with the id in the query's `marker`. The query's `limit` limits their number.
// The links to the next page are always empty: a client must send the id of the last object as the next marker.
func paged[V any](c call, rows []V, id func(V) string) ([]V, error) {
	if marker := c.query.Get("marker"); marker != "" {
		at := -1
		for i, one := range rows {
			if id(one) == marker {
				at = i
			}
		}
		if at < 0 {
			return nil, badRequest("Marker could not be found")
		}
		rows = rows[at+1:]
	}
	if text := c.query.Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 0 {
			return nil, badRequest("Invalid limit value")
		}
		rows = rows[:min(limit, len(rows))]
	}
	return rows, nil
}

// listed2 returns an answer with a list in the format of Identity v2.0.
func listed2[V any](resource string, rows []V, show func(V) object) (int, any, error) {
	shown := make([]object, 0, len(rows))
	for _, one := range rows {
		shown = append(shown, show(one))
	}
	return http.StatusOK, object{resource: shown, resource + "_links": []object{}}, nil
}

func version2(c call) (int, any, error) {
	return http.StatusOK, object{"version": object{
		"id": "v2.0", "status": "deprecated", "updated": "2016-08-04T00:00:00Z",
		"links": []object{
			{"rel": "self", "href": "http://" + c.Host + "/v2.0/"},
			{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
		},
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.identity-v2.0+json"}},
	}}, nil
}

// notFound2 returns the error for a missing object. Unlike the messages of Identity v3, the messages of Identity v2.0 name a tenant
// "project".
func notFound2(kind, id string) error {
	return fault{status: http.StatusNotFound, message: fmt.Sprintf("Could not find %s: %s.", kind, id)}
}
