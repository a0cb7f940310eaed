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

// Recorder records the objects that requests remove from the upstreams. If a proxy loses requests or answers, put the Recorder
// between this proxy and the upstreams.
type Recorder struct {
	Tags func(projectID string) []string // returns the tags of a project that will be removed; nil if not known
	Now  func() time.Time                // the clock of the engine

	mu       sync.Mutex
	removals []Removal
}

// TagsIn returns a function that reads a project's tags from a cloud.
func TagsIn(c Cloud) func(projectID string) []string {
	return func(id string) []string {
		projects := c.Projects()
		if i := slices.IndexFunc(projects, func(p keystone.Project) bool { return p.ID == id }); i >= 0 {
			return projects[i].Tags
		}
		return nil
	}
}

// Removals returns the removals so far, the oldest first.
func (r *Recorder) Removals() []Removal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.removals)
}

// Around wraps the transport `next`. The returned transport records each removal, and the run and the step that caused the removal.
// A DELETE without an answer is not recorded.
func (r *Recorder) Around(next http.RoundTripper) http.RoundTripper { return recording{r, next} }

type recording struct {
	*Recorder

	next http.RoundTripper
}

// RoundTrip sends the request, and records the object that the request removes.
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

// Handler wraps the handler `next`. The returned handler records each removal. The record lacks the run and the step, because a
// server does not know the run and the step of a request.
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

// WriteHeader stores the status, and passes it on.
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

// The method `removal` returns the object that a request removes. The result `deletes` is false if the request removes no object.
// The path of the request shows the kind and the id of the object.
func (r *Recorder) removal(req *http.Request) (gone Removal, deletes bool) {
	if req.Method != http.MethodDelete {
		return gone, false
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	n := len(parts)
	switch {
	case n >= 6 && parts[n-6] == "projects" && parts[n-2] == "roles":
		gone.Kind, gone.ID = "role-assignment", parts[n-5]+"/"+parts[n-3]+"/"+parts[n-1]
	case n >= 7 && parts[n-7] == "tenants" && parts[n-2] == "OS-KSADM": // Identity v2.0
		gone.Kind, gone.ID = "role-assignment", parts[n-6]+"/"+parts[n-4]+"/"+parts[n-1]
	case n >= 2 && (parts[n-2] == "projects" || parts[n-2] == "tenants"):
		gone.Kind, gone.ID = "project", parts[n-1]
		gone.Tags = r.Tags(gone.ID)
	case n >= 2 && parts[n-2] == "customers":
		gone.Kind, gone.ID = "customer", parts[n-1]
	case n >= 2 && parts[n-2] == "subscriptions":
		gone.Kind, gone.ID = "subscription", parts[n-1]
	default: // the request removes a tag or a token, and these are not objects of runs
		return gone, false
	}
	gone.At = r.Now()
	return gone, true
}
