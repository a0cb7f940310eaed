package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `survivals` contains the runs that this process lost together with its lease, although the process did not die. The
// database was unreachable, or the process slept. Other replicas cannot distinguish a lost lease from a dead process. If three
// replicas in a row die while they execute a run, the run waits for an operator. A lost lease counts as such a death. Therefore,
// after this process has joined again, it retries each lost run that waits for this reason. Each run is retried only once, because
// the run itself may be the reason why replicas lose their leases.
type survivals struct {
	taken  []string             // runs that this process lost together with its last lease
	since  map[string]time.Time // for each lost run: the time at which this process joined again
	spoken map[string]bool      // runs that were retried already
}

// survivedFor is the number of poll intervals for which this process watches a lost run. The first interval begins when the process joins
// again. If another replica has lost its lease too, that replica must also join again before it can take the run.
const survivedFor = 12

// The method `survive` starts to watch the runs that this process lost together with its last lease. Call the method `survive`
// after the process has joined again, and before the process executes a run. The caller holds the engine's mutex.
func (s *survivals) survive(now time.Time) {
	if s.since == nil {
		s.since, s.spoken = map[string]time.Time{}, map[string]bool{}
	}
	for _, runID := range s.taken {
		if !s.spoken[runID] {
			s.since[runID] = now
		}
	}
	s.taken = nil
}

// speakUp calls speakFor for each watched run.
func (e *Engine) speakUp(ctx context.Context, replica string) {
	e.mu.Lock()
	since := maps.Clone(e.survivals.since)
	e.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(since)) {
		over, err := e.speakFor(ctx, replica, id)
		if err != nil {
			e.OnFault(fmt.Errorf("retrying run %s, which this replica lost with its lease: %w", id, err))
		}
		e.mu.Lock()
		if over || e.Clock.Now().Sub(since[id]) > survivedFor*e.Poll {
			delete(e.survivals.since, id)
		}
		e.mu.Unlock()
	}
}

// speakFor reads a lost run. If the run waits for an operator because too many replicas died, speakFor retries the run. The result
// `over` is true if the run no longer has to be watched.
func (e *Engine) speakFor(ctx context.Context, replica, runID string) (over bool, err error) {
	ctx, cancel := e.patiently(ctx)
	defer cancel()
	run, err := e.Store.Run(ctx, runID)
	switch {
	case err != nil:
		return errors.Is(err, saga.ErrNotFound), err
	case run.State.Ended() || run.TakeOvers == 0:
		return true, nil
	case !run.LostTooManyReplicas():
		return false, nil
	}
	retry := saga.Action{RunID: runID, Name: saga.Retry, Who: saga.ByReplica(replica), Why: "the replica has lost its lease, but did not die"}
	// Do not call Act here: if the run was compensated meanwhile, Act would start a successor.
	if err := e.storeAction(ctx, retry); err != nil {
		return false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.survivals.spoken[runID] = true
	return true, nil
}
