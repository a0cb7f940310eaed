package workflowstest

import (
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// Trial describes a workflow to the test suites: fault table, crash matrix and simulation run each of [Trials].
type Trial struct {
	Define func(workflows.Deps) (*saga.Definition, error)
	// Request returns a request for a run on the ground. The caller adds key and token.
	Request func(Ground) saga.Request

	// Do and Undo map the steps that meet the faults of the table to the upstream that each writes to: one of the constants below.
	Do, Undo map[string]string
	// Refused is the last step, which has no Undo. If it is refused for good, all other steps are undone.
	Refused string
	// Reading is the step that reads both upstreams if the customer exists.
	Reading string
	// Ends are exceptions to the fault table, by "undo STEP, FAULT".
	Ends map[string]Ends
	// Places are the rows of the crash matrix.
	Places []Place
}

// The upstreams of the fault table. Exchange is Keystone, called to exchange a user's token.
const (
	Billing  = "billing"
	Keystone = "keystone"
	Exchange = "exchange"
)

// Ends are the expected ends of a run: if a call meets a fault once, and if it always does.
type Ends struct{ Once, Always string }

// Place is a Do or Undo during which a replica is killed.
type Place struct {
	Step    string
	Undo    bool
	Call    string // the call that it makes, such as "POST projects bs-customer"; empty if it makes none
	Adopted bool   // the customer exists already
}

// Ground holds the existing objects and ids that a trial's order refers to.
type Ground struct {
	RunID      string
	MerchantID string
	PlanID     string
	CustomerID string // of an existing customer; empty if the run creates one
	User       string
	Cloud      string
	DomainID   string
	Roles      []keystone.Role // member and bs-admin
	CheckedAt  time.Time       // when the fields above were read
}

// Trials returns all workflows, and one that only this package knows: a suite that runs both can run any workflow.
func Trials() []Trial { return []Trial{subscribeTrial(), strangerTrial()} }

// Definitions returns the definitions of all trials.
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
