package model

import (
	"context"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// room is the maximum number of messages that wait for one listener. When this number is reached, further messages for the listener
// are lost.
const room = 1024

// tell sends a message to every listener. The caller holds s.mu.
func (s *Store) tell(w saga.Wake) {
	for _, listener := range s.listeners {
		select {
		case listener <- w:
		default:
		}
	}
}

// Listen calls wake for every message until ctx ends, and then returns the context's error: see saga.Queue. Listen also receives
// the messages of the replica that listens. Messages that were sent just before ctx ended may be lost.
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
	w := saga.Wake{Kind: saga.WakeWork} // a message may have been sent before Listen was called
	for ctx.Err() == nil {
		wake(w)
		select {
		case <-ctx.Done(): // the loop also ends if select takes a message instead
		case w = <-words:
		}
	}
	return ctx.Err()
}
