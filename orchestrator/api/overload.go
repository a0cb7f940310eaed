package api

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/share"
)

const (
	defaultAdmissions = 384 // no merchant uses more than 288 of these
	// waitingPerAdmission is the ratio of two limits: the limit of waiting requests to the limit of concurrent admissions. Waiting
	// requests need only memory.
	waitingPerAdmission = 4
	maxBodies           = 64 << 20 // maximum number of bytes of the bodies of all requests in progress
	maxValidations      = 8        // concurrent checks of operators' tokens
	maxStreams          = 512      // concurrent streams of events
)

// The type `shares` is a limit that is divided among callers, and whose errors are problems.
type shares struct{ share.Limit }

func sharesOf(units int) shares { return shares{share.Limit{Units: units}} }

// The method `take` reserves n units for a caller, as share.Limit specifies. If n units are too many, `take` returns a problem.
func (s *shares) take(caller string, n int) (leave func(), refused *problemError) {
	leave, err := s.Take(caller, n)
	switch {
	case errors.Is(err, share.ErrFull):
		refused = refuse(overloaded, "the service has too many requests under way")
	case err != nil:
		refused = refuse(tooManyRequests, "you have too many requests under way")
	}
	return leave, refused
}

// Context keys of requests with a body.
const (
	contextBody     = "body"
	contextAdmitted = "admitted" // the function that frees the request's place and the request's share of maxBodies
)

// The method `admit` reads the body of a request, and then reserves one of the places for concurrent requests. If all places are
// taken, or if the caller has too many places, `admit` refuses the request. While the body is being read, the request holds no
// place. Therefore slow callers do not use up the places.
func (s *server) admit(o operation) echo.MiddlewareFunc {
	read, limit := readBody, int64(maxBody)
	if raw := o.rawBody(); raw > 0 {
		read, limit = func(c echo.Context) (jsontext.Value, error) { return readRaw(c, raw) }, raw
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			who, size := callerOf(c).name(), limit
			if n := c.Request().ContentLength; n >= 0 {
				size = min(n, limit)
			}
			leaveBody, refused := s.bodies.take(who, int(size))
			defer leaveBody()
			if refused != nil {
				return s.later(refused)
			}
			body, err := read(c)
			if err != nil {
				return err
			}
			leavePlace, refused := s.admissions.take(who, 1)
			defer leavePlace()
			if refused != nil {
				return s.later(refused)
			}
			c.Set(contextBody, body)
			c.Set(contextAdmitted, func() { leavePlace(); leaveBody() })
			return next(c)
		}
	}
}

// The method `later` sets the Retry-After of a problem: the time after which the caller should repeat the request.
func (s *server) later(refused *problemError) error {
	refused.retryAfter = s.endsIn(nil, defaultRetry)
	return refused
}

// bodyOf returns the body of a request in its canonical form.
func bodyOf(c echo.Context) jsontext.Value {
	body, _ := c.Get(contextBody).(jsontext.Value)
	return body
}

// The function `admitted` frees the place of a request, and the request's share of maxBodies. Call `admitted` before the request
// waits for its run.
func admitted(c echo.Context) {
	if leave, ok := c.Get(contextAdmitted).(func()); ok {
		leave()
	}
}

// endsIn estimates the time until a run ends. An estimate is at least a second and at most a minute. If run is nil, the estimate
// is for a run that is accepted now. If no run has ended yet, no estimate is possible, and endsIn returns the parameter
// `unmeasured`.
func (s *server) endsIn(run *saga.Run, unmeasured time.Duration) time.Duration {
	in, ok := s.Runs.EndsIn(run)
	if !ok {
		return unmeasured
	}
	return min(max(in, time.Second), time.Minute)
}

// The type `quotas` counts, for each merchant, the orders that are being admitted.
type quotas struct {
	mu     sync.Mutex
	orders map[string]int
}

// The method `enter` adds an order to the merchant's count, and returns the previous count. The returned function `leave` subtracts
// the order again.
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
// the number of further orders that are allowed. Call the returned function `leave` when the run is stored or the order is refused.
// A single replica never exceeds the limit. Several replicas may exceed the limit if they accept orders of the merchant at the same
// moment.
func (s *server) withinQuota(c echo.Context, m merchants.Merchant) (leave func(), err error) {
	limit := cmp.Or(m.MaxLiveRuns, s.MaxLiveRuns)
	// Count the orders before the live runs. If a run is stored between the two counts, the run is then counted twice. If the live runs
	// were counted first, the run might not be counted at all.
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
