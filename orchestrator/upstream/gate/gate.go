// Package gate controls the requests to an upstream. A gate limits the requests in flight, serves merchants round-robin, opens a
// circuit when the upstream is down, and stops the requests of a replica that has lost its lease.
package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

const (
	tripsAfter = 5 // the default of Gates.TripsAfter
	// restTime is the interval between trials while the circuit is open. During a wait of this length, an executor releases the
	// waiting run, and can execute other runs.
	restTime = 10 * time.Second
	// maxRest is the longest interval between trials while the upstream refuses Tenantry's login. The interval doubles with each
	// refused trial, because the upstream may count refused logins and lock the user.
	maxRest = time.Minute
	// The constant `patience` is the time in which a working upstream answers. If the caller's time limit ends a call earlier, the
	// call shows nothing about the upstream, because the call may have spent its time in the queue.
	patience = 10 * time.Second
)

// Gate controls the requests to one upstream.
type Gate struct {
	name    string
	queue   *fairQueue
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu     sync.Mutex
	opened time.Time   // time at which the circuit was opened
	until  time.Time   // time of the next trial, if the circuit is open
	timer  *time.Timer // timer for the next trial
	fault  error       // cause of the last failed call
	trips  bool        // a login was refused: the circuit opens at once
	rests  int         // number of trials that were scheduled after refused logins; reset to 0 when the circuit closes
	trial  func(context.Context) error
}

func newGate(name string, connections int, tripsAfter uint32) *Gate {
	g := &Gate{name: name, queue: newFairQueue(connections), trial: func(context.Context) error { return nil }}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Timeout: restTime,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripsAfter || g.mustTrip() },
		IsExcluded:    func(err error) bool { return errors.Is(err, errSaysNothing) },
		OnStateChange: func(_ string, from, to gobreaker.State) { g.changed(from, to) },
	})
	return g
}

// TryBy sets the health check of the upstream. While the circuit is open, the health check is called every restTime. If the
// upstream refuses Tenantry's login, the interval grows up to maxRest. If the upstream answers the health check, the circuit
// closes. The error that the health check returns is ignored, because the gate itself sees the answer. TryBy must be called before
// the gate is used: without a health check, an open circuit stays open.
func (g *Gate) TryBy(trial func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trial = trial
}

// Enter waits for the call's turn. Enter returns an [upstream.NotSentError] if the circuit is open, or if ctx ends during the wait.
// Enter takes the call's merchant from [upstream.CallerOf].
//
// When the call is over, the caller must call the function `leave` with the status of the answer, or with the error if there was no
// answer. If the upstream refused Tenantry's login, the error must be an [upstream.RefusedLoginError]. The circuit then opens at
// once, and only the health check logs in again. Further calls of `leave` do nothing.
func (g *Gate) Enter(ctx context.Context) (leave func(status int, err error), err error) {
	if err := g.queue.enter(ctx, upstream.CallerOf(ctx).Merchant); err != nil {
		return nil, &upstream.NotSentError{Err: fmt.Errorf("waiting for a connection to %s: %w", g.name, err)}
	}
	if g.Open() && ctx.Value(trialKey{}) != g {
		g.queue.leave()
		return nil, g.openError()
	}
	done, err := g.breaker.Allow()
	if err != nil { // the circuit has just opened
		g.queue.leave()
		return nil, g.openError()
	}
	began := time.Now()
	var once sync.Once
	return func(status int, err error) {
		once.Do(func() {
			shown := health(ctx, time.Since(began), status, err)
			if shown != nil && !errors.Is(shown, errSaysNothing) {
				g.failed(status, err)
			}
			done(shown)
			g.queue.leave()
		})
	}, nil
}

// The method `failed` records the cause of a failed call. While the circuit is open, the error of each refused call contains this
// cause. Refused calls can belong to other merchants. The cause must therefore not contain the text of the failed call's error,
// because this text names objects.
func (g *Gate) failed(status int, err error) {
	fault := fmt.Errorf("it answered %d %s", status, http.StatusText(status))
	refused := upstream.RefusedLogin(err)
	switch {
	case refused != nil:
		fault = refused
	case err != nil:
		fault = errors.New(cmp.Or(upstream.Cause(err), "the connection failed"))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault, g.trips = fault, g.trips || refused != nil
}

func (g *Gate) mustTrip() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.trips
}

