package model

import (
	"context"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// room is how many words wait for a listener at most; those above are lost.
const room = 1024

// tell leaves a word for every listener. The caller holds the lock.
func (s *Store) tell(w saga.Wake) {
	for _, listener := range s.listeners {
		select {
		case listener <- w:
		default:
		}
	}
}

// Listen calls wake for every word, the caller's own among them, until ctx ends, and returns its error: see saga.Queue.
// What was told before ctx ended may be lost.
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
	w := saga.Wake{Kind: saga.WakeWork} // something may have come before
	for ctx.Err() == nil {
		wake(w)
		select {
		case <-ctx.Done(): // also where a word waits: whichever is chosen, the loop ends
		case w = <-words:
		}
	}
	return ctx.Err()
}
