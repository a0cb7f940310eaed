package audit

import (
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Entry is an object or a role assignment that a run has made, adopted or removed.
type Entry struct {
	Kind   string
	ID     string // the id of a role assignment is PROJECT/USER/ROLE
	Name   string
	Cloud  string
	Origin saga.Origin
	// RemovedAt is the time when this run removed the object. If another run has removed the object, too, the other run has its own
	// entry. When a run removes a project, the role assignments on the project are also removed.
	RemovedAt *time.Time

	RunID      string
	Workflow   string
	RunState   saga.RunState
	MerchantID string
	Step       string
	At         time.Time // the time when the step ended; if it has not ended, the time when the run was accepted
	By         string    // who asked for the run: the Who of its first event
	Why        string    // the Why of its first event
	RequestID  string    // see [saga.Object]
}

// Cursor returns the value of EntryFilter.After that selects the entries after this entry.
func (e *Entry) Cursor() string { return e.RunID + "/" + e.Kind + "/" + e.ID }

// EntryFilter selects entries. Exactly one of the first four fields is set.
//
//   - ProjectID selects the entries of the project itself and of all role assignments on it.
//   - UserID selects all entries of the runs for the user. If one of these runs has an entry of a project, UserID also selects the
//     entries of other runs about the user's role assignments on this project.
//   - CustomerID selects all entries of the runs that have made or adopted the customer, and of all other runs about the customer.
//   - SubscriptionID selects all entries of the runs that have made, adopted or removed the subscription.
type EntryFilter struct {
	ProjectID      string
	UserID         string
	CustomerID     string
	SubscriptionID string

	Merchant string // only entries of this merchant's runs; empty means all runs

	After string // only entries after the entry with this Cursor
	Limit int
}
