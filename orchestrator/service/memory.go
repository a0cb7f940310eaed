package service

import (
	"math"
	"os"
	"runtime/debug"
)

// collectOften makes Go's garbage collector run whenever the heap has grown by half, and lifts the limit of the memory, until the returned
// function is called. An audit keeps a whole cloud in memory, about 3 KiB for each tenant. With the settings of `tenantry serve`, the heap
// would grow to five times of that if the cloud is small; and the collector would run all the time if the cloud needs more than the limit.
// The variables GOGC and GOMEMLIMIT override this, as they override the settings of `tenantry serve`.
func collectOften() (restore func()) {
	percent, limit := -2, int64(-1)
	if os.Getenv("GOGC") == "" {
		percent = debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		limit = debug.SetMemoryLimit(math.MaxInt64)
	}
	return func() {
		if percent != -2 {
			debug.SetGCPercent(percent)
		}
		debug.SetMemoryLimit(limit) // a negative limit changes nothing
	}
}
