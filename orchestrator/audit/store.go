package audit

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Errors of a Store.
var (
	// ErrNotFound: there is no such audit, finding or plan.
	ErrNotFound = errors.New("no such audit, finding or plan")
	// ErrExists: there is an audit with this id.
	ErrExists = errors.New("the audit exists already")
	// ErrBusy: MaxPending audits wait already.
	ErrBusy = errors.New("too many audits wait")
	// ErrLost: another replica executes the audit, or it has ended. Nothing was written.
	ErrLost = errors.New("another replica executes the audit")
	// ErrResolved: the finding is resolved, so that it cannot be accepted.
	ErrResolved = errors.New("the finding is resolved")
)

// MaxPending is the maximum number of audits that wait.
const MaxPending = 10

// Store stores audits, findings and, as a PlanStore, the plans that list their repairs. Times are those of the caller's clock.
type Store interface {
	PlanStore

	// Create stores a pending audit. It returns ErrExists if the id is taken, and ErrBusy if MaxPending audits wait.
	Create(ctx context.Context, a Audit) error
	// Take gives the oldest pending audit to a replica, or a running audit whose BeatAt is before lost. The audit is then running, its
	// StartedAt and BeatAt are now, and its progress is empty. At most one audit runs at a time: if one runs whose BeatAt is not before
	// lost, or if there is none to take, Take returns ErrNotFound. Of several replicas, one takes an audit.
	Take(ctx context.Context, replica string, now, lost time.Time) (Audit, error)
	// Beat says that the replica is alive, and stores the progress. It returns ErrLost if the replica no longer executes the audit.
	Beat(ctx context.Context, auditID, replica string, now time.Time, p Progress) error
	// Finish ends an audit, and stores its findings, in one transaction: see Outcome. It returns ErrLost if the replica no longer
	// executes the audit.
	Finish(ctx context.Context, replica string, o Outcome) error

	// Audit reads an audit.
	Audit(ctx context.Context, id string) (Audit, error)
	// Audits reads at most `limit` audits, newest first. If before is set, it reads only audits older than the one with this id.
	Audits(ctx context.Context, before string, limit int) ([]Audit, error)

	// Findings reads at most f.Limit findings, sorted by id.
	Findings(ctx context.Context, f Filter) ([]Finding, error)
	// Finding reads one finding.
	Finding(ctx context.Context, id string) (Finding, error)
	// History returns the last changes of the status of a finding, oldest first, at most 100.
	History(ctx context.Context, id string) ([]Change, error)
	// Accept changes the status of an open or accepted finding to accepted, or back to known if the acceptance is nil. An open finding
	// without an acceptance then stays as it is. `by` is who does it, and when. Accept returns ErrResolved if the finding is resolved.
	Accept(ctx context.Context, id string, by Change, a *Acceptance) (Finding, error)

	// EachRun reads all runs that the filter selects, sorted by their ids, and calls take for each. It reads in pages, so a run that is created
	// meanwhile may be left out. If take returns an error, EachRun stops and returns it.
	//
	// A run that has succeeded has only the fields that say what it has left: ID, Workflow, WorkflowVersion, Merchant, Cloud, Subject,
	// State, Version, Input, EndedAt, and of its steps what is pinned and the output. Other runs have all fields, steps and objects.
	EachRun(ctx context.Context, f RunFilter, take func(*saga.Run) error) error
	// Entries reads at most f.Limit entries of the ledger, also those of objects that are gone. The entries of the newest run are first.
	Entries(ctx context.Context, f EntryFilter) ([]Entry, error)
}

// RunFilter selects runs. An empty field selects all.
type RunFilter struct {
	ID         string
	MerchantID string
	Subject    string
	Object     *saga.ObjectRef // only runs that made, adopted or removed the object
}

// Outcome is the end of an audit.
type Outcome struct {
	Audit    Audit // State, EndedAt, Progress, Gaps, Found, Read and Failure are stored
	Seen     []Finding
	Resolved []string // the ids of the findings that the audit has looked for and not seen
}

// Finish stores the findings of Seen by their ids, with the time Audit.EndedAt:
//
//   - A finding that was not stored is new.
//   - A finding that was new or known is known.
//   - A finding that was resolved is new again; its FirstSeen and FirstAudit are those of this audit.
//   - A finding that was accepted stays accepted, unless its acceptance has ended by then, or it is more severe than it was: then it is
//     known.
//
// The other fields are replaced. A finding of Resolved that is open or accepted is resolved; its acceptance is kept in the history only.
// A finding that is in Seen, too, is not resolved.

// Change is a change of the status of a finding.
type Change struct {
	At      time.Time
	Status  Status
	AuditID string // the audit that has changed it; empty: a person
	Who     string // the person
	Why     string
	Until   *time.Time
}

// Filter selects findings. An empty field selects all.
type Filter struct {
	Statuses               []Status
	Severity               Severity // this one and worse
	Codes                  []Code
	Cloud                  string
	MerchantID             string
	CustomerID             string
	ProjectID              string
	SubscriptionID, UserID string
	AuditID                string // the findings whose last audit is this one
	After                  string // only findings with greater ids
	Limit                  int
}
