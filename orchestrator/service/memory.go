package service

import (
	"math"
	"os"
	"runtime/debug"
)

// collectOften changes the settings of Go's garbage collector until the returned function is called. The collector then runs whenever the
// heap has grown by half, and there is no memory limit. Audits need these settings, because an audit keeps a whole cloud in memory,
// about 3 KiB for each tenant. For a small cloud, the settings of `tenantry serve` would let the heap grow to five times the size of this data.
// If a cloud needed more memory than the limit, the collector would run all the time. The variables GOGC and GOMEMLIMIT override
// collectOften and the settings of `tenantry serve`.
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
