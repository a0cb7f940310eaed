package model

import (
	"context"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// room is the maximum number of messages that wait for a listener. Further messages are lost.
const room = 1024

// tell sends a message to every listener. The caller holds the lock.
func (s *Store) tell(w saga.Wake) {
	for _, listener := range s.listeners {
		select {
		case listener <- w:
		default:
		}
	}
}

// Listen calls wake for every message, including those of its own replica, until ctx ends, and returns the context's error: see
// saga.Queue. Messages sent just before ctx ended may be lost.
func (s *Store) Listen(ctx context.Context, wake func(saga.Wake)) error {
	words := make(chan saga.Wake, room)
	s.mu.Lock()
	s.listeners = append(s.listeners, words)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listeners = slices.DeleteFunc(s.listeners, func(c chan saga.Wake) bool { return c == words })
	}()
	w := saga.Wake{Kind: saga.WakeWork} // a message may have been sent before
	for ctx.Err() == nil {
		wake(w)
		select {
		case <-ctx.Done(): // even if a message waits too: the loop ends either way
		case w = <-words:
		}
	}
	return ctx.Err()
}
