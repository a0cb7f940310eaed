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

// survivals are the runs that this process lost with its lease although it did not die: the database was unreachable, or the
// process slept. Other replicas cannot tell this from a death, and a run is held after three replicas in a row have died. So once
// this process has joined again, it retries the lost runs that are held for this reason. It does so once for each run, because the
// run itself may keep its replicas from renewing their leases.
type survivals struct {
	taken  []string             // lost with the last lease
	since  map[string]time.Time // when this process had joined again, by run
	spoken map[string]bool      // retried already
}

// survivedFor is for how many polls a lost run is watched after this process has joined again. Other replicas claim the run when
// they have joined again too.
const survivedFor = 12

// survive begins to watch the runs lost with the last lease. The process has joined again and executes no run yet. The caller holds
// the lock.
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

// speakUp retries the lost runs that are held because too many replicas ended.
func (e *Engine) speakUp(ctx context.Context, replica string) {
	e.mu.Lock()
	since := maps.Clone(e.survivals.since)
	e.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(since)) {
		over, err := e.speakFor(ctx, replica, id)
		if err != nil {
			e.OnFault(fmt.Errorf("retrying run %s, which this replica lost: %w", id, err))
		}
		e.mu.Lock()
		if over || e.Clock.Now().Sub(since[id]) > survivedFor*e.Poll {
			delete(e.survivals.since, id)
		}
		e.mu.Unlock()
	}
}

// speakFor retries a lost run if it is held. It reports whether the run need not be watched any more.
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
	retry := saga.Action{RunID: runID, Name: saga.Retry, Who: "replica " + replica, Why: "the replica has lost its lease, but did not die"}
	if err := e.storeAction(ctx, retry); err != nil { // not Act, which would start a successor if the run has been compensated meanwhile
		return false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.survivals.spoken[runID] = true
	return true, nil
}
