package model

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Contents is a copy of the store's contents at one moment. Contents does not include the users' tokens, because the databases
// contain the tokens only in encrypted form.
type Contents struct {
	Runs    []*saga.Run             // sorted by id
	Events  map[string][]saga.Event // by run id; the events of a run are sorted by seq
	Actions []saga.Action           // sorted by id, including consumed actions
	Tokens  []string                // ids of the runs that have a stored token

	FollowUps []saga.FollowUp // sorted by workflow and id
}

// Everything returns a copy of the store's contents.
func (s *Store) Everything() Contents {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Contents{Events: map[string][]saga.Event{}}
	for _, r := range s.runs {
		c.Runs = append(c.Runs, s.read(r))
		for i := range r.events {
			c.Events[r.ID] = append(c.Events[r.ID], copyOfEvent(&r.events[i]))
		}
		if r.token != nil {
			c.Tokens = append(c.Tokens, r.ID)
		}
	}
	for _, v := range s.actions {
		c.Actions = append(c.Actions, v.Action)
	}
	for _, f := range s.followUps {
		c.FollowUps = append(c.FollowUps, copyOfFollowUp(f))
	}
	slices.SortFunc(c.FollowUps, func(a, b saga.FollowUp) int { return byWorkflowAndID(&a, &b) })
	return c
}

// AllEnded reports whether every run has ended. AllEnded copies nothing.
func (s *Store) AllEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(func(r *row) bool { return !r.State.Ended() }) == nil
}

// HasFollowUps reports whether a follow-up is stored.
func (s *Store) HasFollowUps() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.followUps) > 0
}

// Text returns the contents as one text. For example, a test can search the text for secrets.
func (c Contents) Text() (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encoding the contents of the store: %w", err)
	}
	return string(text), nil
}
