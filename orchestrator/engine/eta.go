package engine

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// paceMemory determines how fast the type `pace` forgets ended runs. After this time, an ended run has about a third (1/e) of the
// weight of a run that ends now.
const paceMemory = 30 * time.Second

// The type `pace` measures the number of runs that end per second. Idle time is not counted, because idle time does not show how
// fast runs end under load.
type pace struct {
	mu     sync.Mutex
	active time.Duration // total length of the earlier periods with work
	since  time.Time     // start of the current period with work; zero if there is no work
	weight float64       // total weight of all ended runs, at the time when the last run ended
	last   time.Duration
}

// The method `work` records that the replica now has runs to execute (`some` is true), or has none.
func (p *pace) work(now time.Time, some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active, p.since = p.until(now), time.Time{}
	if some {
		p.since = now
	}
}

// The method `ended` records the end of a run.
func (p *pace) ended(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	active := p.until(now)
	p.weight, p.last = p.weight*faded(active-p.last)+1, active
}

// The method `rate` returns the number of runs that end per second. Before the first run has ended, the result is 0.
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

// EndsIn implements [saga.Reader]. EndsIn divides the number of runs ahead of the given run by the rate at which runs end on this
// replica.
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

// countWaiting counts the runs that wait for a replica. If the last count is less than a second old, countWaiting does nothing.
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
	n, err := e.Queue.Due(bounded, e.due(now))
	if err != nil {
		return fmt.Errorf("counting the runs that wait for a replica: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting, e.counted = n, now
	return nil
}
