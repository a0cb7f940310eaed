package workflows_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `faults` injects faults into the calls of runs.
type faults struct {
	mu   sync.Mutex
	of   map[string]*fault          // by faultKey
	late map[string]*sync.WaitGroup // by run id; waits for the requests that are executed after their time-out
	then map[string][]func()        // by run id; called when the faults of the run are removed
}

// whenLifted is for an undo whose fault also affects the next request. For such an undo, whenLifted returns true, and calls the
// function `then` when the faults of the run are removed. For all other calls, whenLifted does nothing and returns false.
func (f *faults) whenLifted(call *saga.Handle, then func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.of[faultKey(call.RunID, call.Step, true)]
	if !call.Undoes() || fault == nil || fault.times == 0 {
		return false
	}
	if f.then == nil {
		f.then = map[string][]func(){}
	}
	f.then[call.RunID] = append(f.then[call.RunID], then)
	return true
}

// lateCall registers a request of a run. The upstream executes this request after the request has timed out. The caller must call
// the function `done` when the request is executed.
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
	if toKeystone(req) {
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
	for _, then := range f.then[runID] {
		go then()
	}
	delete(f.then, runID)
}

func faultKey(runID, step string, undo bool) string { return fmt.Sprint(runID, " ", step, " ", undo) }

func (f *faults) around(next http.RoundTripper) http.RoundTripper { return faulty{f, next} }

type faulty struct {
	*faults
	next http.RoundTripper
}

func (f faulty) RoundTrip(req *http.Request) (*http.Response, error) {
	call := saga.CallOf(req.Context())
	// Most steps send a login only for Tenantry's own credential. The writes of the other two steps are logins of the user.
	login := strings.HasSuffix(req.URL.Path, "/auth/tokens") || strings.HasSuffix(req.URL.Path, "/v2.0/tokens")
	ofUser := call.Step == "scope-token" || call.Step == "log-in"
	f.mu.Lock()
	fault := f.of[faultKey(call.RunID, call.Step, call.Undoes())]
	hit := fault != nil && login == ofUser && fault.meets(req)
	if hit {
		fault.times--
	}
	f.mu.Unlock()
	if !hit {
		return f.next.RoundTrip(req)
	}
	return fault.happen(f.next, req)
}
