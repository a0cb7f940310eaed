// Package model stores runs in memory. The model behaves like package store on PostgreSQL. The model is used by simulations, and by
// checks that read all stored data.
//
// The model is deterministic: the same sequence of calls returns the same results. The model starts no goroutine, and gets the time from
// its caller. The model does not hold its lock while it calls functions of its caller. The model copies all values that it receives or
// returns. The model differs from PostgreSQL in one point: the model accepts text that is not valid UTF-8.
package model

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Store implements saga.Store, saga.Queue and the store of users' tokens. A Store is safe for concurrent use. A call whose context
// has ended does nothing and returns the context's error.
type Store struct {
	// Unfenced makes Commit write without checking the run's version, epoch and replica. Tests set Unfenced to show that they would
	// detect a missing fence. Set Unfenced before the first call of the store.
	Unfenced bool

	now func() time.Time // the clock of the simulated database; Join and Renew return its time

	mu        sync.Mutex
	replicas  map[string]time.Time // the end of each replica's lease
	runs      []*row               // sorted by id
	byID      map[string]*row
	keys      map[key]string // run ids by idempotency key
	actions   []action       // sorted by id
	followUps map[followUpKey]*saga.FollowUp
	disabled  map[string]bool // the merchants that are disabled
	listeners []chan saga.Wake
}

// The type `row` is a run with its events.
type row struct {
	saga.Run // the field RetriedBy is always empty here; Store.read sets RetriedBy in the returned copy of the run

	events []saga.Event // sorted by seq
	token  *token
}

type key struct{ merchant, key string }

type token struct {
	text      string
	expiresAt time.Time
}

type action struct {
	saga.Action

	consumed bool
}

// New returns an empty store. The argument `now` is the clock of the simulated database.
func New(now func() time.Time) *Store {
	return &Store{
		now: now, replicas: map[string]time.Time{}, byID: map[string]*row{}, keys: map[key]string{},
		followUps: map[followUpKey]*saga.FollowUp{}, disabled: map[string]bool{},
	}
}

// The method `insert` adds a new run.
func (s *Store) insert(r *row) {
	at, _ := slices.BinarySearchFunc(s.runs, r.ID, func(r *row, id string) int { return strings.Compare(r.ID, id) })
	s.runs = slices.Insert(s.runs, at, r)
	s.byID[r.ID] = r
}

// The method `find` returns the run with the lowest id for which the function `fits` returns true, or nil if there is no such run.
func (s *Store) find(fits func(*row) bool) *row {
	if i := slices.IndexFunc(s.runs, fits); i >= 0 {
		return s.runs[i]
	}
	return nil
}

// The method `holder` returns the run that holds a subject, or nil if no run holds the subject.
func (s *Store) holder(subject string) *row {
	return s.find(func(r *row) bool { return r.HoldsSubject && r.Subject == subject })
}

// The method `live` reports whether a run has the given subject and has not ended.
func (r *row) live(subject string) bool { return r.EndedAt == nil && r.Subject == subject }

// The method `read` returns a copy of the run r. `read` also sets the fields of the copy that depend on other runs.
func (s *Store) read(r *row) *saga.Run {
	run := copyOf(&r.Run)
	if by := s.find(func(o *row) bool { return o.RetryOf == r.ID }); by != nil {
		run.RetriedBy = by.ID
	}
	if run.WaitsFor != "" {
		for _, o := range slices.Backward(s.runs) {
			if o.ID < r.ID && o.live(r.Subject) {
				run.WaitBehind(o.ID)
				break
			}
		}
	}
	return run
}

// Run reads a run: see saga.Store.
func (s *Store) Run(ctx context.Context, runID string) (*saga.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := s.byID[runID]
	if r == nil {
		return nil, saga.ErrNotFound
	}
	return s.read(r), nil
}

// Tip reads the epoch and the version of a run: see saga.Store.
func (s *Store) Tip(ctx context.Context, runID string) (epoch, version int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	r := s.byID[runID]
	if r == nil {
		return 0, 0, saga.ErrNotFound
	}
	return r.Epoch, r.Version, nil
}

// RunOfKey reads the run with the given idempotency key: see saga.Store.
func (s *Store) RunOfKey(ctx context.Context, merchant, name string) (*saga.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := s.byID[s.keys[key{merchant, name}]]
	if r == nil {
		return nil, saga.ErrNotFound
	}
	return s.read(r), nil
}

