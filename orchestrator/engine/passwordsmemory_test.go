package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// A password leaves the memory when its run has ended, and when its time has passed.
func TestAPasswordLeavesTheMemory(t *testing.T) {
	var p passwords
	now := time.Unix(1e9, 0)
	p.put("ended", "a", now, time.Minute)
	p.put("old", "b", now, time.Minute)
	p.put("young", "c", now, time.Hour)
	p.forget("ended")
	later := now.Add(time.Minute)
	for run, want := range map[string]error{"ended": saga.ErrNoPassword, "old": saga.ErrNoPassword, "young": nil, "unknown": saga.ErrNoPassword} {
		if _, err := p.of(run, later); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", run, err, want)
		}
	}
	p.sweep(later)
	if len(p.held) != 1 {
		t.Errorf("the memory has %d passwords, want 1", len(p.held))
	}
}
