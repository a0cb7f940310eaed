package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Create inserts a run with its steps, events and token: see saga.Store.
func (s *Store) Create(ctx context.Context, n saga.NewRun) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.whyNot(n); err != nil {
		return fmt.Errorf("storing run %s: %w", n.Run.ID, err)
	}
	r := &row{Run: *copyOf(n.Run)}
	r.RetriedBy, r.Objects = "", nil
	slices.SortStableFunc(r.Steps, byPosition)
	for i := range n.Events {
		r.events = append(r.events, copyOfEvent(&n.Events[i]))
	}
	slices.SortFunc(r.events, bySeq)
	if n.Token != "" {
		r.token = &token{n.Token, moment(n.TokenExpiresAt)}
	}
	s.insert(r)
	if name := (key{r.Merchant, r.Key}); r.Key != "" && (r.RetryOf == "" || s.keys[name] != "") {
		s.keys[name] = r.ID
	}
	if r.Replica == "" {
		s.tell(saga.Wake{Kind: saga.WakeWork})
	}
	return nil
}

// whyNot returns the reason why a run cannot be inserted, or nil if the run can be inserted.
func (s *Store) whyNot(n saga.NewRun) error {
	run := n.Run
	if run.RetryOf == "" && s.keys[key{run.Merchant, run.Key}] != "" {
		return saga.ErrKeyUsed
	}
	if run.RetryOf != "" {
		if s.find(func(o *row) bool { return o.RetryOf == run.RetryOf }) != nil {
			return saga.ErrRetried
		}
		if later := s.find(func(o *row) bool {
			return o.User == run.User && o.ID > run.RetryOf && o.Doubles == run.Doubles && o.Merchant == run.Merchant &&
				o.State == saga.Succeeded
		}); later != nil {
			return &saga.AlreadySucceededError{RunID: later.ID, AcceptedAt: later.CreatedAt}
		}
	}
	if run.HoldsSubject {
		for _, o := range slices.Backward(s.runs) {
			if o.live(run.Subject) {
				return &saga.SubjectBusyError{RunID: o.ID}
			}
		}
		for _, o := range slices.Backward(s.runs) {
			if o.Subject == run.Subject && o.EndedAt != nil && o.EndedAt.After(moment(run.CreatedAt)) {
				return &saga.SubjectBusyError{RunID: o.ID}
			}
		}
		if s.holder(run.Subject) != nil {
			return errHeld
		}
	}
	if s.byID[run.ID] != nil {
		return errors.New("there is a run with this id")
	}
	return s.unjoined(run.Replica)
}

// errHeld means that a run cannot be stored, because another run holds its subject.
var errHeld = errors.New("another run holds the subject")

// The method `unjoined` returns an error if a run would be leased to a replica that has not joined.
func (s *Store) unjoined(replica string) error {
	if _, joined := s.replicas[replica]; replica != "" && !joined {
		return fmt.Errorf("there is no replica %s", replica)
	}
	return nil
}
