package stories_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The type `killer` kills a replica at one instant of a Do or Undo.
type killer struct {
	t        *testing.T
	place    place
	at       instant
	refused  string // if place is an Undo, an upstream refuses this call, so that the run is compensated
	executes bool   // if true, the upstream executes this call before it refuses it, and refuses it only once: the undo makes the same call
	database string
	cloud    cloud
	done     chan struct{} // closed by the kill

	mu     sync.Mutex
	victim *replica // nil before the call of `arm`, and after the kill
	armed  bool     // whether `arm` was called
	before string   // id of the last run that existed when `arm` was called; empty if there was no run
	once   bool     // whether the call k.refused has been refused
	state  string   // state of the step when the replica was killed
	killed time.Time
}

// The method `arm` makes the killer kill the victim during the next run.
func (k *killer) arm(victim *replica) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := ask(k.t.Context(), k.database, &k.before, "SELECT COALESCE(MAX(id), '') FROM runs"); err != nil {
		k.t.Error(err)
	}
	k.victim, k.armed = victim, true
}

// The method `statement` receives the parameters of each SQL statement before PostgreSQL gets the statement.
func (k *killer) statement(_ string, parameters [][]byte) (pass bool, committed func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.victim == nil {
		return true, nil
	}
	_, under, after := k.place.states()
	state := stepStates(parameters)[k.place.Step]
	intent, outcome := state == under, state == after
	switch {
	case intent && k.at == beforeIntent, outcome && k.at == answered:
		k.strike()
		return false, nil
	case intent && k.at == afterIntent, outcome && k.at == stored:
		return true, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.strike()
		}
	}
	return true, nil
}

// The method `request` handles a replica's request to an upstream. If place is an Undo, the method waits until no other step is
// running, and then refuses the call that k.refused names. Without this wait, one SQL statement could store both the outcome of another
// step and the intents of the first undos. If the field `executes` is true, the method refuses only the victim's first call, and
// sends this call to the upstream before the refusal.
func (k *killer) request(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
	call := callOf(k.cloud.memory, r)
	if k.refuses(call) {
		if err := awaitTrue(k.t.Context(), k.database, oneStepUnderWay); err != nil {
			k.t.Error(err)
		}
		if k.executes {
			next.ServeHTTP(httptest.NewRecorder(), r)
		}
		http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
		return
	}
	k.mu.Lock()
	struck := k.victim != nil && call == k.place.Call
	if struck && k.at == calling {
		k.strike()
		k.mu.Unlock()
		return
	}
	k.mu.Unlock()
	next.ServeHTTP(w, r)
	if struck && k.at == carriedOut {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.strike()
	}
}

// The method `refuses` reports whether an upstream refuses this call, so that the run is compensated.
func (k *killer) refuses(call string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.armed || !k.place.Undo || call != k.refused || k.executes && (k.once || k.victim == nil) {
		return false
	}
	k.once = true
	return true
}

// The method `strike` kills the victim, once. The caller must hold k.mu.
func (k *killer) strike() {
	if k.victim == nil {
		return
	}
	err := ask(k.t.Context(), k.database, &k.state, "SELECT state FROM steps WHERE name = $1 AND run_id > $2", k.place.Step, k.before)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) { // no row means that the step is not stored yet
		k.t.Error(err)
	}
	k.victim.kill()
	k.victim, k.killed = nil, time.Now()
	close(k.done)
}

// endOf returns the time at which a run ended.
func (k *killer) endOf(run string) time.Time {
	var micros int64
	if err := ask(k.t.Context(), k.database, &micros, "SELECT ended_at FROM runs WHERE id = $1", run); err != nil {
		k.t.Error(err)
	}
	return time.UnixMicro(micros)
}
