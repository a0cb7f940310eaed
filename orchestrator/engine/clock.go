package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Clock provides the times and timers of an engine. With PostgreSQL, Now returns the database's time at the last reading plus the
// local monotonic time since that reading. Replicas therefore agree on leases and due times, even if their local clocks differ or
// are changed.
type Clock struct {
	// AfterFunc calls f when d has passed. If the returned function `stop` is called first, f is not called. The default is
	// time.AfterFunc. A simulation replaces AfterFunc.
	AfterFunc func(d time.Duration, f func()) (stop func())
	// Yield, if set, is called at each point at which goroutines may continue in any order. A simulation waits until all goroutines
	// are idle, and then lets the callers of Yield continue one by one.
	Yield func(who string)

	local func() time.Time
	heard atomic.Pointer[reading]
}

// The type `reading` contains the local time and the database's time of the same moment.
type reading struct{ local, database time.Time }

// NewClock returns a Clock based on the function `local`: time.Now or, in tests, a stepped clock.
func NewClock(local func() time.Time) *Clock {
	return &Clock{local: local, AfterFunc: func(d time.Duration, f func()) func() {
		timer := time.AfterFunc(d, f)
		return func() { timer.Stop() }
	}}
}

// Now returns the database's time in UTC, in whole microseconds. Until the database's time is known, Now returns the local time.
func (c *Clock) Now() time.Time {
	now := c.local()
	if h := c.heard.Load(); h != nil {
		now = h.database.Add(now.Sub(h.local)) // Sub uses the monotonic clock if both times have a monotonic reading
	}
	return now.UTC().Truncate(time.Microsecond)
}

// Read reads the database's time and adjusts the clock to it. If the database uses this machine's clock, the function `ask`
// returns the zero time.
func (c *Clock) Read(ctx context.Context, ask func(context.Context) (time.Time, error)) error {
	before := c.local()
	database, err := ask(ctx)
	if err != nil {
		return fmt.Errorf("reading the database's time: %w", err)
	}
	if !c.set(before, c.local(), database, maxReading) {
		return fmt.Errorf("the database took more than %s to return its time: check the database's load and the network to it", maxReading)
	}
	return nil
}

// maxReading is the maximum time between the query for the database's time and the answer. The clock's error is at most half of
// this time.
const maxReading = 10 * time.Second

// The method `after` returns a channel that is closed when d has passed. If the returned function `stop` is called first, the
// channel is not closed.
func (c *Clock) after(d time.Duration) (done <-chan struct{}, stop func()) {
	fired := make(chan struct{})
	return fired, c.AfterFunc(d, func() { close(fired) })
}

func (c *Clock) yield(who string) {
	if c.Yield != nil {
		c.Yield(who)
	}
}

// The method `pause` waits until d has passed or ctx ends.
func (c *Clock) pause(ctx context.Context, d time.Duration) {
	done, stop := c.after(d)
	defer stop()
	select {
	case <-ctx.Done():
	case <-done:
	}
}

// The method `set` adjusts the clock to the time that the database returned. The parameters `before` and `after` are the local
// times at which the query was sent and at which the answer arrived. If the query took longer than `within`, `set` changes nothing
// and returns false. Because the query took some time, the database's current time is known only as a range. If the clock is within
// this range, the clock may be exact, and `set` does not change it. If the clock is outside the range, `set` moves the clock to the
// middle of the range.
func (c *Clock) set(before, after, database time.Time, within time.Duration) bool {
	took := after.Sub(before)
	if database.IsZero() { // a zero time means that the database uses this machine's clock
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
