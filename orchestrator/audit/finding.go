package audit

import (
	"slices"
	"time"
)

// Code says what is wrong. A code never changes its meaning.
type Code string

// Severity says how bad a finding is.
type Severity string

// The severities, most severe first.
const (
	Critical Severity = "critical" // somebody has rights that reach beyond the tenant, or pays for somebody else
	High     Severity = "high"     // a customer cannot work, or usage is billed to nobody, or with a wrong value
	Medium   Severity = "medium"   // something is left over, a tag is missing, or usage has no price
	Low      Severity = "low"      // nobody is affected at present
	Info     Severity = "info"     // nothing is wrong
)

// Severities are all severities, most severe first.
var Severities = []Severity{Critical, High, Medium, Low, Info}

// AtLeast reports whether s is as severe as other, or more severe.
func (s Severity) AtLeast(other Severity) bool {
	return slices.Index(Severities, s) <= slices.Index(Severities, other)
}

// Status is the state of a finding.
type Status string

// The states of a finding. New and Known are open.
const (
	New      Status = "new"      // one audit has seen it
	Known    Status = "known"    // several audits have seen it
	Resolved Status = "resolved" // the last audit that looked for it has not seen it
	Accepted Status = "accepted" // a person has accepted it: see Acceptance
)

// Finding is one difference between the expected state and the actual state.
type Finding struct {
	// ID is computed from the code, the cloud and the ids that identify the difference. So a difference has the same ID in every audit.
	ID       string
	Code     Code
	Severity Severity

	Cloud          string
	MerchantID     string // empty: not known
	CustomerID     string
	SubscriptionID string
	ProjectID      string
	UserID         string

	Objects  []Object
	Detail   string // what is wrong, in a sentence
	Affected string // who is affected, and how
	RunID    string // the run that made the object; empty: not known
	Repair   Repair

	Status     Status
	FirstSeen  time.Time
	LastSeen   time.Time
	FirstAudit string
	LastAudit  string // the last audit that has seen it
	ResolvedAt *time.Time
	Acceptance *Acceptance
}

// Open reports whether somebody should look at the finding.
func (f *Finding) Open() bool { return f.Status == New || f.Status == Known }

// staysAccepted reports whether an accepted finding stays accepted when an audit sees it again at the time `at`. The argument `now` is
// the severity that the audit has determined. See [Store.Finish].
func (f *Finding) staysAccepted(now Severity, at time.Time) bool {
	ended := f.Acceptance != nil && f.Acceptance.Until != nil && !f.Acceptance.Until.After(at)
	return !ended && f.Severity.AtLeast(now)
}

// Object identifies an object in Keystone, BillingStack or Tenantry.
type Object struct {
	Kind string `json:"kind"` // customer, subscription, project, role-assignment, user, group, role, domain, plan, merchant, meter or run
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Acceptance says who has accepted a finding, and why.
type Acceptance struct {
	Who   string     `json:"who"`
	Why   string     `json:"why"`
	At    time.Time  `json:"at"`
	Until *time.Time `json:"until,omitempty"` // nil: the acceptance does not end
}

// Repair says how a finding can be resolved. If Action is set, the finding can be an entry of a [Plan], and Tenantry can resolve it.
// Advice says what a person can do.
type Repair struct {
	Action RepairAction `json:"action,omitempty"`
	// Values contains the ids and names of the objects, the new values, and the values that the audit has found.
	Values map[string]string `json:"values,omitempty"`
	Advice string            `json:"advice"`
}

// RoleValue is the prefix of some names in the Values of a [CreateTenant]. The value under such a name is a role to assign. It has
// the form USER/ROLE/NAME: the id of the user, the id of the role, and the name of the role.
const RoleValue = "assign_"

// maxRoleValues is the maximum number of roles of a repair. A tenant with more roles is not created again.
const maxRoleValues = 200

// RepairAction is the kind of change that resolves a finding. It is empty if no such change is known.
type RepairAction string

// The actions of repairs.
const (
	AssignRole         RepairAction = "assign-role"
	RevokeRole         RepairAction = "revoke-role"
	EnableProject      RepairAction = "enable-project"
	DisableProject     RepairAction = "disable-project"
	TagProject         RepairAction = "tag-project"
	CreateTenant       RepairAction = "create-tenant"
	SetResource        RepairAction = "set-resource"
	RemoveTenant       RepairAction = "remove-tenant"
	RemoveSubscription RepairAction = "remove-subscription"
	RemoveCustomer     RepairAction = "remove-customer"
)

// RepairActions are all actions of repairs. The entries of a plan are carried out in this order, because an entry may depend on an
// earlier entry.
var RepairActions = []RepairAction{
	TagProject, EnableProject, DisableProject, CreateTenant, SetResource, AssignRole, RevokeRole, RemoveTenant, RemoveSubscription, RemoveCustomer,
}
