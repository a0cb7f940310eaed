package model

import (
	"encoding/json"
	"fmt"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Contents is a copy of what is stored at one moment. It has no tokens, because the databases store them sealed.
type Contents struct {
	Runs    []*saga.Run             // by id
	Events  map[string][]saga.Event // by run, in their order
	Actions []saga.Action           // by id, with the consumed ones
	Tokens  []string                // the runs with a stored token
}

// Everything returns a copy of all that is stored.
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
	return c
}

// AllEnded reports whether every run is over. It copies nothing.
func (s *Store) AllEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(func(r *row) bool { return !r.State.Ended() }) == nil
}

// Text returns the contents as one text, which can be searched for what must not be stored.
func (c Contents) Text() (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("writing out what is stored: %w", err)
	}
	return string(text), nil
}
