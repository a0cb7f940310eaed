package saga

import (
	"context"
	"encoding/json"
	"time"
)

// Starter accepts runs.
type Starter interface {
	// Start accepts a run: when it returns, the run is stored and somebody will execute it. It returns ErrKeyUsed if the
	// merchant has used the key. Any other error leaves open whether the run exists: repeat the request with the same key.
	Start(ctx context.Context, q Request) (*Run, error)
}

// Reader reads runs.
type Reader interface {
	// Run reads a run with its steps and objects. It returns ErrNotFound if there is none.
	Run(ctx context.Context, runID string) (*Run, error)
	// RunOfKey reads the run that stands for a merchant's idempotency key. It returns ErrNotFound if there is none.
	RunOfKey(ctx context.Context, merchant, key string) (*Run, error)
	// Runs reads the runs that match, youngest first, with their steps and objects.
	Runs(ctx context.Context, f Filter) ([]*Run, error)
	// Events reads the events of a run with a higher seq than after, in order.
	Events(ctx context.Context, runID string, after int64, limit int) ([]Event, error)
	// LiveRuns counts the runs of a merchant that have not ended.
	LiveRuns(ctx context.Context, merchant string) (int, error)
	// Result computes what a run shows as its result. It is null for a run of a workflow that this release does not know.
	Result(r *Run) (json.RawMessage, error)
	// EndsIn estimates in what time the run has ended; nil is a run that would be accepted now. False: nobody can tell yet.
	EndsIn(r *Run) (time.Duration, bool)
	// Watch begins to hear of a run, which need not exist yet. The watcher is to be closed.
	Watch(runID string) Watcher
}

// Watcher hears of changes of one run. One that is made before its run misses nothing.
type Watcher interface {
	// See calls see with the run as it stands and after each change, until see returns false, ctx ends, or the run cannot be
	// read. It begins with the run as the caller knows it since the watcher was made; nil has it read. Changes in quick
	// succession may be seen as one.
	See(ctx context.Context, run *Run, see func(*Run) bool) error
	// Close ends the hearing.
	Close()
}

// Actions takes what operators and merchants ask of runs.
type Actions interface {
	// Act stores an action, which is executed as soon as the run can take it in; asking again is harmless. It returns
	// *RefusedError if the run's state does not allow it, ErrNotFound, or the successor that a retry of a compensated run
	// has started (nil for all else). Such a retry is a new acceptance: *RetryRefusedError says why it is refused.
	Act(ctx context.Context, a Action) (successor *Run, err error)
}

// RetryRefusedError says why a compensated run cannot be repeated.
type RetryRefusedError struct {
	Code   string // a stable word
	Detail string
	FixBy  FixBy
}

func (e *RetryRefusedError) Error() string { return e.Detail }
