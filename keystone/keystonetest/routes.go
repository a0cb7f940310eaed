package keystonetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
)

// The type `object` is the body of a request or an answer, or an object in a body.
type object = map[string]any

// The method `routes` returns a mux with the handlers of all API calls. Each handler runs with k.mu locked.
func (k *Keystone) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(call) (int, any, error){
		"GET /v3/{$}": version,
		"GET /v3":     version,

		"POST /v3/auth/tokens":   k.createToken,
		"GET /v3/auth/tokens":    k.validateToken,
		"DELETE /v3/auth/tokens": k.revokeToken,
		"GET /v3/auth/projects":  k.listOwnProjects,

		"POST /v3/domains":        k.createDomain,
		"GET /v3/domains":         k.listDomains,
		"GET /v3/domains/{id}":    k.getDomain,
		"PATCH /v3/domains/{id}":  k.updateDomain,
		"DELETE /v3/domains/{id}": k.deleteDomain,

		"POST /v3/groups":        k.createGroup,
		"DELETE /v3/groups/{id}": k.deleteGroup,

		"PUT /v3/groups/{id}/users/{user}":    k.addMember,
		"GET /v3/groups/{id}/users/{user}":    k.checkMember,
		"DELETE /v3/groups/{id}/users/{user}": k.removeMember,
		"GET /v3/users/{id}/groups":           k.listGroupsOf,

		"POST /v3/users":        k.createUser,
		"GET /v3/users":         k.listUsers,
		"GET /v3/users/{id}":    k.getUser,
		"PATCH /v3/users/{id}":  k.patchUser,
		"DELETE /v3/users/{id}": k.deleteUser,

		"POST /v3/users/{id}/application_credentials":                k.createApplicationCredential,
		"DELETE /v3/users/{id}/application_credentials/{credential}": k.deleteApplicationCredential,

		"POST /v3/roles":          k.createRole,
		"GET /v3/roles":           k.listRoles,
		"GET /v3/roles/{id}":      k.getRole,
		"DELETE /v3/roles/{id}":   k.deleteRole,
		"GET /v3/role_inferences": k.listInferences,

		"PUT /v3/roles/{id}/implies/{implied}":    k.createInference,
		"DELETE /v3/roles/{id}/implies/{implied}": k.deleteInference,

		"POST /v3/projects":        k.createProject,
		"GET /v3/projects":         k.listProjects,
		"GET /v3/projects/{id}":    k.getProject,
		"PATCH /v3/projects/{id}":  k.patchProject,
		"DELETE /v3/projects/{id}": k.deleteProject,

		"GET /v3/projects/{project}/users/{user}/roles": k.listGrants,
		"GET /v3/role_assignments":                      k.listAssignments,
	} {
		mux.Handle(pattern, k.handle(h))
	}
	for pattern, h := range k.adminRoutes() {
		mux.Handle(pattern, k.handle(h))
	}
	for _, path := range grantRoutes() {
		mux.Handle("PUT /v3"+path, k.handle(k.createGrant))
		mux.Handle("GET /v3"+path, k.handle(k.checkGrant))
		mux.Handle("DELETE /v3"+path, k.handle(k.deleteGrant))
	}
	return mux
}

// The type `call` is one request to the API, with the caller's token and the header of the answer.
type call struct {
	*http.Request

	header http.Header // of the answer
	body   object      // nil if the request has no body
	query  url.Values
	token  *token // nil if the request has no X-Auth-Token
	self   string // the address of /v3
}

// The method `handle` calls h while k.mu is locked. It encodes the answer after k.mu is unlocked, because a client may read a long list
// slowly.
func (k *Keystone) handle(h func(call) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call{Request: r, header: w.Header(), query: r.URL.Query(), self: "http://" + r.Host + "/v3"}
		status, answer, err := 0, any(nil), c.read()
		if err == nil {
			status, answer, err = k.locked(c, h)
		}
		if err != nil {
			var f fault
			if !errors.As(err, &f) {
				f = fault{status: http.StatusInternalServerError, message: err.Error()}
			}
			if f.status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf("Keystone uri=%q", c.self))
			}
			body := object{"code": f.status, "message": f.message, "title": http.StatusText(f.status)}
			maps.Copy(body, f.more)
			status, answer = f.status, object{"error": body}
		}
		if status == http.StatusNoContent {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if l, ok := answer.(list); ok {
			_ = l.encode(w) //nolint:errcheck // an error means that the client has closed the connection
			return
		}
		_ = json.NewEncoder(w).Encode(answer) //nolint:errcheck // an error means that the client has closed the connection
	})
}

func (k *Keystone) locked(c call, h func(call) (int, any, error)) (int, any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.identify(&c); err != nil {
		return 0, nil, err
	}
	return h(c)
}

// The method `read` decodes the body of the request. A body must be JSON and have the content type of JSON, even if the call ignores the
// body.
func (c *call) read() error {
	const malformed = " The server could not comply with the request since it is either malformed or otherwise incorrect." +
		" The client is assumed to be in error."
	var content bytes.Buffer
	if _, err := content.ReadFrom(c.Body); err != nil {
		return fault{status: http.StatusRequestEntityTooLarge, message: err.Error()}
	}
	if content.Len() == 0 {
		return nil
	}
	if c.Header.Get("Content-Type") != "application/json" {
		return fault{status: http.StatusBadRequest, message: "Expecting to find application/json in Content-Type header." + malformed}
	}
	if err := json.Unmarshal(content.Bytes(), &c.body); err != nil {
		return fault{status: http.StatusBadRequest, message: "Expecting to find valid JSON in request body." + malformed}
	}
	return nil
}

// The method `identify` sets c.token to the caller's token. It refuses an invalid token, except in a login. It accepts a request
// without a token. If the call needs a token, the handler of the call refuses a request without a token.
func (k *Keystone) identify(c *call) error {
	text := c.Header.Get("X-Auth-Token")
	if text == "" {
		return nil
	}
	if isPublic(c.Request) {
		return nil
	}
	t, err := k.valid(text)
	if err != nil {
		if t != nil { // the token's project is disabled; the real Keystone also answers 404
			return err
		}
		return unauthorized
	}
	c.token = t
	return nil
}

func isPublic(r *http.Request) bool {
	return r.Method == http.MethodPost && (r.URL.Path == "/v3/auth/tokens" || r.URL.Path == "/v2.0/tokens")
}

// fault is an error with the HTTP status of the answer.
type fault struct {
	status  int
	message string
	more    object // additional fields of the error object in the body
}

func (f fault) Error() string { return f.message }

var unauthorized = fault{status: http.StatusUnauthorized, message: "The request you have made requires authentication."}

func notFound(kind, id string) error {
	return fault{status: http.StatusNotFound, message: fmt.Sprintf("Could not find %s: %s.", kind, id)}
}

func conflict(format string, args ...any) error {
	return fault{status: http.StatusConflict, message: fmt.Sprintf(format, args...)}
}

func forbidden(message string) error { return fault{status: http.StatusForbidden, message: message} }

func badRequest(format string, args ...any) error {
	return fault{status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

func version(c call) (int, any, error) {
	return http.StatusOK, object{"version": object{
		"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
		"links":       []object{{"rel": "self", "href": c.self + "/"}},
		"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}},
	}}, nil
}
