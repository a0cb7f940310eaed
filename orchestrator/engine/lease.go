package engine

import (
	"context"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// lease is the right of this replica to work, for a while. Its context ends a margin before the end of the last
// confirmed lease, so that what is under way is over before another replica can take it.
type lease struct {
	length time.Duration
	clock  *Clock
	ctx    context.Context //nolint:containedctx // the lease is a context that is prolonged: it has no other caller
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	until time.Time // by the local clock, margin taken off
	stop  func()    // the timer
}

// margin is how long before its end a lease is not relied on any more: 2 s of the usual 10. It covers what two replicas
// may be wrong about the database's time, each by half of it.
func margin(length time.Duration) time.Duration { return length / 5 }

// newLease starts a lease that was asked for at the local time asked.
func newLease(length time.Duration, clock *Clock, asked time.Time) *lease {
	l := &lease{length: length, clock: clock, stop: func() {}}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.prolong(asked)
	return l
}

// prolong notes that a renewal asked for at the local time asked was confirmed.
func (l *lease) prolong(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = asked.Add(l.length - margin(l.length))
	l.stop()
	l.stop = l.clock.AfterFunc(l.until.Sub(l.clock.local()), l.end)
}

// check is asked just before a request is written.
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
