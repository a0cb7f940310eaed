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
	restorePercent, restoreLimit := func() {}, func() {}
	if os.Getenv("GOGC") == "" {
		before := debug.SetGCPercent(50)
		restorePercent = func() { debug.SetGCPercent(before) }
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		before := debug.SetMemoryLimit(math.MaxInt64)
		restoreLimit = func() { debug.SetMemoryLimit(before) }
	}
	return func() { restoreLimit(); restorePercent() }
}
