package audit

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Errors of a Store.
var (
	// ErrNotFound means that there is no such audit, finding or plan.
	ErrNotFound = errors.New("no such audit, finding or plan")
	// ErrExists means that there is an audit with this id already.
	ErrExists = errors.New("the audit exists already")
	// ErrBusy means that MaxPending audits are pending already.
	ErrBusy = errors.New("too many audits wait")
	// ErrLost means that another replica executes the audit, or that the audit has ended. Nothing was written.
	ErrLost = errors.New("another replica executes the audit")
	// ErrResolved means that the finding is resolved, and cannot be accepted.
	ErrResolved = errors.New("the finding is resolved")
)

// MaxPending is the maximum number of pending audits.
const MaxPending = 10

// Store stores audits, findings and, as a PlanStore, repair plans. All times come from the caller's clock.
type Store interface {
	PlanStore

	// Create stores a pending audit. It returns ErrExists if the id is taken, and ErrBusy if MaxPending audits are pending.
	Create(ctx context.Context, a Audit) error
	// Take assigns an audit to a replica: the oldest pending audit, or a running audit whose BeatAt is before `lost`. Take sets the audit's
	// State to running, sets its StartedAt and BeatAt to `now`, and empties its Progress. At most one audit runs at a time: if another audit
	// is running and its BeatAt is `lost` or later, Take returns ErrNotFound. Take also returns ErrNotFound if there is no audit to take. If
	// several replicas call Take at once, one of them gets the audit.
	Take(ctx context.Context, replica string, now, lost time.Time) (Audit, error)
	// Beat stores a heartbeat of the replica, and the progress of the audit. It returns ErrLost if the replica no longer executes the
	// audit.
	Beat(ctx context.Context, auditID, replica string, now time.Time, p Progress) error
	// Finish ends an audit, and stores its findings, in one transaction: see Outcome. It returns ErrLost if the replica no longer
	// executes the audit.
	Finish(ctx context.Context, replica string, o Outcome) error

	// Audit reads an audit.
	Audit(ctx context.Context, id string) (Audit, error)
	// Audits reads at most `limit` audits, newest first. If `before` is the id of an audit, Audits reads only audits older than that
	// audit.
	Audits(ctx context.Context, before string, limit int) ([]Audit, error)

	// Findings reads at most f.Limit findings, sorted by id.
	Findings(ctx context.Context, f Filter) ([]Finding, error)
	// CountFindings counts the findings that are not resolved. An empty cloud or merchant id selects all of them.
	CountFindings(ctx context.Context, cloud, merchantID string) ([]FindingCount, error)
	// Finding reads one finding.
	Finding(ctx context.Context, id string) (Finding, error)
	// History returns the last changes of a finding's status, oldest first. It returns at most 100 changes.
	History(ctx context.Context, id string) ([]Change, error)
	// Accept changes the status of an open or accepted finding. With an acceptance, the finding becomes accepted. If the acceptance is
	// nil, an accepted finding becomes known, and an open finding stays as it is. The argument `by` says who makes the change, and when.
	// Accept returns ErrResolved if the finding is resolved.
	Accept(ctx context.Context, id string, by Change, a *Acceptance) (Finding, error)

	// EachRun reads all runs that the filter selects, sorted by id, and calls the function `take` for each run. EachRun reads in pages, so it
	// may miss a run that is created meanwhile. If `take` returns an error, EachRun stops, and returns this error.
	//
	// For a succeeded run, EachRun sets only the fields that an audit needs: ID, Workflow, WorkflowVersion, Merchant, Cloud, Subject, State,
	// Version, Input, EndedAt and Steps. In each of these steps, it sets only the pinned fields and the outputs. For all other runs, EachRun
	// sets all fields, including the steps and objects.
	EachRun(ctx context.Context, f RunFilter, take func(*saga.Run) error) error
	// EachUnmatched reads the unmatched usage of a merchant, and calls the function `take` for each entry. EachUnmatched reads in
	// pages, sorted by the fields of the entries. If `take` returns an error, EachUnmatched stops, and returns this error. If usage was unmatched
	// because its plan was gone, and has been billed since, EachUnmatched leaves it out.
	EachUnmatched(ctx context.Context, merchantID string, take func(Unmatched) error) error
	// UnmatchedAmount returns the exact amount of an entry that is not about a meter: see UsageReason.OfMeter. If all usage of the entry
	// was computed again later, with another result, the amount is 0.
	UnmatchedAmount(ctx context.Context, u Unmatched) (string, error)
	// WaitingUsage reads the usage of a merchant that has waited to be billed since before a time. Usage whose plan was gone does not count: see
	// EachUnmatched.
	WaitingUsage(ctx context.Context, merchantID string, before time.Time) (WaitingUsage, error)
	// Entries reads at most f.Limit entries of the ledger, including the entries of removed objects. The entries of the newest run are
	// first.
	Entries(ctx context.Context, f EntryFilter) ([]Entry, error)
}

// RunFilter selects runs. An empty field selects all runs.
type RunFilter struct {
	ID         string
	MerchantID string
	Subject    string
	Object     *saga.ObjectRef // only runs that made, adopted or removed the object
	Except     []string        // no runs of these workflows
}

// Outcome is the result of an audit that has ended.
type Outcome struct {
	Audit    Audit // State, EndedAt, Progress, Gaps, Found, Read and Failure are stored
	Seen     []Finding
	Resolved []string // the ids of the findings that the audit has assessed and not seen
}

// Finish stores the findings of Seen by their ids, with the time Audit.EndedAt:
//
//   - A finding that was not stored becomes new.
//   - A finding that was new or known becomes known.
//   - A finding that was resolved becomes new again, with the FirstSeen and the FirstAudit of this audit.
//   - A finding that was accepted becomes known if its acceptance has ended, or if its severity is now worse. Otherwise, it stays accepted.
//
// For each finding in Seen, Finish overwrites all stored fields that this list does not mention. If an open or accepted finding is in
// Resolved but not in Seen, the finding becomes resolved. The acceptance of a resolved finding is kept only in the history.

// Change is a change of the status of a finding.
type Change struct {
	At      time.Time
	Status  Status
	AuditID string // the audit that has changed the status; empty: a person has changed it
	Who     string // the person
	Why     string
	Until   *time.Time
}

// FindingCount is the number of the findings that have the same severity, code and status.
type FindingCount struct {
	Severity Severity
	Code     Code
	Status   Status
	Count    int
}

// Filter selects findings. An empty field selects all findings.
type Filter struct {
	IDs                    []string
	Statuses               []Status
	Severity               Severity // only findings that are at least this severe
	Codes                  []Code
	Cloud                  string
	MerchantID             string
	CustomerID             string
	ProjectID              string
	SubscriptionID, UserID string
	AuditID                string // only findings whose last audit has this id
	After                  string // only findings with greater ids
	Limit                  int
}
