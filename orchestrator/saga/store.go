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
	// ErrFenced: the run has another version or epoch than the writer knew; nothing was written.
	ErrFenced = errors.New("the run was written by somebody else")
	// ErrBadRow: the database refuses what the checkpoint holds, whenever it is tried; nothing was written.
	ErrBadRow = errors.New("the database refuses the checkpoint")
	// ErrKeyUsed: the merchant has used the idempotency key before; nothing was written.
	ErrKeyUsed = errors.New("the idempotency key was used before")
	// ErrRetried: the run has a successor already; nothing was written.
	ErrRetried = errors.New("the run was retried before")
	// ErrNoToken: the user's token of the run was used, has expired, or was never stored.
	ErrNoToken = errors.New("the user's token is gone")
	// ErrAlreadySucceeded: another run of the user has succeeded in what this one would double; nothing was written.
	ErrAlreadySucceeded = errors.New("another run has since succeeded in what this one would double")
)

// SubjectBusyError says which live run about the subject is the youngest.
type SubjectBusyError struct{ RunID string }

func (e *SubjectBusyError) Error() string { return "the subject is held by run " + e.RunID }

// Store keeps runs. Every error that is not one of the above means that it is unknown whether anything was written.
type Store interface {
	// Create stores a run with its steps, its first events, its key and its user's token, all or nothing.
	// A run with a Replica is inserted leased to it. Where RetryOf is set, the key moves to the new run.
	// A new run that does not wait (WaitsFor empty) is refused with SubjectBusyError while another lives.
	// It returns ErrKeyUsed, ErrRetried, ErrAlreadySucceeded.
	Create(ctx context.Context, n NewRun) error
	// Commit writes checkpoints, each for itself, and answers in their order: nil, ErrFenced or ErrBadRow.
	Commit(ctx context.Context, now time.Time, checkpoints []Checkpoint) []CommitResult
	// Tip reads the epoch and the version of a run.
	Tip(ctx context.Context, runID string) (epoch, version int64, err error)
	// Run reads a run with its steps and objects.
	Run(ctx context.Context, runID string) (*Run, error)
	// RunOfKey reads the run that stands for a merchant's idempotency key.
	RunOfKey(ctx context.Context, merchant, key string) (*Run, error)
	// Runs reads the runs that match, youngest first, with their steps and objects.
	Runs(ctx context.Context, f Filter) ([]*Run, error)
	// Events reads the events of a run with a higher seq than after, in order.
	Events(ctx context.Context, runID string, after int64, limit int) ([]Event, error)
	// LiveRuns counts the runs of a merchant that have not ended.
	LiveRuns(ctx context.Context, merchant string) (int, error)
	// AddAction stores what an operator wants and wakes who works on the run, or makes it due.
	AddAction(ctx context.Context, now time.Time, v Action) error
	// Actions reads the actions of a run that nobody has consumed, oldest first.
	Actions(ctx context.Context, runID string) ([]Action, error)
}

// NewRun is a run to be created.
type NewRun struct {
	Run            *Run
	Events         []Event
	Token          string // the user's; sealed by the store, apart from the run
	TokenExpiresAt time.Time
}

// Checkpoint is what one write changes in a run. It holds only if the run's epoch and version are still those of Run.
type Checkpoint struct {
	Run       *Run      // its mutable fields after the change; Version still as it was read
	Replica   string    // that holds the lease until now
	Steps     []StepRow // of those that the run was created with
	Events    []Event
	Objects   []Object // made or removed
	Consumed  []int64  // actions
	DropToken bool
}

// CommitResult answers one checkpoint.
type CommitResult struct {
	Err       error
	Actions   bool // an operator's action waits for this run
	Successor bool // the run ended, and another waits for its subject
}

// ObjectRef names an object upstream.
type ObjectRef struct{ Kind, ID string }

// Filter chooses runs; empty fields choose all.
type Filter struct {
	Merchant      string
	Workflow      string
	User          string
	Objects       []ObjectRef // that the run made or adopted: all of them
	Subject       string
	Live          bool // not ended
	AwaitsRecheck bool // re-checks for late effects are still to come
	State         RunState
	Since         time.Time // created at or after
	Before        string    // runs older than the one with this id
	Limit         int
}

// Queue is what claims and wakes runs.
type Queue interface {
	// Join registers a replica whose lease runs until then, and returns the database's time. Until it knows that
	// time, a replica must not declare another's lease ended.
	Join(ctx context.Context, replica string, until time.Time) (databaseTime time.Time, err error)
	// Renew prolongs the lease, and frees the runs of the replicas whose leases have ended.
	// It returns ErrLeaseLost if the lease had ended before now.
	Renew(ctx context.Context, replica string, now, until time.Time) (Renewal, error)
	// Leave ends the lease and hands back all runs of the replica, due now.
	Leave(ctx context.Context, replica string, now time.Time) error
	// Claim takes runs that nobody works on and that are due, under their next epoch. Runs that an action or the end of a
	// predecessor woke come first. Then merchants take turns: a run's turn is how many of its merchant's runs are worked
	// on already, by whatever replica, or are due and older; of equal turns the oldest is first.
	Claim(ctx context.Context, c Claim) (runIDs []string, err error)
	// Due counts the runs that a claim might take for their time having come, but for those that wait for an upstream
	// that is down.
	Due(ctx context.Context, now time.Time, down []string) (int, error)
	// HandBack gives up the runs leased to the replica that were last written before the given time and are not among
	// those that it works on: a lost answer can leave such runs behind.
	HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error
	// Listen tells of work, actions and ends on other replicas until ctx ends or it breaks. It may miss some: poll as well.
	Listen(ctx context.Context, wake func(Wake)) error
}

// Claim is what a replica can take.
type Claim struct {
	Replica string
	Now     time.Time
	Limit   int
	Down    []string // upstreams: runs whose Reason names one are left, unless an action woke them
}

// Renewal is what a replica learns when it prolongs its lease.
type Renewal struct {
	Now   time.Time // the database's time; zero where it is this machine's
	Freed bool      // another replica was found dead: there is work to claim
}

// Wake is a word from another replica. RunID is empty where any unleased run may be meant.
type Wake struct {
	Kind  WakeKind
	RunID string
}

// WakeKind says what a Wake is about.
type WakeKind string

// What other replicas tell.
const (
	WakeWork   WakeKind = "work"
	WakeAction WakeKind = "action"
	WakeEnded  WakeKind = "ended"
)
