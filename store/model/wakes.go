package model

import (
	"context"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The constant `room` is the maximum number of messages that wait for one listener. Further messages for this listener are lost.
const room = 1024

// The method `tell` sends a message to every listener. The caller holds s.mu.
func (s *Store) tell(w saga.Wake) {
	for _, listener := range s.listeners {
		select {
		case listener <- w:
		default:
		}
	}
}

// Listen calls the function `wake` for every message until ctx ends, and then returns the context's error: see saga.Queue. A
// replica also receives its own messages. Messages that are sent just before ctx ends may be lost.
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
	w := saga.Wake{Kind: saga.WakeWork} // wake the caller once at the start, because messages that were sent before this call are lost
	for ctx.Err() == nil {
		wake(w)
		select {
		case <-ctx.Done(): // the condition of the loop is now false
		case w = <-words:
		}
	}
	return ctx.Err()
}
