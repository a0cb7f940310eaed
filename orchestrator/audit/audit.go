// Package audit compares what Tenantry's runs should have left in Keystone and BillingStack with what is there, and reports each
// difference as a finding. An audit only reads.
//
// Read the files in the order in which they are named here. The files audit, finding and codes contain the data. The file ledger computes
// what should be there, and the file world holds what is there. The files whose names begin with compare compute the findings from both,
// and make no calls. The files read, readone and confirm make the calls. The file auditor executes audits. The files store and entry
// declare what is stored.
package audit

import "time"

// State is the state of an audit.
type State string

// The states of an audit. Complete, Incomplete and Failed are final.
const (
	Pending    State = "pending"
	Running    State = "running"
	Complete   State = "complete"   // everything in the audit's scope was read
	Incomplete State = "incomplete" // a part could not be read: see Audit.Gaps
	Failed     State = "failed"     // nothing could be compared: see Audit.Failure
)

// Ended reports whether the audit is over.
func (s State) Ended() bool { return s == Complete || s == Incomplete || s == Failed }

// Scope says what is audited: at most one field is set, but a customer has its merchant, too, and a project has its cloud. The zero
// value is everything.
type Scope struct {
	MerchantID string `json:"merchant_id,omitempty"`
	CustomerID string `json:"customer_id,omitempty"`
	Cloud      string `json:"cloud,omitempty"`
	ProjectID  string `json:"project_id,omitempty"`
}

// All reports whether the scope is everything.
func (s Scope) All() bool { return s == Scope{} }

// Audit is one comparison, and what came of it.
type Audit struct {
	ID        string // sorts by time
	Scope     Scope
	By        string // who asked for the audit; [Scheduled] if the service itself did
	CreatedAt time.Time
	StartedAt *time.Time
	EndedAt   *time.Time

	State    State
	Progress Progress
	Gaps     []Gap          // what could not be assessed; at most [MaxGaps]
	Found    map[string]int // the number of findings that are open after the audit, by severity
	Read     map[string]int // the number of objects that were read, by kind
	Failure  string         // why the audit has failed

	Replica string     // the replica that executes the audit
	BeatAt  *time.Time // when that replica last said that it is alive
}

// Scheduled is the value of Audit.By if the service has started the audit, as the setting audit_every says.
const Scheduled = "schedule"

// Progress says how far an audit is. Total is an estimate, and may grow.
type Progress struct {
	Phase string `json:"phase"` // a word that is shown to people, such as "reading Keystone"
	Done  int    `json:"done"`
	Total int    `json:"total"`
}

// Gap is a part of the scope that was not assessed.
type Gap struct {
	Code       string `json:"code"` // a stable word
	Cloud      string `json:"cloud,omitempty"`
	MerchantID string `json:"merchant_id,omitempty"`
	Detail     string `json:"detail"`
}

// MaxGaps is the maximum number of gaps of an audit. The last one then says how many are left out.
const MaxGaps = 100
