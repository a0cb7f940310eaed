package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// lease is this replica's time-limited right to execute runs. The lease's context ends earlier than the confirmed lease, by a
// margin. So calls end before another replica can claim their runs.
type lease struct {
	length time.Duration
	clock  *Clock
	ctx    context.Context //nolint:containedctx // a lease is a context whose deadline can be extended
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	until time.Time // end of the lease by the local clock, less the margin
	stop  func()    // stops the timer
}

// margin returns the length of the last part of a lease, which a replica does not use. The default lease of 10 s has a margin of 2
// s. The margin covers the clock errors of two replicas. Each replica's error about the database's time is at most half the margin.
func margin(length time.Duration) time.Duration { return length / 5 }

// newLease starts a lease. asked is the local time at which the lease was requested.
func newLease(length time.Duration, clock *Clock, asked time.Time) *lease {
	l := &lease{length: length, clock: clock, stop: func() {}}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.prolong(asked)
	return l
}

// prolong extends the lease after a confirmed renewal. asked is the local time at which the renewal was requested.
func (l *lease) prolong(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = asked.Add(l.length - margin(l.length))
	l.stop()
	l.stop = l.clock.AfterFunc(l.until.Sub(l.clock.local()), l.end)
}

// check returns ErrLeaseLost if the lease is over. The transport calls check just before it writes a request.
func (l *lease) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil || !l.clock.local().Before(l.until) {
		return saga.ErrLeaseLost
	}
	return nil
}

// end ends the lease when the timer fires, unless the lease was extended meanwhile.
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
