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
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Options are the settings of a guard. Endpoint is required.
type Options struct {
	// Endpoint is the base URL of Keystone's API. The URL ends with a slash.
	Endpoint *url.URL
	// MayWriteDomain reports whether Tenantry may write to projects of the domain with this id. If MayWriteDomain is nil, the guard
	// refuses all writes to projects.
	MayWriteDomain func(domainID string) bool
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

// mayCreate and mayUpdate list the fields that the body of a request may set. A request must not set "is_domain", because a project
// with this field is a domain. An update must not change the name or the domain, because the project would then no longer belong to
// Tenantry.
//
// An update replaces all tags. The new tags must therefore contain the tags of a tenant: see [keystone.HasTenantTags]. The guard
// does not compare the new tags with the project's current tags. A comparison would need a read of the project before each update,
// and another client could still change the tags between the read and the update. An update without tags keeps the current tags, even if a
// tag that marks a tenant is missing.
var (
	mayCreate = []string{"name", "domain_id", "description", "enabled", "tags"}
	mayUpdate = []string{"description", "enabled", "tags"}
)

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
	if err != nil || resp.StatusCode >= 300 || len(path) == 0 || len(path) > 2 || path[0] != "projects" || req.Method == http.MethodHead ||
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
	switch {
	case len(path) == 1 && path[0] == "projects" && req.Method == http.MethodPost:
		p, fields, err := bodyOf(req)
		if err != nil {
			return nil, err
		}
		if !g.isOurs(p) || !within(fields, mayCreate) {
			return nil, blocked(fmt.Sprintf("creating project %q in domain %q", upstream.Clean(p.Name), upstream.Clean(p.DomainID)))
		}
		return nil, nil
	case len(path) == 2 && path[0] == "projects" && req.Method == http.MethodPatch:
		p, fields, err := bodyOf(req)
		if err != nil {
			return nil, err
		}
		if !within(fields, mayUpdate) {
			return nil, blocked("changing a project: only the fields description, enabled and tags may be changed")
		}
		if slices.Contains(fields, "tags") && !keystone.HasTenantTags(p.Tags) {
			return nil, blocked("changing a project: the new tags must contain all tags that mark a tenant of Tenantry")
		}
	case len(path) == 2 && path[0] == "projects" && req.Method == http.MethodDelete:
	case len(path) == 6 && path[0] == "projects" && path[2] == "users" && path[4] == "roles" &&
		(req.Method == http.MethodPut || req.Method == http.MethodDelete):
	default:
		return nil, blocked(req.Method + " " + req.URL.Path)
	}
	return g.checkProject(req, path[1])
}

func (g *guard) checkProject(req *http.Request, id string) (*http.Response, error) {
	if g.ours.has(id) {
		return nil, nil
	}
	get, err := http.NewRequestWithContext(req.Context(), http.MethodGet, g.Endpoint.JoinPath("projects", url.PathEscape(id)).String(), http.NoBody) //nolint:gosec // the host comes from the configuration, and the id is one encoded segment
	if err != nil {
		return nil, err
	}
	get.Header.Set("Accept", "application/json")
	get.Header.Set("X-Auth-Token", req.Header.Get("X-Auth-Token"))
	resp, err := g.next.RoundTrip(get)
	g.Kept(req.Context()) // the guard has sent the read, but has not yet sent the write
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return resp, nil
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

// errNoProject means that a successful answer does not contain the requested project.
var errNoProject = errors.New("the answer does not contain the requested project")

// The type `project` has the fields of a Keystone project that the guard checks.
type project struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	DomainID string   `json:"domain_id"`
	Tags     []string `json:"-"` // set only for a project in the body of a request
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
	var answer struct {
		Project  *project  `json:"project"`
		Projects []project `json:"projects"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil, closing
	}
	if answer.Project != nil {
		answer.Projects = append(answer.Projects, *answer.Project)
	}
	for _, p := range answer.Projects {
		if keystone.ValidID(p.ID) && g.isOurs(p) {
			g.ours.add(p.ID)
		}
	}
	return answer.Projects, closing
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// bodyOf returns the project in the body of a request, and the names of all fields that the body sets. Like Keystone, bodyOf treats
// field names as case-sensitive and uses the last of two fields with the same name.
func bodyOf(req *http.Request) (p project, fields []string, err error) {
	if req.GetBody == nil {
		return p, nil, blocked(req.Method + " with a body that the guard cannot read, because GetBody is nil")
	}
	body, err := req.GetBody()
	if err != nil {
		return p, nil, err
	}
	defer body.Close()
	var content map[string]map[string]any
	if err := json.NewDecoder(body).Decode(&content); err != nil || len(content) != 1 || content["project"] == nil {
		return p, nil, blocked(req.Method + " with a body that does not describe exactly one project")
	}
	for name, value := range content["project"] {
		fields = append(fields, name)
		text, _ := value.(string)
		switch name {
		case "name":
			p.Name = text
		case "domain_id":
			p.DomainID = text
		case "tags":
			p.Tags = texts(value)
		}
	}
	return p, fields, nil
}

// The function `texts` returns the texts in a list, and skips other values. Keystone refuses a list with other values.
func texts(value any) (all []string) {
	list, _ := value.([]any)
	for _, v := range list {
		if text, ok := v.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

func within(fields, allowed []string) bool {
	return !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(allowed, f) })
}

// isLogin reports whether the request is a login. A login is the only POST request outside of /projects that the guard sends.
func (g *guard) isLogin(req *http.Request) bool {
	path := g.path(req.URL)
	return req.Method == http.MethodPost && len(path) == 2 && path[0] == "auth" && path[1] == "tokens"
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
