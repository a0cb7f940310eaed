package saga

import (
	"context"
	"encoding/json"
	"time"
)

// Starter accepts runs and makes dry runs.
type Starter interface {
	// Start accepts a run. When Start returns no error, the run is stored and a replica will execute it. Start returns ErrKeyUsed if
	// the merchant has used the key before. If q.RetryOf is set, Start may also return ErrRetried or *AlreadySucceededError. After
	// any other error, it is unknown whether the run exists: repeat the request with the same key.
	Start(ctx context.Context, q Request) (*Run, error)
	// HandOver gives the password to a run that waits for it: see Run.AwaitsPassword. This replica then executes the run. The password is
	// never stored. HandOver returns ErrChanged if the run does not wait for a password, or if this replica cannot take the run now. HandOver
	// returns ErrNotFound if the run does not exist. HandOver may be repeated.
	HandOver(ctx context.Context, runID, password string) error
	// DryRun returns the effects that the run of the request would have now, and changes nothing: see Machine.DryRun.
	DryRun(ctx context.Context, q Request) (DryRun, error)
}

// Reader reads runs.
type Reader interface {
	// Run reads a run with its steps and objects. Run returns ErrNotFound if the run does not exist.
	Run(ctx context.Context, runID string) (*Run, error)
	// RunOfKey reads the run that has a merchant's idempotency key. RunOfKey returns ErrNotFound if no run has the key.
	RunOfKey(ctx context.Context, merchant, key string) (*Run, error)
	// Runs reads the runs that match the filter, newest first, with their steps and objects.
	Runs(ctx context.Context, f Filter) ([]*Run, error)
	// Events returns at most `limit` events of a run, oldest first. The parameter `after` is the Seq of the last event that the caller already
	// has.
	Events(ctx context.Context, runID string, after int64, limit int) ([]Event, error)
	// LiveRuns counts the runs of a merchant that have not ended. It omits the runs that wait for a password (see
	// Run.AwaitsPassword), and the runs of follow-ups, which nobody has ordered.
	LiveRuns(ctx context.Context, merchant string) (int, error)
	// Result returns the result of a run as JSON. The result is JSON null if this release does not know the run's workflow.
	Result(r *Run) (json.RawMessage, error)
	// EndsIn estimates the time until run r ends. If r is nil, EndsIn estimates the time for a run that is accepted now. EndsIn
	// returns false if there is no estimate yet.
	EndsIn(r *Run) (time.Duration, bool)
	// Watch returns a watcher that receives the changes of a run. The run need not exist yet. The caller must close the watcher.
	Watch(runID string) Watcher
}

// Watcher receives the changes of one run. If the watcher is made before the run, the watcher misses no change.
type Watcher interface {
	// See reports the run to the function `see`, and reports the run again after each change. Watching ends when the function `see`
	// returns false, when ctx ends, or when the run cannot be read. Make the watcher first, and then read the run that you pass as
	// the argument `run`. If the argument is nil, the watcher reads the run. Changes in quick succession may be reported as one
	// change.
	See(ctx context.Context, run *Run, see func(*Run) bool) error
	// Close stops the watcher.
	Close()
}

// Follower reads the changes of many runs with few queries.
type Follower interface {
	// Updated reads the time of the last change of each run in `ids`. It also reads the id of the newest run of each merchant in
	// `merchants`. In `merchants`, the empty text stands for all merchants together. The results do not contain a run or merchant that is
	// not found. Updated makes one query.
	Updated(ctx context.Context, ids, merchants []string) (updated map[string]time.Time, newest map[string]string, err error)
	// RunsOf reads the runs with these ids, with their steps and objects, in any order. RunsOf makes three queries.
	RunsOf(ctx context.Context, ids []string) ([]*Run, error)
	// LastEvents reads at most the last `limit` events of each of these runs, oldest first. LastEvents makes one query.
	LastEvents(ctx context.Context, ids []string, limit int) (map[string][]Event, error)
}

// Actions accepts actions, which are requests of operators and merchants to change a run.
type Actions interface {
	// Act stores an action. The replica that executes the run applies the action at the next checkpoint. Act may be repeated. Act
	// returns ErrNotFound if the run does not exist, ErrChanged if the version of the run is not Action.IfVersion, and
	// *RefusedError if the run's state does not allow the action. If the action is a retry of a compensated run, Act starts a new
	// run and returns it as the successor. If the retry is refused, Act returns *RetryRefusedError. For all other actions, the
	// successor is nil.
	Act(ctx context.Context, a Action) (successor *Run, err error)
}

// RetryRefusedError contains the reason why a compensated run cannot be repeated.
type RetryRefusedError struct {
	Code   Code // a stable word for the reason
	Detail string
	FixBy  FixBy
}

func (e *RetryRefusedError) Error() string { return e.Detail }
