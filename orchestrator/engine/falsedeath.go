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

// survivals are the runs that were taken from this process although it lives: its lease had ended because the database
// was away, or because it slept. To the others that looks like a death, and a run that three replicas in a row have died
// of is held. So who has survived a run asks, once it has joined again, that the run be tried again: once for each run, lest
// one that keeps its replicas from renewing their leases is passed on for ever.
type survivals struct {
	taken  []string             // under the lease that has ended
	since  map[string]time.Time // by run, under those before
	spoken map[string]bool
}

// survivedFor is for how many polls a run that was taken is watched from when this process has joined again: the others
// take it up when they have.
const survivedFor = 12

// survive begins to watch what was taken from this process. It has joined again and works on nothing yet. The caller holds
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

// speakUp asks for the runs that this process has survived and that are held for that they took so many replicas.
func (e *Engine) speakUp(ctx context.Context, replica string) {
	e.mu.Lock()
	since := maps.Clone(e.survivals.since)
	e.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(since)) {
		over, err := e.speakFor(ctx, replica, id)
		if err != nil {
			e.OnFault(fmt.Errorf("asking for run %s, which was taken from here: %w", id, err))
		}
		e.mu.Lock()
		if over || e.Clock.Now().Sub(since[id]) > survivedFor*e.Poll {
			delete(e.survivals.since, id)
		}
		e.mu.Unlock()
	}
}

// speakFor tells whether there is nothing more to be said of the run.
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
	retry := saga.Action{RunID: runID, Name: saga.Retry, Who: "replica " + replica, Why: "a replica that it was taken from is alive"}
	if err := e.storeAction(ctx, retry); err != nil { // past Act, which repeats a run that has been compensated meanwhile
		return false, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.survivals.spoken[runID] = true
	return true, nil
}
