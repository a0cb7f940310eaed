// Package audit compares the objects in Keystone and BillingStack with the objects that should exist after Tenantry's runs. It
// reports each difference as a finding. An audit only reads.
//
// Read the files in this order. The data is in audit.go, finding.go and codes.go. The code in ledger.go computes which objects should
// exist. The type in world.go contains the objects that were found. The files compare*.go compute the findings from the ledger and the
// world, and make no calls. The files read*.go and confirm.go make the calls. The code in auditor.go executes audits. The stored data is
// declared in store.go, entry.go and unmatched.go. The files plan.go, planning.go and again.go make and check repair plans.
package audit

import "time"

// State is the state of an audit.
type State string

// The states of an audit. Complete, Incomplete and Failed are final.
const (
	Pending    State = "pending"
	Running    State = "running"
	Complete   State = "complete"   // everything in the audit's scope was read
	Incomplete State = "incomplete" // a part of the scope could not be read: see Audit.Gaps
	Failed     State = "failed"     // nothing could be compared: see Audit.Failure
)

// Ended reports whether the state is final.
func (s State) Ended() bool { return s == Complete || s == Incomplete || s == Failed }

// Scope selects the objects of an audit: the objects of one merchant, one customer, one cloud or one project. For a customer, MerchantID
// is set, too. For a project, Cloud is set, too. The zero value selects everything.
type Scope struct {
	MerchantID string `json:"merchant_id,omitempty"`
	CustomerID string `json:"customer_id,omitempty"`
	Cloud      string `json:"cloud,omitempty"`
	ProjectID  string `json:"project_id,omitempty"`
}

// All reports whether the scope selects everything.
func (s Scope) All() bool { return s == Scope{} }

// Audit is one comparison with its result.
type Audit struct {
	ID        string // sorts by time
	Scope     Scope
	By        string // who requested the audit; [Scheduled] if the service started it
	CreatedAt time.Time
	StartedAt *time.Time
	EndedAt   *time.Time

	State    State
	Progress Progress
	Gaps     []Gap          // the parts of the scope that were not assessed; at most [MaxGaps]
	Found    map[string]int // the number of findings that are open after the audit, by severity
	Read     map[string]int // the number of objects that were read, by kind
	Failure  string         // why the audit has failed

	Replica string     // the replica that executes the audit
	BeatAt  *time.Time // the time of this replica's last heartbeat
}

// Scheduled is the value of Audit.By if the service has started the audit because of the setting audit_every.
const Scheduled = "schedule"

// Progress is the progress of an audit within its current phase. Total is an estimate, and may grow.
type Progress struct {
	Phase string `json:"phase"` // a text for people, such as "reading Keystone"
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// Gap is a part of the scope that was not assessed.
type Gap struct {
	Code       string `json:"code"` // a constant, such as [GapListCut]
	Cloud      string `json:"cloud,omitempty"`
	MerchantID string `json:"merchant_id,omitempty"`
	Detail     string `json:"detail"`
}

// MaxGaps is the maximum number of gaps of an audit. If there are more gaps, the last gap says that gaps are left out.
const MaxGaps = 100
