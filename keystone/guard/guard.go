// Package guard lets Tenantry write only to its own projects in Keystone. The guard blocks all other writes, even if faulty code
// requests them.
package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Options are the settings of a guard. Endpoint and Dialect are required.
type Options struct {
	// Endpoint is the base URL of Keystone's API. The URL ends with a slash.
	Endpoint *url.URL
	// Dialect describes the requests of the Identity version.
	Dialect Dialect
	// MayWriteDomain reports whether Tenantry may write to projects of the domain with this id. If MayWriteDomain is nil, the guard
	// refuses all writes to projects.
	MayWriteDomain func(domainID string) bool
	// MaySignUp reports whether Tenantry may create users in the domain with this id. If MaySignUp is nil, the guard refuses all writes to
	// users.
	MaySignUp func(domainID string) bool
	// Kept is called if the guard must read a project before a write to the project. The guard calls Kept after the read and before the write.
	// If Keystone refuses the read, the guard returns Keystone's answer and does not send the write.
	Kept func(context.Context)
}

// New returns a transport that sends all reads, all logins, and all writes to Tenantry's projects. The transport refuses all other
// writes. A project belongs to Tenantry if its name has the format of a tenant's name, and MayWriteDomain allows its domain.
//
// The guard learns the ids of Tenantry's projects from Keystone's answers about single projects. Before a write to a project with an
// unknown id, the guard reads the project.
func New(o Options, next http.RoundTripper) http.RoundTripper { return &guard{Options: o, next: next} }

type guard struct {
	Options
	next http.RoundTripper
	ours idSet
}

// RoundTrip sends the request, or refuses it with keystone.ErrGuard.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if g.isLogin(req) {
		return g.next.RoundTrip(req)
	}
	path := g.path(req.URL)
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		if answer, err := g.check(req, path); answer != nil || err != nil {
			return answer, err
		}
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil || resp.StatusCode >= 300 || len(path) == 0 || len(path) > 2 || path[0] != g.Dialect.projects || req.Method == http.MethodHead ||
		isLong(req, path) {
		return resp, err
	}
	_, err = g.learn(resp)
	return resp, err
}

// isLong reports whether the answer can be a long list. The answer can be long if the request lists projects without the filter `name`. The
// guard must not hold a long list in memory.
func isLong(req *http.Request, path []string) bool {
	return req.Method == http.MethodGet && len(path) == 1 && !req.URL.Query().Has("name")
}

// The method `check` returns a nil response and a nil error if the guard may send the write. If Keystone refuses the read of the project,
// the response is Keystone's refusal. The guard returns this refusal as the response to the write.
func (g *guard) check(req *http.Request, path []string) (*http.Response, error) {
	d := g.Dialect
	switch {
	case len(path) == 1 && path[0] == d.projects && req.Method == http.MethodPost:
		p, fields, err := g.bodyOf(req)
		if err != nil {
			return nil, err
		}
		if !g.isOurs(p) || !within(fields, d.mayCreate) {
			return nil, blocked(fmt.Sprintf("creating project %q in domain %q", upstream.Clean(p.Name), upstream.Clean(p.DomainID)))
		}
		return nil, nil
	case len(path) == 2 && path[0] == d.projects && req.Method == d.update:
		p, fields, err := g.bodyOf(req)
		if err != nil {
			return nil, err
		}
		if !within(fields, d.mayUpdate) {
			return nil, blocked("changing a project: only the fields " + enumerated(d.mayUpdate) + " may be changed")
		}
		if slices.Contains(fields, d.tagsField) && !keystone.HasTenantTags(p.Tags) {
			return nil, blocked("changing a project: the new tags must contain all tags that mark a tenant of Tenantry")
		}
	case len(path) == 2 && path[0] == d.projects && req.Method == http.MethodDelete:
	case d.isAssignment(path) && (req.Method == http.MethodPut || req.Method == http.MethodDelete):
	case path != nil && path[0] == users:
		return g.checkUser(req, path)
	default:
		return nil, blocked(req.Method + " " + req.URL.Path)
	}
	return g.checkProject(req, path[1])
}

// The function `enumerated` joins the names: "a, b and c".
func enumerated(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func (g *guard) checkProject(req *http.Request, id string) (*http.Response, error) {
	if g.ours.has(id) {
		return nil, nil
	}
	resp, err := g.read(req, g.Dialect.projects, id)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	found, err := g.learn(resp)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].ID != id {
		return nil, &upstream.Error{Service: keystone.Service, Class: upstream.Transient, Op: "reading project " + id, Err: errNoProject}
	}
	if !g.ours.has(id) {
		return nil, blocked(fmt.Sprintf("%s on project %s", req.Method, id))
	}
	return nil, nil
}

