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
	// waitingPerAdmission is the number of requests that may wait for their runs, per order that may be admitted at once. Waiting
	// requests need only memory.
	waitingPerAdmission = 4
)

// places limits the number of concurrent operations. The capacity of the channel is the limit.
type places chan struct{}

// take reserves a place if a place is free. leave frees the place; further calls of leave do nothing.
func (p places) take() (leave func(), ok bool) {
	select {
	case p <- struct{}{}:
		return sync.OnceFunc(func() { <-p }), true
	default:
		return func() {}, false
	}
}

// contextAdmitted is the context key of the function that ends an order's admission.
const contextAdmitted = "admitted"

// boundAdmission refuses an order, before its body is read, if too many orders are being admitted.
func (s *server) boundAdmission(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		leave, ok := s.admissions.take()
		if !ok {
			return &problemError{
				kind: overloaded, detail: "the service is checking too many orders at once", retryAfter: s.endsIn(nil, defaultRetry),
			}
		}
		defer leave()
		c.Set(contextAdmitted, leave)
		return next(c)
	}
}

// admitted ends the admission of an order. After admission, an order only waits for its run.
func admitted(c echo.Context) {
	if leave, ok := c.Get(contextAdmitted).(func()); ok {
		leave()
	}
}

// endsIn estimates the time until a run has ended. An estimate is at least a second and at most a minute. If run is nil, the
// estimate is for a run that is accepted now. endsIn returns unmeasured if there is no estimate, because no run has ended yet.
func (s *server) endsIn(run *saga.Run, unmeasured time.Duration) time.Duration {
	in, ok := s.Runs.EndsIn(run)
	if !ok {
		return unmeasured
	}
	return min(max(in, time.Second), time.Minute)
}

// quotas count, for each merchant, the orders that are being admitted.
type quotas struct {
	mu     sync.Mutex
	orders map[string]int
}

// enter counts an order of a merchant until leave is called. before is the merchant's count without this order.
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

// livePolicy is the name of the limit of live runs in the headers RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10).
const livePolicy = "live-runs"

// withinQuota refuses an order of a merchant that has too many live runs. Below the limit, withinQuota sets the header RateLimit to
// the number of further orders that are allowed. Call leave when the run is stored or refused. A single replica never exceeds the
// limit. Replicas that accept orders at the same moment may together exceed the limit.
func (s *server) withinQuota(c echo.Context, m merchants.Merchant) (leave func(), err error) {
	limit := cmp.Or(m.MaxLiveRuns, s.MaxLiveRuns)
	// Orders are counted before live runs, so that a run stored between the two counts is counted twice and not missed.
	before, leave := s.quotas.enter(m.ID)
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
		kind: quotaExceeded, detail: fmt.Sprintf("the merchant has reached its limit of %d live runs", limit), retryAfter: after,
		policy: livePolicy,
	}
}
