package saga

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of a Store.
var (
	// ErrNotFound: there is no such run, or no such follow-up.
	ErrNotFound = errors.New("no such run")
	// ErrFenced: the version or epoch of the run has changed since the writer read the run; nothing was written.
	ErrFenced = errors.New("another writer has changed the run")
	// ErrChanged: the version of the run is not Action.IfVersion, or the run has an action that is not consumed yet. For a
	// follow-up, ErrChanged means that a run may be executing the follow-up now. Nothing was written.
	ErrChanged = errors.New("the run has changed")
	// ErrBadRow: the database refuses the contents of the checkpoint, and would refuse them again; nothing was written.
	ErrBadRow = errors.New("the database refuses the checkpoint")
	// ErrKeyUsed: the merchant has used the idempotency key before; nothing was written.
	ErrKeyUsed = errors.New("the idempotency key was used before")
	// ErrRetried: the run has a successor already; nothing was written.
	ErrRetried = errors.New("the run was retried before")
	// ErrNoToken: the store has no user's token for the run, because the token was used, has expired, or was never stored.
	ErrNoToken = errors.New("the user's token is gone")
	// ErrUnavailable: the database cannot be reached or written now, and it is unknown whether anything was written.
	ErrUnavailable = errors.New("the database is unavailable")
	// ErrDiskFull is an ErrUnavailable: the database cannot be written, because its disk is full.
	ErrDiskFull = fmt.Errorf("%w: its disk is full", ErrUnavailable)
	// ErrReadOnly is an ErrUnavailable: the database can be read but not written.
	ErrReadOnly = fmt.Errorf("%w: it is read-only", ErrUnavailable)
)

// SubjectBusyError names another run with the subject of the new run. If a run with this subject is live, the error names the
// newest live run. Otherwise, the error names the newest run that ended after the new run was accepted.
type SubjectBusyError struct{ RunID string }

func (e *SubjectBusyError) Error() string { return "the subject is held by run " + e.RunID }

// AlreadySucceededError refuses a retry of a compensated run. A later run of the same user, with the same Run.Doubles, has
// succeeded. The effect of the retry therefore exists already. If there are several such runs, the error names the oldest one.
// Nothing was written.
type AlreadySucceededError struct {
	RunID      string
	AcceptedAt time.Time
}

func (e *AlreadySucceededError) Error() string {
	return fmt.Sprintf("run %s of the same user (accepted %s) has already succeeded with the same effect; if the effect is wanted "+
		"twice, the portal must order again with a new key", e.RunID, e.AcceptedAt.UTC().Format(time.RFC3339))
}

// Store stores runs. After an error that this package does not declare, it is unknown whether anything was written.
type Store interface {
	// Create stores a run with its steps, first events, key and user's token, in one transaction. If Run.Replica is set, Create
	// gives that replica the lease on the run. If Run.RetryOf is set, the key moves to the new run. If Run.WaitsFor is empty and
	// another live run has the same subject, Create returns *SubjectBusyError. Create can also return ErrKeyUsed, ErrRetried and
	// *AlreadySucceededError.
	Create(ctx context.Context, n NewRun) error
	// Commit writes each checkpoint independently of the others. Commit returns one result per checkpoint, in the same order. If a
	// checkpoint was refused, the error in its result is ErrFenced or ErrBadRow.
	Commit(ctx context.Context, now time.Time, checkpoints []Checkpoint) []CommitResult
	// Tip reads the epoch and the version of a run.
	Tip(ctx context.Context, runID string) (epoch, version int64, err error)
	// Run reads a run with its steps and objects.
	Run(ctx context.Context, runID string) (*Run, error)
	// RunOfKey reads the run that has a merchant's idempotency key.
	RunOfKey(ctx context.Context, merchant, key string) (*Run, error)
	// Runs reads the runs that match the filter, newest first, with their steps and objects.
	Runs(ctx context.Context, f Filter) ([]*Run, error)
	// Latest searches the succeeded runs of a merchant. For each id, Latest reads the run that has made or adopted the object of this kind and
	// id. If there are several such runs, Latest reads the run that ended last. The runs about an object execute one at a time. The run that
	// ended last does not always have the greatest id, because a run gets its id before it is accepted. If there is no such run for an id, the
	// result does not contain the id. The result can contain one run for several ids.
	Latest(ctx context.Context, merchant, kind string, ids []string) (map[string]*Run, error)
	// Events returns at most `limit` events of a run, oldest first. The parameter `after` is the Seq of the last event that the caller already
	// has.
	Events(ctx context.Context, runID string, after int64, limit int) ([]Event, error)
	// LiveRuns counts the runs of a merchant that have not ended. It omits the runs that wait for a password (see
	// Run.AwaitsPassword), and the runs of follow-ups, which nobody has ordered.
	LiveRuns(ctx context.Context, merchant string) (int, error)
	// AddAction stores an action. AddAction then wakes the replica that executes the run, or makes the run due if no replica executes it. If
	// the run has an unconsumed action with a later At than the new action, AddAction stores the new action with this later time. So no action
	// has an earlier At than the unconsumed actions that were stored before it. If Action.IfVersion is set, AddAction may return ErrChanged:
	// of several actions for one version, only one is stored.
	AddAction(ctx context.Context, now time.Time, v Action) error
	// Actions reads the actions of a run that are not consumed yet, oldest first.
	Actions(ctx context.Context, runID string) ([]Action, error)

	FollowUpStore
}

