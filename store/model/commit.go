package model

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Commit writes checkpoints in the given order. Each checkpoint succeeds or fails independently of the other checkpoints: see
// saga.Store.
func (s *Store) Commit(ctx context.Context, _ time.Time, checkpoints []saga.Checkpoint) []saga.CommitResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]saga.CommitResult, len(checkpoints))
	for i := range checkpoints {
		if results[i].Err = ctx.Err(); results[i].Err == nil {
			results[i] = s.commit(&checkpoints[i])
		}
	}
	return results
}

func (s *Store) commit(cp *saga.Checkpoint) saga.CommitResult {
	if err := unreadable(cp); err != nil {
		return saga.CommitResult{Err: err}
	}
	r := s.byID[cp.Run.ID]
	if r == nil || !s.Unfenced && !r.heldBy(cp) {
		return saga.CommitResult{Err: saga.ErrFenced}
	}
	if err := s.refuse(r, cp); err != nil {
		return saga.CommitResult{Err: fmt.Errorf("%w: %w", saga.ErrBadRow, err)}
	}
	ends := r.EndedAt == nil && cp.Run.EndedAt != nil
	r.write(cp)
	s.follow(cp)
	for i := range s.actions {
		if v := &s.actions[i]; v.RunID == r.ID && slices.Contains(cp.Consumed, v.ID) {
			v.consumed = true
		}
	}
	if ends {
		s.tell(saga.Wake{Kind: saga.WakeEnded, RunID: r.ID})
	}
	return saga.CommitResult{
		Actions:   len(s.waitingActions(r.ID)) > 0,
		Successor: r.EndedAt != nil && s.find(func(o *row) bool { return o != r && o.live(r.Subject) }) != nil,
	}
}

// heldBy reports whether the run r is still leased to the replica of the checkpoint cp, and still has the checkpoint's epoch and
// version.
func (r *row) heldBy(cp *saga.Checkpoint) bool {
	return r.Epoch == cp.Run.Epoch && r.Version == cp.Run.Version && r.Replica != "" && r.Replica == cp.Replica
}

// The function `unreadable` returns an error if a text in the checkpoint contains NUL, or if the input of a follow-up cannot be
// encoded. Like package store, the model makes this check before it checks the fence.
func unreadable(cp *saga.Checkpoint) error {
	var texts []string
	for _, e := range cp.Events {
		texts = append(texts, e.Step, e.Action, e.Who, e.Why, e.RequestID)
	}
	for _, o := range cp.Objects {
		texts = append(texts, o.Step, o.Kind, o.Cloud, o.ID, o.Name, o.RequestID)
	}
	for i := range cp.FollowUps {
		f := &cp.FollowUps[i]
		if texts = append(texts, f.Workflow, f.ID); f.DueAt.IsZero() {
			continue
		}
		texts = append(texts, f.Merchant, f.Cloud, f.Subject, f.User, f.Doubles)
		if _, err := json.Marshal(f.Input); err != nil {
			return fmt.Errorf("%w: %w", saga.ErrBadRow, err)
		}
	}
	if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "\x00") }) {
		return fmt.Errorf("%w: a text contains NUL", saga.ErrBadRow)
	}
	return nil
}

// The method `refuse` returns an error if the checkpoint violates a constraint of the PostgreSQL tables.
func (s *Store) refuse(r *row, cp *saga.Checkpoint) error {
	if cp.Run.HoldsSubject {
		if holder := s.holder(r.Subject); holder != nil && holder != r {
			return errHeld
		}
	}
	for i, e := range cp.Events {
		same := func(o saga.Event) bool { return o.Seq == e.Seq }
		if slices.ContainsFunc(r.events, same) || slices.ContainsFunc(cp.Events[:i], same) {
			return fmt.Errorf("there is an event %d", e.Seq)
		}
	}
	return s.unjoined(cp.Run.Replica)
}

// The method `write` stores a checkpoint.
func (r *row) write(cp *saga.Checkpoint) {
	copyMutable(&r.Run, cp.Run)
	r.Version++
	for i := range cp.Steps {
		copyStepMutable(r.Step(cp.Steps[i].Name), &cp.Steps[i])
	}
	for i := range cp.Events {
		r.events = append(r.events, copyOfEvent(&cp.Events[i]))
	}
	slices.SortFunc(r.events, bySeq)
	for i := range cp.Objects {
		o := copyOfObject(&cp.Objects[i])
		later := func(l saga.Object) bool { return l.Kind == o.Kind && l.ID == o.ID }
		switch stored := r.object(o.Kind, o.ID); {
		case slices.ContainsFunc(cp.Objects[i+1:], later): // the checkpoint also contains a later state of the object
		case stored != nil:
			stored.RemovedAt = o.RemovedAt
		default:
			r.Objects = append(r.Objects, o)
		}
	}
	slices.SortFunc(r.Objects, byKindAndID)
	if cp.DropToken {
		r.token = nil
	}
}