// Runs reads the runs that match a filter, newest first: see saga.Store.
func (s *Store) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var runs []*saga.Run
	for _, r := range slices.Backward(s.runs) {
		if len(runs) == f.Limit {
			break
		}
		if r.matches(f) && (f.Attention.IsZero() || r.needsAttention(f.Attention) || s.toAttend(r)) {
			runs = append(runs, s.read(r))
		}
	}
	return runs, nil
}

// The method `matches` reports whether the run matches all fields of a filter except the field Attention.
func (r *row) matches(f saga.Filter) bool {
	for _, field := range []struct{ wanted, is string }{
		{f.Merchant, r.Merchant},
		{f.Workflow, r.Workflow},
		{f.User, r.User},
		{f.Subject, r.Subject},
	} {
		if field.wanted != "" && field.wanted != field.is {
			return false
		}
	}
	if len(f.States) > 0 && !slices.Contains(f.States, r.State) {
		return false
	}
	for _, o := range f.Objects {
		if r.object(o.Kind, o.ID) == nil {
			return false
		}
	}
	if f.Live && r.EndedAt != nil || f.AwaitsRecheck && r.Rechecks == 0 {
		return false
	}
	return (f.Since.IsZero() || !r.CreatedAt.Before(moment(f.Since))) && (f.Before == "" || r.ID < f.Before)
}

func (r *row) needsAttention(now time.Time) bool {
	return r.AttentionAt != nil && !r.AttentionAt.After(moment(now))
}

// The method `object` returns an object that the run created or adopted, or nil if the run has no such object.
func (r *row) object(kind, id string) *saga.Object {
	i := slices.IndexFunc(r.Objects, func(o saga.Object) bool { return o.Kind == kind && o.ID == id })
	if i < 0 {
		return nil
	}
	return &r.Objects[i]
}

// Latest implements [saga.Store].
func (s *Store) Latest(ctx context.Context, merchant, kind string, ids []string) (map[string]*saga.Run, error) {
	latest := map[string]*saga.Run{}
	for _, id := range ids {
		runs, err := s.Runs(ctx, saga.Filter{
			Merchant: merchant, Objects: []saga.ObjectRef{{Kind: kind, ID: id}}, States: []saga.RunState{saga.Succeeded}, Limit: math.MaxInt,
		})
		if err != nil {
			return nil, err
		}
		for _, r := range runs { // sorted by id, the greatest id first
			if newest := latest[id]; newest == nil || r.EndedAt.After(*newest.EndedAt) {
				latest[id] = r
			}
		}
	}
	return latest, nil
}

// LiveRuns counts the runs of a merchant that have not ended: see saga.Store.
func (s *Store) LiveRuns(ctx context.Context, merchant string) (int, error) {
	return s.count(ctx, func(r *row) bool {
		return r.Merchant == merchant && r.EndedAt == nil && r.Key != "" && !r.AwaitsPassword()
	})
}

func (s *Store) count(ctx context.Context, fits func(*row) bool) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	for _, r := range s.runs {
		if fits(r) {
			n++
		}
	}
	return n, nil
}

// Events reads a page of a run's events: see saga.Store.
func (s *Store) Events(ctx context.Context, runID string, after int64, limit int) ([]saga.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	events := []saga.Event{}
	r := s.byID[runID]
	if r == nil {
		return events, nil
	}
	for i := range r.events {
		if e := &r.events[i]; e.Seq > after && len(events) != limit {
			events = append(events, copyOfEvent(e))
		}
	}
	return events, nil
}

// Token returns the user's token that is stored for a run. If no token is stored, Token returns saga.ErrNoToken.
func (s *Store) Token(ctx context.Context, runID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", err
	}
	r := s.byID[runID]
	if r == nil || r.token == nil {
		return "", saga.ErrNoToken
	}
	return r.token.text, nil
}

// DeleteExpiredTokens deletes the tokens that expired before now.
func (s *Store) DeleteExpiredTokens(ctx context.Context, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, r := range s.runs {
		if r.token != nil && r.token.expiresAt.Before(moment(now)) {
			r.token = nil
		}
	}
	return nil
}

func byPosition(a, b saga.StepRow) int { return cmp.Compare(a.Position, b.Position) }
func bySeq(a, b saga.Event) int        { return cmp.Compare(a.Seq, b.Seq) }

func byKindAndID(a, b saga.Object) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.ID, b.ID))
}
