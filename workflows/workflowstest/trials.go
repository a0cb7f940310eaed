package workflowstest

import (
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// Trial is a workflow as the suites take it: fault table, crash matrix and simulation try every one of [Trials].
type Trial struct {
	Define func(workflows.Deps) (*saga.Definition, error)
	// Request makes an order on the ground. Key and token are the caller's to add.
	Request func(Ground) saga.Request

	// Do and Undo are the steps whose calls meet the faults of the table, and the upstream that each writes to: one of the
	// names below. Exchange is a login for somebody else.
	Do, Undo map[string]string
	// Refused is the last step, which has no Undo: refused for good, it has all others undone.
	Refused string
	// Reading is the step that reads both upstreams where the order is about an existing customer.
	Reading string
	// Ends are those rows of the fault table that are not those of the step's upstream, by "undo STEP, FAULT".
	Ends map[string]Ends
	// Places are the rows of the crash matrix.
	Places []Place
}

// The upstreams, as far as they end differently under one fault.
const (
	Billing  = "billing"
	Keystone = "keystone"
	Exchange = "exchange"
)

// Ends is how a run ends if one call meets a fault once, and if it always does.
type Ends struct{ Once, Always string }

// Place is one Do or Undo of a run at which its replica is killed.
type Place struct {
	Step    string
	Undo    bool
	Call    string // that it makes, as "POST projects bs-customer"; empty: none, so that there is nothing to lose or to answer
	Adopted bool   // the run is about a customer who exists
}

// Ground holds the existing objects and ids that a trial's order refers to.
type Ground struct {
	RunID      string
	MerchantID string
	PlanID     string
	CustomerID string // of an existing customer; empty: the run makes one
	User       string
	Cloud      string
	DomainID   string
	Roles      []keystone.Role // member and bs-admin
	CheckedAt  time.Time       // when all this was read
}

// Trials are all workflows, and one that nothing but this package knows: whatever takes it takes any.
func Trials() []Trial { return []Trial{subscribeTrial(), strangerTrial()} }

// Definitions are those of all trials.
func Definitions(d workflows.Deps) (all []*saga.Definition, err error) {
	for _, t := range Trials() {
		definition, err := t.Define(d)
		if err != nil {
			return nil, err
		}
		all = append(all, definition)
	}
	return all, nil
}
