package saga

import (
	"context"
	"errors"
	"time"
)

// Errors of a Store.
var (
	// ErrNotFound: there is no such run.
	ErrNotFound = errors.New("no such run")
	// ErrFenced: the run has another version or epoch than the writer read; nothing was written.
	ErrFenced = errors.New("another writer has changed the run")
	// ErrBadRow: the database refuses the contents of the checkpoint, and would refuse them again; nothing was written.
	ErrBadRow = errors.New("the database refuses the checkpoint")
	// ErrKeyUsed: the merchant has used the idempotency key before; nothing was written.
	ErrKeyUsed = errors.New("the idempotency key was used before")
	// ErrRetried: the run has a successor already; nothing was written.
	ErrRetried = errors.New("the run was retried before")
	// ErrNoToken: the user's token of the run was used, has expired, or was never stored.
	ErrNoToken = errors.New("the user's token is gone")
	// ErrAlreadySucceeded: another run of the user has already made what this one would make again; nothing was written.
	ErrAlreadySucceeded = errors.New("another run has since made what this one would make again")
	// ErrUnavailable: the database cannot be reached or written now. It is unknown whether anything was written.
	ErrUnavailable = errors.New("the database is unavailable")
)

// SubjectBusyError names the newest live run about the subject.
type SubjectBusyError struct{ RunID string }

func (e *SubjectBusyError) Error() string { return "the subject is held by run " + e.RunID }

// Store stores runs. After an error other than those above, it is unknown whether anything was written.
type Store interface {
	// Create stores a run with its steps, first events, key and user's token, in one transaction. A run with a Replica is stored
	// with a lease of that replica. If RetryOf is set, the key moves to the new run. A run with an empty WaitsFor is refused with
	// SubjectBusyError while another run about its subject is live. Create also returns ErrKeyUsed, ErrRetried and
	// ErrAlreadySucceeded.
	Create(ctx context.Context, n NewRun) error
	// Commit writes checkpoints, each independently of the others, and returns their results in the same order: nil, ErrFenced or
	// ErrBadRow.
	Commit(ctx context.Context, now time.Time, checkpoints []Checkpoint) []CommitResult
	// Tip reads the epoch and the version of a run.
	Tip(ctx context.Context, runID string) (epoch, version int64, err error)
	// Run reads a run with its steps and objects.
	Run(ctx context.Context, runID string) (*Run, error)
	// RunOfKey reads the run that has a merchant's idempotency key.
	RunOfKey(ctx context.Context, merchant, key string) (*Run, error)
	// Runs reads the runs that match, newest first, with their steps and objects.
	Runs(ctx context.Context, f Filter) ([]*Run, error)
	// Events reads up to limit events of a run whose seq is higher than after, in order.
	Events(ctx context.Context, runID string, after int64, limit int) ([]Event, error)
	// LiveRuns counts the runs of a merchant that have not ended.
	LiveRuns(ctx context.Context, merchant string) (int, error)
	// AddAction stores an action, and wakes the replica that executes the run or makes the run due.
	AddAction(ctx context.Context, now time.Time, v Action) error
	// Actions reads the actions of a run that are not consumed yet, oldest first.
	Actions(ctx context.Context, runID string) ([]Action, error)
}

// NewRun is a run to be created.
type NewRun struct {
	Run            *Run
	Events         []Event
	Token          string // the user's; sealed by the store, apart from the run
	TokenExpiresAt time.Time
}

// Checkpoint is what one write changes in a run. The write is refused if the run's epoch or version is no longer that of Run.
type Checkpoint struct {
	Run       *Run      // its mutable fields after the change; Version still as it was read
	Replica   string    // the replica that has the lease before the write
	Steps     []StepRow // that changed
	Events    []Event
	Objects   []Object // made or removed
	Consumed  []int64  // the ids of actions
	DropToken bool
}

// CommitResult is the result of one checkpoint.
type CommitResult struct {
	Err       error
	Actions   bool // an unconsumed action is stored for this run
	Successor bool // the run ended, and another waits for its subject
}

// ObjectRef names an object upstream.
type ObjectRef struct{ Kind, ID string }

// Filter chooses runs; empty fields choose all.
type Filter struct {
	Merchant      string
	Workflow      string
	User          string
	Objects       []ObjectRef // the run made or adopted all of these
	Subject       string
	Live          bool // not ended
	AwaitsRecheck bool // at least one re-check is still to come
	State         RunState
	Since         time.Time // created at or after
	Before        string    // runs older than the one with this id
	Limit         int
}

// Queue leases runs to replicas and wakes replicas.
type Queue interface {
	// Join registers a replica with a lease until the given time, and returns the database's time. Until a replica knows that time,
	// it must not decide that another's lease has ended.
	Join(ctx context.Context, replica string, until time.Time) (databaseTime time.Time, err error)
	// Renew extends the lease, and frees the runs of replicas whose leases have ended. It returns ErrLeaseLost if the lease had
	// ended before now.
	Renew(ctx context.Context, replica string, now, until time.Time) (Renewal, error)
	// Leave ends the lease and hands back all runs of the replica, due now.
	Leave(ctx context.Context, replica string, now time.Time) error
	// Claim leases due runs to a replica, under their next epoch. Runs that an action or the end of a predecessor woke are first.
	// The others are taken round-robin by merchant: a run's turn is the number of its merchant's runs that any replica executes or
	// that are due and older; among equal turns the oldest run is first.
	Claim(ctx context.Context, c Claim) (runIDs []string, err error)
	// Due counts the runs that are due and have no lease, except those that wait for an upstream in down.
	Due(ctx context.Context, now time.Time, down []string) (int, error)
	// HandBack ends the replica's leases on runs that were last written before the given time and are not in working. A lost answer
	// can leave such runs behind.
	HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error
	// Listen calls wake when other replicas report work, actions or ended runs, until ctx ends or the connection fails. It may miss
	// some, so poll as well.
	Listen(ctx context.Context, wake func(Wake)) error
}

// Claim says which runs a replica can claim.
type Claim struct {
	Replica string
	Now     time.Time
	Limit   int
	Down    []string // upstreams whose circuit is open: runs whose Reason names one are not claimed, unless an action woke them
}

// Renewal is the result of extending a lease.
type Renewal struct {
	Now   time.Time // the database's time; zero if the database uses this machine's clock
	Freed bool      // the lease of another replica has ended: its runs can be claimed
}

// Wake is a message from another replica. An empty RunID means any run without a lease.
type Wake struct {
	Kind  WakeKind
	RunID string
}

// WakeKind says what a Wake is about.
type WakeKind string

// The kinds of messages.
const (
	WakeWork   WakeKind = "work"
	WakeAction WakeKind = "action"
	WakeEnded  WakeKind = "ended"
)
