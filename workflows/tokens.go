package workflows

import "sync"

// Handover passes a scoped token from the step that got it to the request that waits for it on the same replica. The token is
// kept in memory only. The zero value is ready to use.
type Handover struct {
	mu     sync.Mutex
	tokens map[string]string // by run id; empty until the step has put the token
}

// Await registers a request for the token of a run that is about to start. take does not block: ok is false until the step has
// put the token. stop ends the wait and forgets the token; it may be called twice.
func (h *Handover) Await(runID string) (take func() (token string, ok bool), stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens == nil {
		h.tokens = map[string]string{}
	}
	h.tokens[runID] = ""
	take = func() (string, bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		token := h.tokens[runID]
		return token, token != ""
	}
	return take, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.tokens, runID)
	}
}

// put hands over a token if a request waits for it, and otherwise drops it.
func (h *Handover) put(runID, token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, awaited := h.tokens[runID]; awaited {
		h.tokens[runID] = token
	}
}
