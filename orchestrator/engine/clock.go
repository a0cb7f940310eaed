package engine

import (
	"context"
	"sync/atomic"
	"time"
)

// Clock is where every time and every timer of an engine comes from. With PostgreSQL its time is the database's when
// that was last heard and the local monotonic clock since, so that replicas whose own clocks differ, or are set while
// they run, agree on leases and due times.
type Clock struct {
	// AfterFunc calls f once, in d, unless stop is called before: time.AfterFunc. A simulation puts its own here.
	AfterFunc func(d time.Duration, f func()) (stop func())
	// Yield, if set, is called where it is left to chance who comes first: a simulation lets all others come to rest, and
	// then those who called it go on, one by one.
	Yield func(who string)

	local func() time.Time
	heard atomic.Pointer[reading]
}

// reading is one moment on both clocks.
type reading struct{ local, database time.Time }

// NewClock starts from a local clock: time.Now, or a stepped one in tests.
func NewClock(local func() time.Time) *Clock {
	return &Clock{local: local, AfterFunc: func(d time.Duration, f func()) func() {
		timer := time.AfterFunc(d, f)
		return func() { timer.Stop() }
	}}
}

// Now is the database's time as far as it is known.
func (c *Clock) Now() time.Time {
	now := c.local()
	if h := c.heard.Load(); h != nil {
		now = h.database.Add(now.Sub(h.local)) // Sub goes by the monotonic clock where both have its reading
	}
	return now.UTC().Truncate(time.Microsecond)
}

// after gives a channel that is closed in d, unless stop is called before.
func (c *Clock) after(d time.Duration) (done <-chan struct{}, stop func()) {
	fired := make(chan struct{})
	return fired, c.AfterFunc(d, func() { close(fired) })
}

func (c *Clock) yield(who string) {
	if c.Yield != nil {
		c.Yield(who)
	}
}

// pause waits for d, or until ctx ends.
func (c *Clock) pause(ctx context.Context, d time.Duration) {
	done, stop := c.after(d)
	defer stop()
	select {
	case <-ctx.Done():
	case <-done:
	}
}

// set learns the database's time, which was read between two local times. False: that took longer than within, and nothing is
// learnt. A time that is possible by this reading is kept: a slow answer must not make a time that a quick one gave less exact, and
// the time of a replica not run backwards. Any other is replaced by the middle of what is possible.
func (c *Clock) set(before, after, database time.Time, within time.Duration) bool {
	took := after.Sub(before)
	if database.IsZero() { // it is this machine's
		return true
	}
	if took > within {
		return false
	}
	if h := c.heard.Load(); h != nil {
		known := h.database.Add(after.Sub(h.local))
		if !known.Before(database) && !known.After(database.Add(took)) {
			return true
		}
	}
	c.heard.Store(&reading{before.Add(took / 2), database})
	return true
}
