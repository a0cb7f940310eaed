// Package upstream stands in front of what Tenantry calls: so many calls at once and no more, merchants by turns, and
// none at all for a while to what is out of order.
package upstream

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

const (
	// tripsAfter is how many calls in a row must fail before an upstream counts as out of order.
	tripsAfter = 5
	// restTime is how long it is left alone then, before it is tried. More than the engine's executor waits with a run in
	// its hands, so that runs that are turned away make room for those whose upstream is well.
	restTime = 10 * time.Second
)

// Gate is the way to one upstream.
type Gate struct {
	name    string
	queue   *fairQueue
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu    sync.Mutex
	until time.Time // when one that is out of order is tried
	trial func(context.Context) error
}

func newGate(name string, connections int) *Gate {
	g := &Gate{name: name, queue: newFairQueue(connections), trial: func(context.Context) error { return nil }}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Timeout: restTime,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= tripsAfter },
		IsExcluded:    func(err error) bool { return errors.Is(err, errSaysNothing) },
		OnStateChange: func(_ string, from, _ gobreaker.State) { g.changed(from) },
	})
	return g
}

// TryBy says by which call, through this gate, it is found out whether the upstream is well again. It is made every
// restTime while the upstream is out of order, whether anybody wants something of it or not. What it returns does
// not matter: its answer is seen here. It must be said before the gate is used: without a trial nothing ends the rest.
func (g *Gate) TryBy(trial func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trial = trial
}

// Enter waits for the turn of a call and tells when it may be made, or why it may not: an OpenError, or what ended ctx
// before. Nothing was sent then, and the error says so by its method NotSent. Whose call it is, saga.CallOf(ctx) tells.
//
// leave must be called when the call is over, with the status of its answer or with what came instead of one. The second
// time it does nothing.
func (g *Gate) Enter(ctx context.Context) (leave func(status int, err error), err error) {
	if err := g.queue.enter(ctx, saga.CallOf(ctx).Merchant); err != nil {
		return nil, &waitError{g.name, err}
	}
	if g.Open() && ctx.Value(trialKey{}) != g {
		g.queue.leave()
		return nil, g.openError()
	}
	done, err := g.breaker.Allow()
	if err != nil { // it has just gone out of order
		g.queue.leave()
		return nil, g.openError()
	}
	var once sync.Once
	return func(status int, err error) {
		once.Do(func() {
			done(health(ctx, status, err))
			g.queue.leave()
		})
	}, nil
}

// Open tells whether the upstream is left alone at present, but for trials.
func (g *Gate) Open() bool { return g.breaker.State() != gobreaker.StateClosed }

// changed is called by the breaker, under its lock.
func (g *Gate) changed(from gobreaker.State) {
	if from == gobreaker.StateClosed {
		g.rest()
	}
}

// rest has the upstream tried later.
func (g *Gate) rest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Now().Add(restTime)
	time.AfterFunc(restTime+time.Millisecond, g.try) // the breaker lets a trial through after its time, not at it
}

type trialKey struct{}

// try makes trials until the upstream is well again.
func (g *Gate) try() {
	g.mu.Lock()
	trial := g.trial
	g.mu.Unlock()
	_ = trial(context.WithValue(context.Background(), trialKey{}, g)) //nolint:errcheck // leave has seen its answer
	if g.Open() {
		g.rest()
	}
}

func (g *Gate) openError() *OpenError {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := time.Until(g.until)
	if left <= 0 { // a trial is under way
		left = restTime
	}
	return &OpenError{name: g.name, retryAfter: left}
}

var (
	errOutOfOrder  = errors.New("out of order")
	errSaysNothing = errors.New("it says nothing about the upstream")
)

// health says what the end of a call tells of the upstream: nil where it works. The answer to one bad request says
// nothing against it; nor does a call that was given up.
func health(ctx context.Context, status int, err error) error {
	switch {
	case err != nil && (errors.Is(ctx.Err(), context.Canceled) || notSent(err)):
		return errSaysNothing
	case err != nil:
		return err
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return errOutOfOrder
	}
	return nil
}

func notSent(err error) bool {
	e, ok := errors.AsType[interface {
		error
		NotSent() bool
	}](err)
	return ok && e.NotSent()
}
