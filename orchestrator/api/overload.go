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
	// waitingPerAdmission is how many requests may wait for their runs for each order that may be admitted: they cost
	// only memory.
	waitingPerAdmission = 4
)

// places are so many and no more.
type places chan struct{}

// take takes a place if one is free; leave gives it back, once.
func (p places) take() (leave func(), ok bool) {
	select {
	case p <- struct{}{}:
		return sync.OnceFunc(func() { <-p }), true
	default:
		return func() {}, false
	}
}

// contextAdmitted holds what ends an order's admission.
const contextAdmitted = "admitted"

// boundAdmission refuses what comes when too many orders are being admitted already, before anything is read.
func (s *server) boundAdmission(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		leave, ok := s.admissions.take()
		if !ok {
			return &problemError{
				kind: overloaded, detail: "too many orders are being accepted already", retryAfter: s.endsIn(nil, defaultRetry),
			}
		}
		defer leave()
		c.Set(contextAdmitted, leave)
		return next(c)
	}
}

// admitted ends the admission of an order: what is left is to wait for its run.
func admitted(c echo.Context) {
	if leave, ok := c.Get(contextAdmitted).(func()); ok {
		leave()
	}
}

// endsIn is in what time the run has ended at the measured pace, a second to a minute; nil is one that would be accepted
// now. Nobody knows before any has ended: then it is the given time.
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

// enter counts an order until leave, and tells how many of the merchant's there were before.
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

// withinQuota refuses an order of a merchant with too many live runs, and tells the others how many more may come. leave is
// called when the run is stored or refused. One replica never accepts more than the limit; orders that several accept at
// the same moment may get past it.
func (s *server) withinQuota(c echo.Context, m merchants.Merchant) (leave func(), err error) {
	limit := cmp.Or(m.MaxLiveRuns, s.MaxLiveRuns)
	before, leave := s.quotas.enter(m.ID) // before the runs: one that is stored meanwhile is counted twice, not left out
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
		kind: quotaExceeded, detail: fmt.Sprintf("%d runs of the merchant may be under way", limit), retryAfter: after,
		policy: livePolicy,
	}
}
