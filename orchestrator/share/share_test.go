package share_test

import (
	"errors"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/share"
)

// No caller has more than three quarters of the units, if it takes them in small parts, and all callers together have at most all units.
func TestCallersShareTheUnits(t *testing.T) {
	l := share.Limit{Units: 64}
	taken := 0
	fill := func(caller string) (n int, leave []func(), err error) {
		for {
			free, err := l.Take(caller, 1)
			if err != nil {
				return n, leave, err
			}
			n, leave = n+1, append(leave, free)
		}
	}
	n, leave, err := fill("a")
	if n != 48 || !errors.Is(err, share.ErrTooMany) {
		t.Errorf("the first caller has %d units, %v; want 48", n, err)
	}
	for _, caller := range []string{"b", "c", "d", "e", "f"} {
		n, _, err = fill(caller)
		taken += n
	}
	if taken != 16 || !errors.Is(err, share.ErrFull) {
		t.Errorf("the other callers have %d units, %v; want 16", taken, err)
	}
	for _, free := range leave {
		free()
		free() // does nothing
	}
	if _, err := l.Take("g", 48); err != nil {
		t.Errorf("after the first caller has freed its units: %v", err)
	}
	if _, err := l.Take("h", 1); !errors.Is(err, share.ErrFull) {
		t.Errorf("all units are in use, but another was given: %v", err)
	}
}
