package saga

import (
	"context"
	"encoding/json"
	"time"
)

// Starter accepts runs.
type Starter interface {
	// Start accepts a run: when it returns nil, the run is stored and a replica will execute it. It returns ErrKeyUsed if the
	// merchant has used the key before and, for a RetryOf, ErrRetried or ErrAlreadySucceeded. After any other error, it is unknown
	// whether the run exists: repeat the request with the same key.
	Start(ctx context.Context, q Request) (*Run, error)
}

// Reader reads runs.
type Reader interface {
	// Run reads a run with its steps and objects. It returns ErrNotFound if there is none.
	Run(ctx context.Context, runID string) (*Run, error)
	// RunOfKey reads the run that has a merchant's idempotency key. It returns ErrNotFound if there is none.
	RunOfKey(ctx context.Context, merchant, key string) (*Run, error)
	// Runs reads the runs that match, newest first, with their steps and objects.
	Runs(ctx context.Context, f Filter) ([]*Run, error)
	// Events reads up to limit events of a run whose seq is higher than after, in order.
	Events(ctx context.Context, runID string, after int64, limit int) ([]Event, error)
	// LiveRuns counts the runs of a merchant that have not ended.
	LiveRuns(ctx context.Context, merchant string) (int, error)
	// Result returns what a run shows as its result. It is JSON null if this release does not know the run's workflow.
	Result(r *Run) (json.RawMessage, error)
	// EndsIn estimates the time until a run has ended; nil means a run that is accepted now. It returns false if there is no
	// estimate yet.
	EndsIn(r *Run) (time.Duration, bool)
	// Watch starts to receive the changes of a run, which need not exist yet. The caller must close the watcher.
	Watch(runID string) Watcher
}

// Watcher receives the changes of one run. A watcher that is made before its run misses none.
type Watcher interface {
	// See calls see with the run and again after each change, until see returns false, ctx ends, or the run cannot be read. run is
	// the run as the caller read it after the watcher was made; if it is nil, See reads the run. Changes in quick succession may be
	// combined into one.
	See(ctx context.Context, run *Run, see func(*Run) bool) error
	// Close stops the watcher.
	Close()
}

// Actions accepts what operators and merchants ask of runs.
type Actions interface {
	// Act stores an action. The replica that executes the run applies it at the next checkpoint. Act may be repeated. It returns
	// ErrNotFound, or *RefusedError if the run's state does not allow the action. A retry of a compensated run is accepted as a new
	// run, the successor, or refused with *RetryRefusedError. For all other actions the successor is nil.
	Act(ctx context.Context, a Action) (successor *Run, err error)
}

// RetryRefusedError says why a compensated run cannot be repeated.
type RetryRefusedError struct {
	Code   string // a stable word
	Detail string
	FixBy  FixBy
}

func (e *RetryRefusedError) Error() string { return e.Detail }
