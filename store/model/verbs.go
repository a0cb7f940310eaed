package model

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// AddVerb stores a verb and makes the run due if nobody works on it: see saga.Store.
func (s *Store) AddVerb(ctx context.Context, now time.Time, v saga.Verb) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	r := s.byID[v.RunID]
	if r == nil {
		return saga.ErrNotFound
	}
	if r.Replica == "" {
		r.DueAt = maybeMoment(&now)
	}
	v.ID, v.Who, v.Why, v.At = now.UnixMicro(), saga.Clean(v.Who), saga.Clean(v.Why), moment(v.At)
	at, taken := s.place(v.ID)
	for taken { // two verbs may be asked for in one microsecond
		v.ID++
		at, taken = s.place(v.ID)
	}
	s.verbs = slices.Insert(s.verbs, at, verb{Verb: v})
	s.tell(saga.Wake{Kind: saga.WakeVerb, RunID: v.RunID})
	return nil
}

// place tells where a verb with this id stands or would stand.
func (s *Store) place(id int64) (at int, taken bool) {
	return slices.BinarySearchFunc(s.verbs, id, func(v verb, id int64) int { return cmp.Compare(v.ID, id) })
}

// Verbs reads the verbs of a run that nobody has consumed: see saga.Store.
func (s *Store) Verbs(ctx context.Context, runID string) ([]saga.Verb, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.waitingVerbs(runID), nil
}

// waitingVerbs gives the verbs of a run that nobody has consumed.
func (s *Store) waitingVerbs(runID string) []saga.Verb {
	found := []saga.Verb{}
	for _, v := range s.verbs {
		if v.RunID == runID && !v.consumed {
			found = append(found, v.Verb)
		}
	}
	return found
}
