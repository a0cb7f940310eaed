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
	// The limit of waiting requests is waitingPerAdmission times the limit of concurrent admissions. A waiting request needs only
	// memory.
	waitingPerAdmission = 4
)

// places limits the number of concurrent operations. The capacity of the channel is the limit.
type places chan struct{}

// take reserves a place, and reports whether a place was free. The returned function leave frees the place; further calls of leave
// do nothing.
func (p places) take() (leave func(), ok bool) {
	select {
	case p <- struct{}{}:
		return sync.OnceFunc(func() { <-p }), true
	default:
		return func() {}, false
	}
}

// contextAdmitted is a key in Echo's context. Its value is a function that frees the place of the order.
const contextAdmitted = "admitted"

// boundAdmission refuses an order if too many orders are being admitted. The order is refused before its body is read.
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

// admitted frees the place that an order holds during its admission. An order must free its place before it waits for its run.
func admitted(c echo.Context) {
	if leave, ok := c.Get(contextAdmitted).(func()); ok {
		leave()
	}
}

// endsIn estimates the time until a run has ended. An estimate is at least a second and at most a minute. If run is nil, the
// estimate is for a run that is accepted now. If no run has ended yet, no estimate is possible, and endsIn returns its second
// argument.
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

// enter adds an order to the merchant's count, and returns the previous count. The returned function leave subtracts the order
// again.
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

// livePolicy names the limit of live runs in the headers RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10).
const livePolicy = "live-runs"

// withinQuota refuses an order if its merchant has too many live runs. Below the limit, withinQuota sets the header RateLimit to
// the number of further orders that are allowed. Call the returned function leave when the run is stored or the order is refused. A
// single replica never exceeds the limit. Several replicas may exceed the limit if they accept orders of the merchant at the same
// moment.
func (s *server) withinQuota(c echo.Context, m merchants.Merchant) (leave func(), err error) {
	limit := cmp.Or(m.MaxLiveRuns, s.MaxLiveRuns)
	// Count the orders first and the live runs second: a run that is stored between the two counts is then counted twice, and never
	// missed.
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
