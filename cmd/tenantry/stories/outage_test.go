package stories_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/store/storetest"
)

// Keystone goes down during a run. The run then waits for Keystone. Meanwhile, the service answers orders with status 503 and the
// header Retry-After, and /readyz answers that the service is degraded. When Keystone is up again, the run succeeds without an
// operator.
func TestAKeystoneThatIsOutOfOrderIsWaitedFor(t *testing.T) {
	t.Parallel()
	var reached, down atomic.Bool
	var asked atomic.Int64 // number of requests that Keystone gets while it is down
	in := &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && r.URL.Path == "/v3/projects" && !reached.Swap(true) {
			down.Store(true)
		}
		if down.Load() {
			asked.Add(1)
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	}}
	s := newSite(t, storetest.PostgreSQL(t), memoryCloud(t, in), &upstream{})
	r := s.serve()
	a, err := s.subscribe(r.url, "before", s.newToken(), "Prefer", "respond-async")
	s.ok(err)
	var begun run
	s.unmarshal(a.body, &begun)

	s.eventually("the run waits for Keystone", func() bool {
		a, err := s.get(r.url, "/v1/runs/"+begun.ID)
		s.ok(err)
		var shown struct {
			State  string
			Reason struct {
				Kind  string
				FixBy string `json:"fix_by"`
			}
		}
		s.unmarshal(a.body, &shown)
		return shown.State == "waiting" && shown.Reason.Kind == "upstream" && shown.Reason.FixBy == "administrator"
	})
	token := s.newToken()
	s.eventually("Keystone's circuit is open", func() bool {
		a, err := s.subscribe(r.url, uuid.NewString(), token)
		s.ok(err)
		var problem struct{ Type string }
		if json.Unmarshal(a.body, &problem) != nil || a.status != http.StatusServiceUnavailable || problem.Type != "/problems/upstream-unavailable" {
			t.Fatalf("an order is answered %d %s", a.status, a.body)
		}
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 || after > 60 {
			t.Fatalf("Retry-After: %q", a.header.Get("Retry-After"))
		}
		ready, err := s.get(r.url, "/readyz")
		s.ok(err)
		return ready.status == http.StatusOK && strings.Contains(string(ready.body), `"status":"degraded"`)
	})
	before := asked.Load()
	for range 20 {
		if a, err := s.subscribe(r.url, uuid.NewString(), token); err != nil || a.status != http.StatusServiceUnavailable {
			t.Fatalf("an order is answered %d %s (%v)", a.status, a.body, err)
		}
	}
	if more := asked.Load() - before; more > 3 { // the circuit breaker sends one or two trial requests, and possibly a login
		t.Errorf("Keystone got %d requests for twenty orders while it was down", more)
	}

	down.Store(false)
	s.until(r.url, begun.ID, "succeeded")
	if got := s.insist(r.url, s.portal(order{key: "after", token: token})); got.Status != http.StatusCreated {
		t.Errorf("an order is answered %d %s", got.Status, got.Body)
	}
	s.eventually("it is ready again", func() bool {
		ready, err := s.get(r.url, "/readyz")
		s.ok(err)
		return ready.status == http.StatusOK && strings.Contains(string(ready.body), `"ready":true,"status":"ok"`)
	})
}

// The method `eventually` repeats a check until its result is true.
func (s *site) eventually(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("this did not happen: %s: %s", what, s.log.read())
		}
	}
}
