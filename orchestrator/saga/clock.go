package saga

import (
	"sync/atomic"
	"time"
)

// Clock is where every time comes from. With PostgreSQL it is the database's time when that was last heard and the
// local monotonic clock since, so that replicas whose own clocks differ, or are set while they run, agree on leases and
// due times.
type Clock struct {
	local func() time.Time
	heard atomic.Pointer[reading]
}

// reading is one moment on both clocks.
type reading struct{ local, database time.Time }

// NewClock starts from a local clock: time.Now, or a stepped one in tests.
func NewClock(local func() time.Time) *Clock { return &Clock{local: local} }

// Now is the database's time as far as it is known.
func (c *Clock) Now() time.Time {
	now := c.local()
	if h := c.heard.Load(); h != nil {
		now = h.database.Add(now.Sub(h.local)) // Sub goes by the monotonic clock where both have its reading
	}
	return now.UTC().Truncate(time.Microsecond)
}

// set learns the database's time: it was read between two local times.
func (c *Clock) set(before, after, database time.Time) {
	if database.IsZero() {
		return
	}
	c.heard.Store(&reading{before.Add(after.Sub(before) / 2), database})
}
