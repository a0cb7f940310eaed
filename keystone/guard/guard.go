// Package guard refuses every write to Keystone whose target is not Tenantry's, whatever the code above it asks for.
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

// Options are the settings of a guard.
type Options struct {
	// Endpoint is the URL that paths of the API are appended to. It ends with a slash.
	Endpoint *url.URL
	// MayWriteDomain reports whether projects of the domain with this id may be written. If it is nil, none may be.
	MayWriteDomain func(domainID string) bool
	// Kept is called for a write that needs a read first, because its project is not known yet. If the read fails, its answer
	// becomes the answer to the write, and the write is not sent.
	Kept func(context.Context)
}

// New returns a transport that sends reads, logins, and writes to a project of ours. Such a project has the name of a tenant and
// is in a domain that may be written. All other writes are refused.
//
// It learns the ids of our projects from the answers that it sees, and reads a project that it does not know once.
func New(o Options, next http.RoundTripper) http.RoundTripper { return &guard{Options: o, next: next} }

type guard struct {
	Options
	next http.RoundTripper
	ours idSet
}

// Fields that a body may set. A project with "is_domain" is a domain. A new name or domain would turn a project of ours into a
// foreign one.
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
	if err != nil || resp.StatusCode >= 300 || len(path) == 0 || len(path) > 2 || path[0] != "projects" || req.Method == http.MethodHead {
		return resp, err
	}
	_, err = g.learn(resp)
	return resp, err
}

// check returns neither an answer nor an error if the write may be sent. It returns an answer if the project could not be read;
// that is then the answer to the write.
func (g *guard) check(req *http.Request, path []string) (*http.Response, error) {
	switch {
	case len(path) == 1 && path[0] == "projects" && req.Method == http.MethodPost:
		p, fields, err := bodyOf(req)
		if err != nil {
			return nil, err
		}
		if !g.isOurs(p) || !within(fields, mayCreate) {
			return nil, blocked(fmt.Sprintf("making project %q in domain %q", upstream.Clean(p.Name), upstream.Clean(p.DomainID)))
		}
		return nil, nil
	case len(path) == 2 && path[0] == "projects" && req.Method == http.MethodPatch:
		_, fields, err := bodyOf(req)
		if err != nil {
			return nil, err
		}
		if !within(fields, mayUpdate) {
			return nil, blocked("changing a field of a project other than description, tags and enabled")
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
	if !keystone.ValidID(id) {
		return nil, blocked(fmt.Sprintf("%s on project %q", req.Method, upstream.Clean(id)))
	}
	if g.ours.has(id) {
		return nil, nil
	}
	get, err := http.NewRequestWithContext(req.Context(), http.MethodGet, g.Endpoint.JoinPath("projects", id).String(), http.NoBody) //nolint:gosec // the endpoint's own host, and an id that was checked
	if err != nil {
		return nil, err
	}
	get.Header.Set("Accept", "application/json")
	get.Header.Set("X-Auth-Token", req.Header.Get("X-Auth-Token"))
	resp, err := g.next.RoundTrip(get)
	g.Kept(req.Context()) // only the read was sent so far
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

// errNoProject is a successful answer without the project that was asked for.
var errNoProject = errors.New("answer lacks what was asked for")

// project has the fields that the guard checks.
type project struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	DomainID string `json:"domain_id"`
}

func (g *guard) isOurs(p project) bool {
	return keystone.IsTenantName(p.Name) && p.DomainID != "" && g.MayWriteDomain != nil && g.MayWriteDomain(p.DomainID)
}

// learn reads the projects in the answer and stores the ids of ours. The body can be read again afterwards. An answer that is not
// JSON is ignored.
func (g *guard) learn(resp *http.Response) ([]project, error) {
	body, err := io.ReadAll(resp.Body)
	closing := resp.Body.Close()
	if err != nil {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
		return nil, nil //nolint:nilerr // the reader of the answer gets the error
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

// bodyOf reads the project in the body of a request, and the names of all fields that it sets. Keystone distinguishes upper and
// lower case in names, and of two equal names the last counts. So does a map.
func bodyOf(req *http.Request) (p project, fields []string, err error) {
	if req.GetBody == nil {
		return p, nil, blocked(req.Method + " with a body that cannot be read twice")
	}
	body, err := req.GetBody()
	if err != nil {
		return p, nil, err
	}
	defer body.Close()
	var content map[string]map[string]any
	if err := json.NewDecoder(body).Decode(&content); err != nil || len(content) != 1 || content["project"] == nil {
		return p, nil, blocked(req.Method + " with a body that is not a project")
	}
	for name, value := range content["project"] {
		fields = append(fields, name)
		text, _ := value.(string)
		switch name {
		case "name":
			p.Name = text
		case "domain_id":
			p.DomainID = text
		}
	}
	return p, fields, nil
}

func within(fields, allowed []string) bool {
	return !slices.ContainsFunc(fields, func(f string) bool { return !slices.Contains(allowed, f) })
}

// isLogin reports whether the request is a login, the only write without a project.
func (g *guard) isLogin(req *http.Request) bool {
	path := g.path(req.URL)
	return req.Method == http.MethodPost && len(path) == 2 && path[0] == "auth" && path[1] == "tokens"
}

// path splits the path after the endpoint. It is empty if the address is outside of the endpoint or its path is not in canonical
// form.
func (g *guard) path(u *url.URL) []string {
	rest, ok := strings.CutPrefix(u.EscapedPath(), g.Endpoint.EscapedPath())
	if !ok || u.Host != g.Endpoint.Host || u.Scheme != g.Endpoint.Scheme {
		return nil
	}
	path := strings.Split(rest, "/")
	if slices.ContainsFunc(path, func(s string) bool { return s == "" || s == "." || s == ".." }) {
		return nil
	}
	return path
}

func blocked(what string) error {
	return &upstream.Error{Service: keystone.Service, Class: upstream.Permanent, Op: what, Err: keystone.ErrGuard}
}

// idSet is a set that drops its oldest members when it is full.
type idSet struct {
	mu    sync.Mutex
	known map[string]struct{}
	order []string // a ring buffer once it is full
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
