package service

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestAnAuditLeavesTheCollectorAsItWas(t *testing.T) {
	percent, limit := debug.SetGCPercent(400), debug.SetMemoryLimit(160<<20)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()
	for _, c := range []struct {
		gogc, gomemlimit string
		percent          int
		limit            int64
	}{
		{"", "", 50, math.MaxInt64},
		{"400", "", 400, math.MaxInt64},
		{"", "160MiB", 50, 160 << 20},
	} {
		t.Setenv("GOGC", c.gogc)
		t.Setenv("GOMEMLIMIT", c.gomemlimit)
		restore := collectOften()
		during := debug.SetGCPercent(c.percent)
		if got := debug.SetMemoryLimit(-1); during != c.percent || got != c.limit {
			t.Errorf("GOGC=%s GOMEMLIMIT=%s: during an audit, the percentage is %d and the limit %d; want %d and %d",
				c.gogc, c.gomemlimit, during, got, c.percent, c.limit)
		}
		restore()
		if after, got := debug.SetGCPercent(400), debug.SetMemoryLimit(-1); after != 400 || got != 160<<20 {
			t.Errorf("GOGC=%s GOMEMLIMIT=%s: after the audit, the percentage is %d and the limit %d; want 400 and %d",
				c.gogc, c.gomemlimit, after, got, 160<<20)
		}
	}
}
