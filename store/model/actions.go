package model

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// AddAction stores an action. If no replica executes the run, AddAction makes the run due: see saga.Store.
func (s *Store) AddAction(ctx context.Context, now time.Time, v saga.Action) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	r := s.byID[v.RunID]
	if r == nil {
		return saga.ErrNotFound
	}
	if v.IfVersion != 0 && (r.Version != v.IfVersion || len(s.waitingActions(v.RunID)) > 0) {
		return saga.ErrChanged
	}
	v.IfVersion = 0
	if r.Replica == "" {
		r.DueAt = maybeMoment(&now)
	}
	v.ID, v.Who, v.Why, v.At = now.UnixMicro(), upstream.Clean(v.Who), upstream.Clean(v.Why), moment(v.At)
	if waiting := s.waitingActions(v.RunID); len(waiting) > 0 { // the new action must come after the stored actions
		last := waiting[len(waiting)-1]
		v.ID = max(v.ID, last.ID+1)
		if v.At.Before(last.At) {
			v.At = last.At
		}
	}
	at, taken := s.place(v.ID)
	for taken { // two actions may arrive in the same microsecond
		v.ID++
		at, taken = s.place(v.ID)
	}
	s.actions = slices.Insert(s.actions, at, action{Action: v})
	s.tell(saga.Wake{Kind: saga.WakeAction, RunID: v.RunID})
	return nil
}

// The method `place` returns the index of the action with the given id, or the index at which to insert the action.
func (s *Store) place(id int64) (at int, taken bool) {
	return slices.BinarySearchFunc(s.actions, id, func(v action, id int64) int { return cmp.Compare(v.ID, id) })
}

// Actions returns the unconsumed actions of a run: see saga.Store.
func (s *Store) Actions(ctx context.Context, runID string) ([]saga.Action, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.waitingActions(runID), nil
}

// waitingActions returns the unconsumed actions of a run.
func (s *Store) waitingActions(runID string) []saga.Action {
	found := []saga.Action{}
	for _, v := range s.actions {
		if v.RunID == runID && !v.consumed {
			found = append(found, v.Action)
		}
	}
	return found
}
