package workflowstest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Recorder notes what is removed from the upstreams that it stands in front of. It has to stand next to them, behind
// whatever loses requests or answers.
type Recorder struct {
	Tags func(projectID string) []string // of a project before it goes; gives nil where nobody can tell
	Now  func() time.Time                // the engine's

	mu       sync.Mutex
	removals []Removal
}

// TagsIn looks for a project's tags in all that a cloud has.
func TagsIn(c Cloud) func(projectID string) []string {
	return func(id string) []string {
		projects := c.Projects()
		if i := slices.IndexFunc(projects, func(p keystone.Project) bool { return p.ID == id }); i >= 0 {
			return projects[i].Tags
		}
		return nil
	}
}

// Removals are those noted so far, in the order in which they were carried out.
func (r *Recorder) Removals() []Removal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.removals)
}

// Around records what goes out through next, and whose call it is. A DELETE whose answer never comes is not noted.
func (r *Recorder) Around(next http.RoundTripper) http.RoundTripper { return recording{r, next} }

type recording struct {
	*Recorder

	next http.RoundTripper
}

// RoundTrip sends the request.
func (r recording) RoundTrip(req *http.Request) (*http.Response, error) {
	gone, deletes := r.removal(req)
	call := saga.CallOf(req.Context())
	gone.Run, gone.Step = call.RunID, call.Step
	resp, err := r.next.RoundTrip(req)
	if err == nil && deletes {
		r.note(gone, resp.StatusCode)
	}
	return resp, err
}

// Handler records what comes in to next. Whose call it is cannot be seen there.
func (r *Recorder) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		gone, deletes := r.removal(req)
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(answer, req)
		if deletes {
			r.note(gone, answer.status)
		}
	})
}

type statusWriter struct {
	http.ResponseWriter

	status int
}

// WriteHeader remembers the status.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (r *Recorder) note(gone Removal, status int) {
	if status < 200 || status > 299 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removals = append(r.removals, gone)
}

// removal tells what a request removes, if anything, by its path in either upstream.
func (r *Recorder) removal(req *http.Request) (gone Removal, deletes bool) {
	if req.Method != http.MethodDelete {
		return gone, false
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	n := len(parts)
	switch {
	case n >= 6 && parts[n-6] == "projects" && parts[n-2] == "roles":
		gone.Kind, gone.ID = "role-assignment", parts[n-5]+"/"+parts[n-3]+"/"+parts[n-1]
	case n >= 2 && parts[n-2] == "projects":
		gone.Kind, gone.ID = "project", parts[n-1]
		gone.Tags = r.Tags(gone.ID)
	case n >= 2 && parts[n-2] == "customers":
		gone.Kind, gone.ID = "customer", parts[n-1]
	case n >= 2 && parts[n-2] == "subscriptions":
		gone.Kind, gone.ID = "subscription", parts[n-1]
	default: // a tag, a token: nothing that a run makes
		return gone, false
	}
	gone.At = r.Now()
	return gone, true
}