// NewRun is a run to be created.
type NewRun struct {
	Run            *Run
	Events         []Event
	Token          string // the user's token; the Store seals it and stores it apart from the run
	TokenExpiresAt time.Time
}

// Checkpoint contains the changes that one write makes to a run. If the stored epoch or version differs from the epoch or version
// in Run, the write is refused.
type Checkpoint struct {
	Run       *Run      // the run after the change, but with the Version that was read
	Replica   string    // the replica that has the lease before the write
	Steps     []StepRow // the changed rows
	Events    []Event
	Objects   []Object // objects that were made or removed
	Consumed  []int64  // the ids of the consumed actions
	DropToken bool
	// FollowUps are the follow-ups to store or to drop. If DueAt is zero, the stored follow-up with this Workflow and ID is dropped.
	// Otherwise, the new follow-up replaces the stored follow-up: the stored RunID and Hold do not change, and the stored TakenAt becomes
	// nil.
	FollowUps []FollowUp
}

// CommitResult is the result of one checkpoint.
type CommitResult struct {
	Err       error
	Actions   bool // the run has a stored action that is not consumed yet
	Successor bool // the run has ended, and another live run has the same subject
}

// ObjectRef names an object upstream.
type ObjectRef struct{ Kind, ID string }

// Filter chooses runs. An empty field matches every run.
type Filter struct {
	Merchant      string
	Workflow      string
	User          string
	Objects       []ObjectRef // only runs that made or adopted all these objects
	Subject       string
	Live          bool       // only runs that have not ended
	AwaitsRecheck bool       // only runs with a re-check that is still to come
	States        []RunState // only runs in one of these states
	// Attention chooses only runs that need the attention of a person at this time: see Run.AttentionAt. Attention also chooses an
	// ended run if its id is the RunID of a follow-up that has a Reason. When the follow-up is taken again, Attention no longer
	// chooses the run.
	Attention time.Time
	Since     time.Time // only runs created at or after this time
	Before    string    // only runs older than the run with this id
	Limit     int
}

// Queue grants leases on runs to replicas, and wakes replicas.
type Queue interface {
	// Join registers a replica, and returns the database's time. The parameter `until` is the end of the replica's lease. A replica
	// must know the database's time before it decides that the lease of another replica has ended.
	Join(ctx context.Context, replica string, until time.Time) (databaseTime time.Time, err error)
	// Renew extends the replica's lease, and frees the runs of replicas whose leases have ended. Renew returns ErrLeaseLost if the
	// replica's lease had ended before the time `now`.
	Renew(ctx context.Context, replica string, now, until time.Time) (Renewal, error)
	// Leave ends the replica's lease and hands back all its runs, which are then due at once.
	Leave(ctx context.Context, replica string, now time.Time) error
	// Claim grants leases on due runs to a replica, and begins the next epoch of each of these runs. Claim first takes the runs that an action
	// or the end of a predecessor has woken, and the expired runs. For Claim, a run has expired if it still waits for a predecessor, is not
	// held, and has a BudgetFrom before c.Expired. Claim then takes the other due runs, beginning with the lowest turn, so that merchants are
	// served round-robin. The turn of a run is a number: the number of executing runs of the same merchant, plus the number of older due runs
	// of this merchant. If runs have the same turn, the oldest run is first.
	Claim(ctx context.Context, c Claim) (runIDs []string, err error)
	// Take grants a lease on one run to a replica if no replica has a lease on the run, and if the run has the given version. The run need not
	// be due, but is due from now on: if the replica ends, another replica claims the run. Take begins the next epoch of the run. Take returns
	// an error if the replica has not joined.
	Take(ctx context.Context, t Take) (taken bool, err error)
	// Due counts the due runs.
	Due(ctx context.Context, d Due) (int, error)
	// HandBack ends the replica's lease on each run that is not in the list `working` and whose last write is older than the time
	// `before`. If an answer of the database was lost, a replica may have a lease on a run that it does not execute.
	HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error
	// Listen calls the function `wake` when another replica reports work, an action or the end of a run. Listen returns when ctx
	// ends or the connection fails. Listen may miss reports, so the caller must poll as well.
	Listen(ctx context.Context, wake func(Wake)) error
}

// Claim is a replica's request for leases on runs: see Queue.Claim.
type Claim struct {
	Due

	Replica string
	Limit   int
}

// Take is a replica's request for a lease on one run: see Queue.Take.
type Take struct {
	Replica string
	RunID   string
	Version int64 // the version that the run must have
	Now     time.Time
	Handed  bool // the replica has received a password for the run: Take increases Run.Handed
}

// Due selects due runs: runs without a lease whose due time is not after Now. A run that waits for an upstream in Down is not due,
// with one exception. The run is due if it still goes forward and has a BudgetFrom before Expired, because it must then be
// compensated or held.
type Due struct {
	Now     time.Time
	Down    []string // upstreams with an open circuit
	Expired time.Time
}

// Renewal is the result of extending a lease.
type Renewal struct {
	Now   time.Time // the database's time; zero if the database uses this machine's clock
	Freed bool      // the lease of another replica has ended, so the runs of that replica can be leased again
}

// Wake is a message from another replica. If RunID is empty, the message is not about a certain run: some run without a lease may
// be due.
type Wake struct {
	Kind  WakeKind
	RunID string
}

// WakeKind is the kind of message that a Wake carries.
type WakeKind string

// The kinds of messages.
const (
	WakeWork   WakeKind = "work"
	WakeAction WakeKind = "action"
	WakeEnded  WakeKind = "ended"
)
