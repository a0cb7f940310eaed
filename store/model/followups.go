package model

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// followUpKey identifies a follow-up: by its workflow and its id.
type followUpKey struct{ workflow, id string }

// Disable disables the merchant if `disabled` is true, and enables the merchant otherwise. Follow-ups of a disabled merchant are
// not taken.
func (s *Store) Disable(merchant string, disabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disabled[merchant] = disabled
}

// TakeFollowUps chooses due follow-ups, and the ids of their runs: see saga.FollowUpStore.
func (s *Store) TakeFollowUps(ctx context.Context, d saga.DueFollowUps, newID func() string) ([]saga.FollowUp, error) {
	s.mu.Lock()
	n := len(s.dueFollowUps(d))
	s.mu.Unlock()
	var ids []string
	for range n { // the model does not hold its lock while it calls newID
		ids = append(ids, newID())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	taken := []saga.FollowUp{}
	for i, f := range s.dueFollowUps(d) {
		if i == len(ids) {
			break
		}
		f.RunID, f.TakenAt = ids[i], maybeMoment(&d.Now)
		taken = append(taken, copyOfFollowUp(f))
	}
	return taken, nil
}

// dueFollowUps returns at most d.Limit follow-ups that can be taken, earliest due time first.
func (s *Store) dueFollowUps(d saga.DueFollowUps) []*saga.FollowUp {
	var due []*saga.FollowUp
	for _, f := range s.followUps {
		lost := f.TakenAt != nil && f.TakenAt.Before(moment(d.Now.Add(-saga.FollowUpTimeout))) && !s.executed(f)
		if !f.DueAt.After(moment(d.Now)) && f.Hold == nil && slices.Contains(d.Workflows, f.Workflow) && !s.disabled[f.Merchant] &&
			(f.TakenAt == nil || lost) {
			due = append(due, f)
		}
	}
	slices.SortFunc(due, func(a, b *saga.FollowUp) int { return cmp.Or(a.DueAt.Compare(b.DueAt), byWorkflowAndID(a, b)) })
	return due[:min(d.Limit, len(due))]
}

// The method `executed` reports whether a live run has the follow-up's RunID.
func (s *Store) executed(f *saga.FollowUp) bool {
	r := s.byID[f.RunID]
	return r != nil && r.EndedAt == nil
}

// FollowUps reads a merchant's follow-ups of a workflow: see saga.FollowUpStore.
func (s *Store) FollowUps(ctx context.Context, merchant, workflow string, ids []string) (map[string]saga.FollowUp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	found := map[string]saga.FollowUp{}
	for _, id := range ids {
		if f := s.followUps[followUpKey{workflow, id}]; f != nil && f.Merchant == merchant {
			found[id] = copyOfFollowUp(f)
		}
	}
	return found, nil
}

// HoldFollowUp sets or lifts the hold of a follow-up: see saga.FollowUpStore.
func (s *Store) HoldFollowUp(ctx context.Context, merchant, workflow, id string, hold *saga.FollowUpHold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	f := s.followUps[followUpKey{workflow, id}]
	if f == nil || f.Merchant != merchant {
		return fmt.Errorf("holding follow-up %s %s: %w", workflow, id, saga.ErrNotFound)
	}
	if f.TakenAt != nil {
		starting := hold != nil && hold.At.Before(f.TakenAt.Add(saga.FollowUpTimeout)) && s.byID[f.RunID] == nil
		if starting || s.executed(f) {
			return fmt.Errorf("holding follow-up %s %s: %w", workflow, id, saga.ErrChanged)
		}
	}
	f.Hold = copyOfHold(hold)
	return nil
}

// The method `follow` stores or deletes the follow-ups of a checkpoint.
func (s *Store) follow(cp *saga.Checkpoint) {
	for i := range cp.FollowUps {
		f := copyOfFollowUp(&cp.FollowUps[i])
		key := followUpKey{f.Workflow, f.ID}
		if cp.FollowUps[i].DueAt.IsZero() {
			delete(s.followUps, key)
			continue
		}
		f.RunID, f.TakenAt, f.Hold = "", nil, nil
		if stored := s.followUps[key]; stored != nil {
			f.RunID, f.Hold = stored.RunID, stored.Hold
		}
		s.followUps[key] = &f
	}
}

// toAttend reports whether a run was compensated and its follow-up will start another run. Such a run needs attention.
func (s *Store) toAttend(r *row) bool {
	for _, f := range s.followUps {
		if f.RunID == r.ID && f.Reason != nil && f.TakenAt == nil && r.EndedAt != nil {
			return true
		}
	}
	return false
}

// PutFollowUps stores follow-ups without a run, as a biller of usage does: see usage.Books. If the input of a follow-up cannot be encoded,
// the follow-up has an empty input.
func (s *Store) PutFollowUps(followUps ...saga.FollowUp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow(&saga.Checkpoint{FollowUps: followUps})
}

func copyOfFollowUp(f *saga.FollowUp) saga.FollowUp {
	c := *f
	input, _ := json.Marshal(f.Input) //nolint:errcheck,errchkjson // the function `unreadable` has checked the input
	c.Input = json.RawMessage(input)
	c.DueAt, c.TakenAt = moment(f.DueAt), maybeMoment(f.TakenAt)
	c.Reason, c.Hold = copyOfFailure(f.Reason), copyOfHold(f.Hold)
	return c
}

func copyOfHold(h *saga.FollowUpHold) *saga.FollowUpHold {
	if h == nil {
		return nil
	}
	c := *h
	c.At = plain(h.At)
	return &c
}

func byWorkflowAndID(a, b *saga.FollowUp) int {
	return cmp.Or(cmp.Compare(a.Workflow, b.Workflow), cmp.Compare(a.ID, b.ID))
}
