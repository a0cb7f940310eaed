package saga

import (
	"sync/atomic"
	"time"
)

// Clock is where every time comes from. With PostgreSQL it is the local monotonic clock plus the offset to the
// database's, so that replicas whose own clocks differ agree on leases and due times.
type Clock struct {
	local  func() time.Time
	offset atomic.Int64 // nanoseconds
}

// NewClock starts from a local clock: time.Now, or a stepped one in tests.
func NewClock(local func() time.Time) *Clock { return &Clock{local: local} }

// Now is the database's time as far as it is known.
func (c *Clock) Now() time.Time {
	return c.local().Add(time.Duration(c.offset.Load())).UTC().Truncate(time.Microsecond)
}

// set learns the database's time: it was read between two local times.
func (c *Clock) set(before, after, database time.Time) {
	if database.IsZero() {
		return
	}
	middle := before.Add(after.Sub(before) / 2)
	c.offset.Store(int64(database.Sub(middle)))
}
