package workflows

import "sync"

// Handover passes a scoped token from a step to the API request that waits for the token on the same replica. Handover keeps the
// token in memory only. The zero value is ready to use.
type Handover struct {
	mu     sync.Mutex
	tokens map[string]string // the token by run id; empty until the step has called the method `put`
}

// Await registers an API request that waits for the token of a run. Call Await before the run starts. The function `take` returns
// the token, and does not block. Until the step has called `put`, the result `ok` is false. The function `stop` ends the wait and
// deletes the token. `stop` may be called twice.
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

// The method `put` stores the token for the API request that waits for the token. If no request waits, `put` discards the token.
func (h *Handover) put(runID, token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, awaited := h.tokens[runID]; awaited {
		h.tokens[runID] = token
	}
}
