package engine

import (
	"context"
	"sync/atomic"
	"time"
)

// Clock provides the times and timers of an engine. With PostgreSQL, its time is the database's time as last read, plus the local
// monotonic time since then. So replicas agree on leases and due times, even if their own clocks differ or are changed while they
// run.
type Clock struct {
	// AfterFunc calls f once after d, unless stop is called before. The default is time.AfterFunc; a simulation sets its own.
	AfterFunc func(d time.Duration, f func()) (stop func())
	// Yield, if set, is called where the order of goroutines is left to chance. A simulation waits until all goroutines are idle,
	// and then lets the callers of Yield continue one by one.
	Yield func(who string)

	local func() time.Time
	heard atomic.Pointer[reading]
}

// reading is one moment on both clocks.
type reading struct{ local, database time.Time }

// NewClock returns a clock based on a local one: time.Now, or a stepped clock in tests.
func NewClock(local func() time.Time) *Clock {
	return &Clock{local: local, AfterFunc: func(d time.Duration, f func()) func() {
		timer := time.AfterFunc(d, f)
		return func() { timer.Stop() }
	}}
}

// Now returns the database's time, or the local time until that is known, in UTC and in whole microseconds.
func (c *Clock) Now() time.Time {
	now := c.local()
	if h := c.heard.Load(); h != nil {
		now = h.database.Add(now.Sub(h.local)) // Sub uses the monotonic clock if both times have its reading
	}
	return now.UTC().Truncate(time.Microsecond)
}

// after returns a channel that is closed after d, unless stop is called before.
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

// set takes the database's time, which was read between the local times before and after. It returns false, and changes nothing, if
// these differ by more than within. A time that this reading allows is kept, so that a slow answer does not make an exact time less
// exact, and a replica's time does not run backwards. Any other time is replaced by the middle of what the reading allows.
func (c *Clock) set(before, after, database time.Time, within time.Duration) bool {
	took := after.Sub(before)
	if database.IsZero() { // the database uses this machine's clock
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
