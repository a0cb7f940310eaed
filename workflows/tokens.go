package workflows

import "sync"

// Handover passes a scoped token from the step that got it to the request that still waits for it on this replica.
// The token is nowhere else. The zero value is ready to use.
type Handover struct {
	mu     sync.Mutex
	tokens map[string]string // by run; empty: awaited, not there yet
}

// Await begins to wait for the token of a run that is about to start. take gives the token once it is there; stop ends
// the waiting and forgets the token.
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

// put hands a token over if somebody awaits it.
func (h *Handover) put(runID, token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, awaited := h.tokens[runID]; awaited {
		h.tokens[runID] = token
	}
}
