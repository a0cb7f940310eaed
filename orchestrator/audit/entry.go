package audit

import (
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Entry is an object or a role assignment that a run has made, adopted or removed.
type Entry struct {
	Kind   string
	ID     string // of a role assignment: PROJECT/USER/ROLE
	Name   string
	Cloud  string
	Origin saga.Origin
	// RemovedAt is when this run has removed the object. Another run may have removed it, too: it has an entry of its own. Removing a
	// project also removes the role assignments on it.
	RemovedAt *time.Time

	RunID      string
	Workflow   string
	RunState   saga.RunState
	MerchantID string
	Step       string
	At         time.Time // when the step ended, or when the run was accepted if the step has not ended
	By         string    // who asked for the run: the Who of its first event
	Why        string    // the Why of its first event
	RequestID  string    // see [saga.Object]
}

// Cursor returns the value of EntryFilter.After for the entries after this one.
func (e *Entry) Cursor() string { return e.RunID + "/" + e.Kind + "/" + e.ID }

// EntryFilter selects entries. Exactly one of the first four fields is set.
//
//   - A project has the entries of the project itself and of all role assignments on it.
//   - A user has all entries of the runs for the user. It also has the entries of the user's role assignments in other runs, if a run
//     for the user has an entry of the same project.
//   - A customer has all entries of the runs that have made or adopted the customer, and of all other runs about the customer.
//   - A subscription has all entries of the runs that have made, adopted or removed the subscription.
type EntryFilter struct {
	ProjectID      string
	UserID         string
	CustomerID     string
	SubscriptionID string

	After string // only entries after the one with this Cursor
	Limit int
}
