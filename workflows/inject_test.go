package workflows_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// faults contains the faults that are injected into the calls of runs.
type faults struct {
	mu   sync.Mutex
	of   map[string]*fault          // by faultKey
	late map[string]*sync.WaitGroup // by run id: counts the requests that timed out and are not executed yet
}

// lateCall registers a request of a run that will be executed after its time-out. The caller must call the function done when the
// request is executed.
func (f *faults) lateCall(runID string) (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late[runID] == nil {
		f.late[runID] = &sync.WaitGroup{}
	}
	f.late[runID].Add(1)
	return f.late[runID].Done
}

// awaitLate waits until all late requests of a run are executed.
func (f *faults) awaitLate(runID string) {
	f.mu.Lock()
	late := f.late[runID]
	f.mu.Unlock()
	if late != nil {
		late.Wait()
	}
}

type fault struct {
	reads  string // the service whose reads the fault affects; if empty, the fault affects the writes of all services
	happen happening
	times  int
}

func (f *fault) meets(req *http.Request) bool {
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	service := "billing"
	if strings.Contains(req.URL.Path, "/v3/") {
		service = "keystone"
	}
	return f.times > 0 && (f.reads == "" && !read || read && f.reads == service)
}

func (f *faults) set(runID, step string, undo bool, times int, happen happening) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[faultKey(runID, step, undo)] = &fault{happen: happen, times: times}
}

// setReads injects the fault into a step's reads from one service.
func (f *faults) setReads(runID, step, service string, times int, happen happening) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[faultKey(runID, step, false)] = &fault{service, happen, times}
}

func (f *faults) lift(runID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.of {
		if strings.HasPrefix(key, runID) {
			delete(f.of, key)
		}
	}
}

func faultKey(runID, step string, undo bool) string { return fmt.Sprint(runID, " ", step, " ", undo) }

func (f *faults) around(next http.RoundTripper) http.RoundTripper { return faulty{f, next} }

type faulty struct {
	*faults
	next http.RoundTripper
}

func (f faulty) RoundTrip(req *http.Request) (*http.Response, error) {
	call := saga.CallOf(req.Context())
	login := strings.HasSuffix(req.URL.Path, "/auth/tokens") && call.Step != "scope-token"
	f.mu.Lock()
	fault := f.of[faultKey(call.RunID, call.Step, call.Undoes())]
	hit := fault != nil && !login && fault.meets(req)
	if hit {
		fault.times--
	}
	f.mu.Unlock()
	if !hit {
		return f.next.RoundTrip(req)
	}
	return fault.happen(f.next, req)
}