// Open reports whether the circuit is open. While the circuit is open, only trials pass.
func (g *Gate) Open() bool { return g.breaker.State() != gobreaker.StateClosed }

// Circuit is the state of an upstream's circuit.
type Circuit struct {
	Upstream string
	Open     bool
	Since    time.Time // when the circuit was opened; zero: the circuit is closed
	Trial    time.Time // when the next trial is made; zero: the circuit is closed
	Cause    string    // why the circuit is open; contains no secret, and names no objects
}

func (g *Gate) circuit() Circuit {
	open := g.Open()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !open || g.fault == nil {
		return Circuit{Upstream: g.name, Open: open}
	}
	return Circuit{Upstream: g.name, Open: true, Since: g.opened, Trial: g.until, Cause: g.fault.Error()}
}

// Failing reports whether the circuit is open, or the last call has failed. Calls that show nothing about the upstream do not count: see
// the function `health`.
func (g *Gate) Failing() bool { return g.Open() || g.breaker.Counts().ConsecutiveFailures > 0 }

// The method `changed` handles a change of the circuit's state. The breaker calls `changed` and mustTrip while the breaker's lock
// is held. These methods must therefore not call the breaker.
func (g *Gate) changed(from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.trips, g.rests = false, 0
	case from == gobreaker.StateClosed:
		g.mu.Lock()
		g.opened = time.Now()
		g.mu.Unlock()
		g.rest()
	}
}

// The method `rest` schedules the next trial. If a trial is scheduled already, the new time replaces the old time.
func (g *Gate) rest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	wait := restTime
	if upstream.RefusedLogin(g.fault) != nil {
		wait = min(restTime<<min(g.rests, 8), maxRest)
		g.rests++
	}
	g.until = time.Now().Add(wait)
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(wait+time.Millisecond, g.try) // the breaker refuses a trial at the exact end of its timeout
}

type trialKey struct{}

// The method `try` makes a trial. If the circuit is still open after the trial, `try` schedules the next trial.
func (g *Gate) try() {
	g.mu.Lock()
	trial := g.trial
	g.mu.Unlock()
	_ = trial(context.WithValue(context.Background(), trialKey{}, g)) //nolint:errcheck // the gate has already seen the trial's answer
	if g.Open() {
		g.rest()
	}
}

func (g *Gate) openError() *upstream.NotSentError {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := time.Until(g.until)
	if left <= 0 { // a trial is in flight
		left = restTime
	}
	state := "is down and is tried again"
	if upstream.RefusedLogin(g.fault) != nil {
		state = "is tried again"
	}
	return &upstream.NotSentError{
		Circuit:    g.name,
		RetryAfter: min(left, restTime), // so that runs soon continue after an operator has corrected the password and restarted Tenantry
		Err:        fmt.Errorf("%s %s in %s: %w", g.name, state, left.Round(time.Second), g.fault),
	}
}

var (
	errDown        = errors.New("the upstream is down")
	errSaysNothing = errors.New("the call does not show whether the upstream works")
)

// The function `health` judges the upstream by the outcome of a call. The result is nil if the upstream works, errSaysNothing if
// the call shows nothing, and any other error if the upstream seems to be down or refuses Tenantry's login. A call shows nothing if
// it was cancelled, was not sent, or was ended by ctx before the time `patience` had passed. An answer with the status 502, 503 or
// 504 shows that the upstream is down. Any other answer shows that the upstream works. The argument `took` is the time since the
// call left the queue.
func health(ctx context.Context, took time.Duration, status int, err error) error {
	switch {
	case err != nil && upstream.NotSent(err):
		return errSaysNothing
	case err != nil && (errors.Is(ctx.Err(), context.Canceled) || ctx.Err() != nil && took < patience):
		return errSaysNothing
	case err != nil:
		return err
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return errDown
	}
	return nil
}
