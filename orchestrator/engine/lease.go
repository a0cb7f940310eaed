package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// lease is this replica's time-limited right to execute runs. Its context ends a margin before the end of the last confirmed lease,
// so that calls have ended before another replica can claim their runs.
type lease struct {
	length time.Duration
	clock  *Clock
	ctx    context.Context //nolint:containedctx // the lease is a context that can be extended
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	until time.Time // by the local clock, less the margin
	stop  func()    // the timer
}

// margin is how long before its end a lease is not relied on any more: 2 s of the default 10 s. It covers the errors of two
// replicas about the database's time, each of at most half the margin.
func margin(length time.Duration) time.Duration { return length / 5 }

// newLease starts a lease that was requested at the local time asked.
func newLease(length time.Duration, clock *Clock, asked time.Time) *lease {
	l := &lease{length: length, clock: clock, stop: func() {}}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.prolong(asked)
	return l
}

// prolong extends the lease: a renewal that was requested at the local time asked is confirmed.
func (l *lease) prolong(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = asked.Add(l.length - margin(l.length))
	l.stop()
	l.stop = l.clock.AfterFunc(l.until.Sub(l.clock.local()), l.end)
}

// check returns ErrLeaseLost if the lease is over. It is called just before a request is written.
func (l *lease) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil || !l.clock.local().Before(l.until) {
		return saga.ErrLeaseLost
	}
	return nil
}

// end is called when the lease may be over; it may have been prolonged while the timer fired.
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

// drop ends the lease now.
func (l *lease) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	l.cancel(saga.ErrLeaseLost)
}
