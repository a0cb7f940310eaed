package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `lease` is this replica's time-limited right to execute runs. The lease's context ends earlier than the lease in the database:
// see the function `margin`. Therefore calls end before another replica can take their runs.
type lease struct {
	length time.Duration
	clock  *Clock
	ctx    context.Context //nolint:containedctx // a lease is a context whose deadline can be extended
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	until time.Time // local time at which the lease ends, minus the margin
	stop  func()    // stops the timer
}

// The function `margin` returns the time between the moment when a replica stops using a lease and the end of the lease: 2 s for
// the default lease of 10 s. The margin covers the clock errors of two replicas, because each replica knows the database's time
// with an error of at most half the margin.
func margin(length time.Duration) time.Duration { return length / 5 }

// newLease starts a lease. The parameter `asked` is the local time at which the lease was requested.
func newLease(length time.Duration, clock *Clock, asked time.Time) *lease {
	l := &lease{length: length, clock: clock, stop: func() {}}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.prolong(asked)
	return l
}

// The method `prolong` extends the lease after the database has confirmed a renewal. The parameter `asked` is the local time at
// which the renewal was requested.
func (l *lease) prolong(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = asked.Add(l.length - margin(l.length))
	l.stop()
	l.stop = l.clock.AfterFunc(l.until.Sub(l.clock.local()), l.end)
}

// The method `check` returns ErrLeaseLost if the lease is over. The transport calls `check` just before the transport writes a
// request.
func (l *lease) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil || !l.clock.local().Before(l.until) {
		return saga.ErrLeaseLost
	}
	return nil
}

// The method `end` ends the lease when the timer fires. If the lease was extended meanwhile, `end` starts the timer again.
func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := l.until.Sub(l.clock.local()); left > 0 {
		l.stop()
		l.stop = l.clock.AfterFunc(left, l.end)
		return
	}
	l.cancel(saga.ErrLeaseLost)
}

// The method `drop` ends the lease now.
func (l *lease) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	l.cancel(saga.ErrLeaseLost)
}
