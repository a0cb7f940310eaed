package model

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Join registers a replica: see saga.Queue.
func (s *Store) Join(ctx context.Context, replica string, until time.Time) (time.Time, error) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	if _, joined := s.replicas[replica]; joined {
		return time.Time{}, fmt.Errorf("there is a replica %s", replica)
	}
	s.replicas[replica] = moment(until)
	return now, nil
}

// Renew extends a lease that has not ended, and frees the runs of replicas whose leases have ended: see saga.Queue. If the
// caller's own lease has ended, Renew does not extend this lease, but still frees the runs of the other replicas whose leases have ended.
// The statement for PostgreSQL does the same.
func (s *Store) Renew(ctx context.Context, replica string, now, until time.Time) (saga.Renewal, error) {
	database := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return saga.Renewal{}, err
	}
	freed := false
	for other, end := range s.replicas { // any sequence is correct, because the replicas do not affect one another
		if other != replica && end.Before(moment(now)) {
			freed = true
			delete(s.replicas, other)
		}
	}
	for _, r := range s.runs {
		if _, joined := s.replicas[r.Replica]; !joined {
			r.Replica = ""
		}
	}
	if end, joined := s.replicas[replica]; !joined || !end.After(moment(now)) {
		return saga.Renewal{}, saga.ErrLeaseLost
	}
	s.replicas[replica] = moment(until)
	return saga.Renewal{Now: database, Freed: freed}, nil
}

// Leave hands back all runs of a replica and removes the replica: see saga.Queue.
func (s *Store) Leave(ctx context.Context, replica string, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, r := range s.runs {
		if r.Replica == replica {
			r.handBack(now)
		}
	}
	delete(s.replicas, replica)
	s.tell(saga.Wake{Kind: saga.WakeWork})
	return nil
}

// HandBack releases the replica's runs that were last written before the given time and are not in the list `working`: see
// saga.Queue.
func (s *Store) HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, r := range s.runs {
		if r.Replica == replica && r.UpdatedAt.Before(moment(before)) && !slices.Contains(working, r.ID) {
			r.handBack(now)
		}
	}
	return nil
}

func (r *row) handBack(now time.Time) { r.Replica, r.DueAt = "", maybeMoment(&now) }

// Claim leases up to c.Limit runs, and increments their epochs: see saga.Queue.
func (s *Store) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	chosen := s.byTurn(c)
	chosen = chosen[:min(c.Limit, len(chosen))]
	for _, r := range chosen { // refuse the whole call if one run cannot be leased
		if err := s.unclaimable(r, c.Replica); err != nil {
			return nil, fmt.Errorf("claiming runs for replica %s: %w", c.Replica, err)
		}
	}
	var ids []string
	for _, r := range chosen {
		if !s.blocked(r) {
			r.HoldsSubject = r.HoldsSubject || r.EndedAt == nil
			r.WaitsFor = ""
		}
		if r.DueAt == nil {
			r.DueAt = maybeMoment(&c.Now)
		}
		r.Replica = c.Replica
		r.Epoch++
		r.Version++
		r.TakeOvers++
		ids = append(ids, r.ID)
	}
	return ids, nil
}

// Take grants a lease on one run: see saga.Queue.
func (s *Store) Take(ctx context.Context, t saga.Take) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	i := slices.IndexFunc(s.runs, func(r *row) bool { return r.ID == t.RunID })
	if i < 0 || s.runs[i].Replica != "" || s.runs[i].Version != t.Version {
		return false, nil
	}
	r := s.runs[i]
	if err := s.unclaimable(r, t.Replica); err != nil {
		return false, fmt.Errorf("taking run %s for replica %s: %w", t.RunID, t.Replica, err)
	}
	if r.DueAt == nil || r.DueAt.After(moment(t.Now)) {
		r.DueAt = maybeMoment(&t.Now)
	}
	if t.Handed {
		r.Handed++
	}
	r.Replica = t.Replica
	r.Epoch++
	r.Version++
	r.TakeOvers++
	return true, nil
}

// byTurn returns the runs that can be leased, sorted by their turns: see saga.Queue.
func (s *Store) byTurn(c saga.Claim) []*row {
	turns := map[string]int{} // by merchant: the number of leased and due runs that were counted so far
	for _, r := range s.runs {
		if r.Replica != "" {
			turns[r.Merchant]++
		}
	}
	var chosen []*row
	turn := map[*row]int{}
	for _, r := range s.runs {
		due := r.due(c.Due)
		if due {
			turns[r.Merchant]++
			turn[r] = turns[r.Merchant]
		}
		expired := r.BudgetFrom.Before(moment(c.Expired)) && r.Hold == nil
		woken := r.Replica == "" && (r.WaitsFor != "" && (expired || !s.blocked(r)) || len(s.waitingActions(r.ID)) > 0)
		if woken {
			turn[r] = 0
		}
		if due || woken {
			chosen = append(chosen, r)
		}
	}
	slices.SortStableFunc(chosen, func(a, b *row) int { return cmp.Compare(turn[a], turn[b]) })
	return chosen
}

// Due counts the runs that are due: see saga.Queue.
func (s *Store) Due(ctx context.Context, d saga.Due) (int, error) {
	return s.count(ctx, func(r *row) bool { return r.due(d) })
}

// The method `due` reports whether a run is due: see saga.Due.
func (r *row) due(d saga.Due) bool {
	return r.Replica == "" && r.DueAt != nil && !r.DueAt.After(moment(d.Now)) &&
		(r.Reason == nil || !slices.Contains(d.Down, r.Reason.Upstream) || r.State == saga.Waiting && r.BudgetFrom.Before(moment(d.Expired)))
}

// The method `blocked` reports whether a run must wait for another run with the same subject.
func (s *Store) blocked(r *row) bool {
	return s.find(func(o *row) bool { return o != r && o.live(r.Subject) && (o.ID < r.ID || o.HoldsSubject) }) != nil
}

// The method `unclaimable` returns an error if leasing a run would violate a constraint of the PostgreSQL tables.
func (s *Store) unclaimable(r *row, replica string) error {
	takes := r.EndedAt == nil && !r.HoldsSubject && !s.blocked(r)
	if takes && s.holder(r.Subject) != nil {
		return errHeld
	}
	return s.unjoined(replica)
}
