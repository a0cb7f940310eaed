package workflowstest

import (
	"context"
	"slices"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// Trial describes a workflow to the test suites: the fault table, the crash matrix and the simulation. Each suite tests all
// [Trials].
type Trial struct {
	// If several trials are about one workflow, Variant tells them apart.
	Variant string
	// If the workflow changes a subscription, Operation is the last segment of the API's path. Otherwise, Operation is empty.
	Operation string
	// Body returns the fields of the operation's request, except the reason. If the reason is the only field, Body is nil.
	Body func(Ground) map[string]any
	// If Follows is set, a run of the trial Follows must succeed before a run of this trial can start. That earlier run is
	// Ground.Before.
	Follows *Trial
	// If Damage is set, the suites call it before a run of this trial starts. Damage changes the upstreams directly, without a run, as an
	// administrator could. It returns the objects that it has changed, created or removed.
	Damage func(ctx context.Context, g Ground, by ByHand) ([]saga.ObjectRef, error)
	Define func(workflows.Deps) (*saga.Definition, error)
	// Request returns the [saga.Request] that starts a run. The request refers to the objects in the [Ground]. The caller adds the
	// idempotency key and the user's token.
	Request func(Ground) saga.Request

	// Do and Undo contain the steps that the fault table tests. Each value is the upstream to which the step writes (Billing,
	// Keystone or Exchange).
	Do, Undo map[string]string
	// Pivots contains the steps in Do that are pivots: after such a step, the run can no longer be compensated. If a pivot fails
	// permanently, the run waits for an operator.
	Pivots []string
	// Refused is the last step. If an upstream refuses this step permanently, all other steps are undone. If the suites also test the
	// Undo of this step, the upstream executes the step's call, but its answer refuses the call.
	Refused string
	// Reading is the step that reads from the upstreams in Reads. If Follows is nil, the step reads these upstreams only if the customer
	// already exists.
	Reading string
	Reads   []string
	// Ends contains the end states that differ from the fault table's defaults. A key has the form "do STEP, FAULT" or "undo STEP,
	// FAULT". For a fault of the step Reading, the key has the form "read UPSTREAM, FAULT".
	Ends map[string]Ends
	// Places are the rows of the crash matrix.
	Places []Place
}

// The fault table tests calls to these upstreams. Exchange stands for the call to Keystone that exchanges a user's token.
const (
	Billing  = "billing"
	Keystone = "keystone"
	Exchange = "exchange"
)

// Ends contains the expected end states of a run. The field Once is the end state if a call fails only the first time. The field
// Always is the end state if all repetitions of the call fail too.
type Ends struct{ Once, Always string }

// Place is a Do or Undo during which a replica is killed.
type Place struct {
	Step    string
	Undo    bool
	Call    string // the call of this Do or Undo, such as "POST projects bs-customer"; empty if there is no call
	Adopted bool   // true if the customer already exists
}

// Ground has the ids and existing objects that a trial's order refers to.
type Ground struct {
	RunID      string
	MerchantID string
	PlanID     string
	NewPlanID  string // another plan of the merchant
	CustomerID string // id of an existing customer; empty if the run creates a customer
	User       string
	Cloud      string
	DomainID   string
	Roles      []keystone.Role // member and bs-admin
	CheckedAt  time.Time       // time at which the test read the fields above
	Before     *saga.Run       // the succeeded run of Trial.Follows
	First      *saga.Run       // the first run of the chain of trials that ends with Before
}

// ByHand lets a test change the upstreams without a run.
type ByHand struct {
	// Keystone makes one request as an administrator of the cloud, and returns the body of the answer.
	Keystone func(method, path, body string) ([]byte, error)
	Billing  *billing.Client
}

// Trials returns the trials of all workflows of the service, and the trial of the stranger. The stranger shows that the test suites
// work with any workflow.
func Trials() []Trial {
	return append([]Trial{
		subscribeTrial(), strangerTrial(), suspendTrial(), resumeTrial(), changePlanTrial(),
		unsubscribeTrial(), restoreTrial(), removeTrial(), closeTrial(), registerTrial(), visitorTrial(), postUsageTrial(),
	}, repairTrials()...)
}

// Definitions returns the workflow definitions of all trials. Several trials may share a workflow.
func Definitions(d workflows.Deps) (all []*saga.Definition, err error) {
	for _, t := range Trials() {
		definition, err := t.Define(d)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(all, func(known *saga.Definition) bool { return known.Name == definition.Name }) {
			all = append(all, definition)
		}
	}
	return all, nil
}
