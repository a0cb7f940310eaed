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
	p.put("ended", "a", 0, now, time.Minute)
	p.put("old", "b", 0, now, time.Minute)
	p.put("young", "c", 0, now, time.Hour)
	p.forget("ended")
	later := now.Add(time.Minute)
	for run, want := range map[string]error{"ended": saga.ErrNoPassword, "old": saga.ErrNoPassword, "young": nil, "unknown": saga.ErrNoPassword} {
		if _, err := p.of(run, 0, later); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", run, err, want)
		}
	}
	if _, err := p.of("young", 1, later); !errors.Is(err, saga.ErrNoPassword) {
		t.Errorf("a newer password was handed over elsewhere: got %v", err)
	}
	p.sweep(later)
	if len(p.held) != 1 {
		t.Errorf("the memory has %d passwords, want 1", len(p.held))
	}
}
