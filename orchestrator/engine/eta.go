package engine

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// paceMemory is after how long an end counts for a third of a new one.
const paceMemory = 30 * time.Second

// pace measures how many runs end a second. Time in which none is worked on does not count: a quiet night says nothing of
// how fast a morning's bulk will go.
type pace struct {
	mu     sync.Mutex
	active time.Duration // how long there has been work, until since
	since  time.Time     // zero: there is none at present
	weight float64       // of all ends, as of last
	last   time.Duration
}

// work notes that there is work from now on, or that there is none.
func (p *pace) work(now time.Time, some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active, p.since = p.until(now), time.Time{}
	if some {
		p.since = now
	}
}

// ended notes that a run has ended.
func (p *pace) ended(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	active := p.until(now)
	p.weight, p.last = p.weight*faded(active-p.last)+1, active
}

// rate gives the runs that end a second; 0 before any has ended.
func (p *pace) rate(now time.Time) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	active := p.until(now)
	watched := max(active, 10*time.Millisecond)
	return p.weight * faded(active-p.last) / (paceMemory.Seconds() * (1 - faded(watched)))
}

func (p *pace) until(now time.Time) time.Duration {
	if p.since.IsZero() {
		return p.active
	}
	return p.active + max(0, now.Sub(p.since))
}

func faded(ago time.Duration) float64 { return math.Exp(-ago.Seconds() / paceMemory.Seconds()) }

// EndsIn estimates in what time as many runs will have ended as are before this one, from how many have ended lately on
// this replica; nil is a run that would be accepted now. false: none has ended yet, so that nobody can tell.
func (e *Engine) EndsIn(run *saga.Run) (time.Duration, bool) {
	e.mu.Lock()
	before := max(len(e.executors), 1)
	if run == nil || run.Replica == "" {
		before += e.waiting
	}
	e.mu.Unlock()
	rate := e.pace.rate(e.Clock.Now())
	if rate == 0 {
		return 0, false
	}
	return time.Duration(min(float64(before)/rate, (24*time.Hour).Seconds()) * float64(time.Second)), true
}

// countWaiting learns, once a second at most, how many runs wait to be claimed.
func (e *Engine) countWaiting(ctx context.Context) error {
	now := e.Clock.Now()
	e.mu.Lock()
	fresh := now.Sub(e.counted) < time.Second
	e.mu.Unlock()
	if fresh {
		return nil
	}
	bounded, cancel := e.patiently(ctx)
	defer cancel()
	n, err := e.Queue.Due(bounded, now, e.Down())
	if err != nil {
		return fmt.Errorf("counting the runs that wait: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting, e.counted = n, now
	return nil
}
