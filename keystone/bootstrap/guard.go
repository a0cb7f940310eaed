package bootstrap

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `guard` is a transport that sends reads, logins, requests that create objects, and requests that assign roles to a user. It
// refuses all other writes, with one exception: the client may delete a service or an endpoint that it has created. See the method `once`.
type guard struct {
	endpoint *url.URL
	next     http.RoundTripper

	mu   sync.Mutex
	made map[string]bool // "services/ID" and "endpoints/ID" that this client has created
}

func newGuard(endpoint *url.URL, next http.RoundTripper) *guard {
	return &guard{endpoint: endpoint, next: next, made: map[string]bool{}}
}

// creates lists the collections in which the client may create objects.
var creates = []string{"roles", "domains", "projects", "users", "services", "endpoints"}

// RoundTrip sends the request, or refuses it.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if !g.allows(req) {
		return nil, &upstream.Error{
			Service: keystone.Service, Class: upstream.Permanent, Op: req.Method + " " + req.URL.Path,
			Message: "Tenantry did not send the request, because bootstrap may only create objects",
		}
	}
	return g.next.RoundTrip(req)
}

func (g *guard) allows(req *http.Request) bool {
	rest, ours := strings.CutPrefix(req.URL.EscapedPath(), g.endpoint.EscapedPath())
	if !ours || req.URL.Host != g.endpoint.Host || req.URL.Scheme != g.endpoint.Scheme {
		return false
	}
	path := strings.Split(rest, "/")
	if slices.ContainsFunc(path, func(segment string) bool { return segment == "" || segment == "." || segment == ".." }) {
		return false
	}
	switch req.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPost:
		return rest == "auth/tokens" || slices.Contains(creates, rest)
	case http.MethodPut: // {projects,domains}/ID/users/ID/roles/ID
		return len(path) == 6 && (path[0] == "projects" || path[0] == "domains") && path[2] == "users" && path[4] == "roles"
	case http.MethodDelete:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.made[rest]
	}
	return false
}

// The method `created` must be called after the client has created a service or an endpoint.
func (g *guard) created(collection, id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made[fmt.Sprintf("%s/%s", collection, url.PathEscape(id))] = true
}