// The method `read` reads the object that the write `req` would change.
func (g *guard) read(req *http.Request, kind, id string) (*http.Response, error) {
	get, err := http.NewRequestWithContext(req.Context(), http.MethodGet, g.Endpoint.JoinPath(kind, url.PathEscape(id)).String(), http.NoBody) //nolint:gosec // the host comes from the configuration, and the id is one encoded segment
	if err != nil {
		return nil, err
	}
	get.Header.Set("Accept", "application/json")
	get.Header.Set("X-Auth-Token", req.Header.Get("X-Auth-Token"))
	resp, err := g.next.RoundTrip(get)
	g.Kept(req.Context()) // the guard has sent the read, but has not yet sent the write
	return resp, err
}

// errNoProject means that a successful answer does not contain the requested project.
var errNoProject = errors.New("the answer does not contain the requested project")

// The type `project` has the fields of a Keystone project that the guard checks.
type project struct {
	ID       string
	Name     string
	DomainID string
	Tags     []string // set only for a project in the body of a request
}

func (g *guard) isOurs(p project) bool {
	return keystone.IsTenantName(p.Name) && p.DomainID != "" && g.MayWriteDomain != nil && g.MayWriteDomain(p.DomainID)
}

// The method `learn` decodes the projects in an answer and stores the ids of Tenantry's projects. The caller can read the answer's
// body again afterwards. `learn` ignores an answer that is not JSON.
func (g *guard) learn(resp *http.Response) ([]project, error) {
	body, err := io.ReadAll(resp.Body)
	closing := resp.Body.Close()
	if err != nil {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
		return nil, nil //nolint:nilerr // the next reader of resp.Body gets the error
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var answer map[string]json.RawMessage
	if json.Unmarshal(body, &answer) != nil {
		return nil, closing
	}
	var found []project
	for _, content := range g.objects(answer) {
		p := g.Dialect.project(content)
		if found = append(found, p); keystone.ValidID(p.ID) && g.isOurs(p) {
			g.ours.add(p.ID)
		}
	}
	return found, closing
}

// The method `objects` returns the fields of the projects in an answer. An answer contains one project or a list of projects.
func (g *guard) objects(answer map[string]json.RawMessage) (found []map[string]any) {
	if list := answer[g.Dialect.projects]; list != nil && json.Unmarshal(list, &found) != nil {
		found = nil
	}
	var one map[string]any
	if json.Unmarshal(answer[g.Dialect.one], &one) == nil && one != nil {
		found = append(found, one)
	}
	return found
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// bodyOf returns the project in the body of a request, and the names of all fields that the body sets. Like Keystone, bodyOf treats
// field names as case-sensitive and uses the last of two fields with the same name.
func (g *guard) bodyOf(req *http.Request) (p project, fields []string, err error) {
	content, err := contentOf(req, g.Dialect.one)
	if err != nil {
		return p, nil, err
	}
	return g.Dialect.project(content), slices.Collect(maps.Keys(content)), nil
}

// contentOf returns the fields of the object in the body of a request. The parameter `one` is the name of the object in the body, such as
// "project".
func contentOf(req *http.Request, one string) (map[string]any, error) {
	if req.GetBody == nil {
		return nil, blocked(req.Method + " with a body that the guard cannot read, because GetBody is nil")
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var content map[string]map[string]any
	if err := json.NewDecoder(body).Decode(&content); err != nil || len(content) != 1 || content[one] == nil {
		return nil, blocked(req.Method + " with a body that does not describe exactly one object of the kind " + one)
	}
	return content[one], nil
}

func within(fields, allowed []string) bool {
	return !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(allowed, f) })
}

// isLogin reports whether the request is a login. A login is the only POST request outside of the projects that the guard sends.
func (g *guard) isLogin(req *http.Request) bool {
	return req.Method == http.MethodPost && slices.Equal(g.path(req.URL), g.Dialect.login)
}

// The method `path` returns the decoded segments of the URL's path after the endpoint. The result is nil if the URL is outside of
// the endpoint, or if a segment could change the path when a server decodes the segment: see [keystone.ValidID].
func (g *guard) path(u *url.URL) []string {
	rest, ok := strings.CutPrefix(u.EscapedPath(), g.Endpoint.EscapedPath())
	if !ok || u.Host != g.Endpoint.Host || u.Scheme != g.Endpoint.Scheme {
		return nil
	}
	path := strings.Split(rest, "/")
	for i, encoded := range path {
		segment, err := url.PathUnescape(encoded)
		if err != nil || !keystone.ValidID(segment) {
			return nil
		}
		path[i] = segment
	}
	return path
}

func blocked(what string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: what, Err: keystone.ErrGuard}
}

// idSet is a set of ids that drops its oldest id when it is full.
type idSet struct {
	mu    sync.Mutex
	known map[string]struct{}
	order []string // the ids from the oldest to the newest, until the set is full; then a ring buffer
	next  int
}

const maxIDs = 8192

func (s *idSet) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.known[id]
	return ok
}

func (s *idSet) add(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.known[id]; ok {
		return
	}
	if s.known == nil {
		s.known = map[string]struct{}{}
	}
	if len(s.order) < maxIDs {
		s.order = append(s.order, id)
	} else {
		delete(s.known, s.order[s.next])
		s.order[s.next] = id
		s.next = (s.next + 1) % maxIDs
	}
	s.known[id] = struct{}{}
}
