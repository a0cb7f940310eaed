package api

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

const (
	defaultAdmissions = 256
	// waitingPerAdmission is how many requests may wait for their runs, for each order that may be admitted at once. Waiting
	// requests cost only memory.
	waitingPerAdmission = 4
)

// places limits what happens at once. Its capacity is the limit.
type places chan struct{}

// take takes a place if one is free. leave frees it; further calls of leave do nothing.
func (p places) take() (leave func(), ok bool) {
	select {
	case p <- struct{}{}:
		return sync.OnceFunc(func() { <-p }), true
	default:
		return func() {}, false
	}
}

// contextAdmitted is the key of the function that ends an order's admission.
const contextAdmitted = "admitted"

// boundAdmission refuses an order, before its body is read, if too many orders are being admitted.
func (s *server) boundAdmission(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		leave, ok := s.admissions.take()
		if !ok {
			return &problemError{
				kind: overloaded, detail: "too many orders are being accepted at once", retryAfter: s.endsIn(nil, defaultRetry),
			}
		}
		defer leave()
		c.Set(contextAdmitted, leave)
		return next(c)
	}
}

// admitted ends the admission of an order, which now only waits for its run.
func admitted(c echo.Context) {
	if leave, ok := c.Get(contextAdmitted).(func()); ok {
		leave()
	}
}

// endsIn estimates the time until a run has ended, from a second to a minute; nil means a run that is accepted now. Before any run
// has ended there is no estimate, and it returns unmeasured.
func (s *server) endsIn(run *saga.Run, unmeasured time.Duration) time.Duration {
	in, ok := s.Runs.EndsIn(run)
	if !ok {
		return unmeasured
	}
	return min(max(in, time.Second), time.Minute)
}

// quotas count the orders of each merchant that are being admitted.
type quotas struct {
	mu     sync.Mutex
	orders map[string]int
}

// enter counts an order until leave is called, and returns how many orders of the merchant were counted before.
func (q *quotas) enter(merchant string) (before int, leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.orders == nil {
		q.orders = map[string]int{}
	}
	before = q.orders[merchant]
	q.orders[merchant]++
	return before, sync.OnceFunc(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.orders[merchant]--; q.orders[merchant] == 0 {
			delete(q.orders, merchant)
		}
	})
}

// livePolicy is the name of the limit in RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10).
const livePolicy = "live-runs"

// withinQuota refuses an order of a merchant that has too many live runs. Otherwise it sets in the headers how many more orders are
// allowed. leave must be called when the run is stored or refused. One replica never exceeds the limit; replicas that accept orders
// at the same moment may exceed it together.
func (s *server) withinQuota(c echo.Context, m merchants.Merchant) (leave func(), err error) {
	limit := cmp.Or(m.MaxLiveRuns, s.MaxLiveRuns)
	before, leave := s.quotas.enter(m.ID) // counted before the live runs: a run stored in between is counted twice rather than not at all
	live, err := s.Runs.LiveRuns(c.Request().Context(), m.ID)
	if err != nil {
		leave()
		return nil, err
	}
	h := c.Response().Header()
	h.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;qu="concurrent-requests"`, livePolicy, limit))
	if left := limit - live - before; left > 0 {
		h.Set("RateLimit", fmt.Sprintf(`"%s";r=%d`, livePolicy, left-1))
		return leave, nil
	}
	leave()
	after := s.endsIn(nil, defaultRetry)
	h.Set("RateLimit", fmt.Sprintf(`"%s";r=0;t=%s`, livePolicy, seconds(after)))
	return nil, &problemError{
		kind: quotaExceeded, detail: fmt.Sprintf("the merchant may have %d live runs", limit), retryAfter: after,
		policy: livePolicy,
	}
}
