package saga

import (
	"context"
	"sync"
	"time"
)

// lease is the right of this replica to work, for a while. Its context ends a margin before the end of the last
// confirmed lease, so that what is under way is over before another replica can take it.
type lease struct {
	length time.Duration
	local  func() time.Time
	ctx    context.Context //nolint:containedctx // the lease is a context that is prolonged: it has no other caller
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	until time.Time // by the local clock, margin taken off
	timer *time.Timer
}

// margin is how long before its end a lease is not relied on any more: 2 s of the usual 10.
func margin(length time.Duration) time.Duration { return length / 5 }

// newLease starts a lease that was asked for at the local time asked.
func newLease(length time.Duration, local func() time.Time, asked time.Time) *lease {
	l := &lease{length: length, local: local, until: asked.Add(length - margin(length))}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	l.timer = time.AfterFunc(l.until.Sub(local()), l.end)
	return l
}

// prolong notes that a renewal asked for at the local time asked was confirmed.
func (l *lease) prolong(asked time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = asked.Add(l.length - margin(l.length))
	l.timer.Reset(l.until.Sub(l.local()))
}

// check is asked just before a request is written.
func (l *lease) check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil || !l.local().Before(l.until) {
		return ErrLeaseLost
	}
	return nil
}

func (l *lease) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left := l.until.Sub(l.local()); left > 0 { // prolonged while the timer fired
		l.timer.Reset(left)
		return
	}
	l.cancel(ErrLeaseLost)
}

// drop ends the lease now.
func (l *lease) drop() {
	l.timer.Stop()
	l.cancel(ErrLeaseLost)
}
