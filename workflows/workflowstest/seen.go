// Package workflowstest checks which invariants a world of runs violates. Tests end with this check, whatever they did before to
// replicas, database and upstreams. It also has the trials, which describe the workflows to the test suites.
package workflowstest

import (
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Seen is what a test has observed when all runs are at rest: our database, both upstreams, the answers and the removals. Fields
// that are empty are not checked.
type Seen struct {
	Installation string // the id of the installation that made the runs

	Runs   []*saga.Run
	Events map[string][]saga.Event // all events of each run, by run id

	Now    Outside
	Others Outside // objects that no run made and that must be unchanged

	Removals []Removal
	Answers  []Answer

	Secrets []string          // must not appear in any text, run or event
	Texts   map[string]string // by origin, such as "log of replica 2"

	// Skew is the maximum difference between the clocks of two replicas, and of a replica and the recorder of removals.
	Skew time.Duration
}

// Outside is what exists in Keystone and in BillingStack.
type Outside struct {
	Projects      []keystone.Project
	Assignments   []keystone.Assignment
	Customers     []billing.Customer
	Subscriptions []billing.Subscription
}

// Removal is one DELETE that an upstream carried out.
type Removal struct {
	Kind string // as in saga.Object: "customer", "subscription", "project" or "role-assignment"
	ID   string // of a role assignment: project/user/role
	Tags []string
	At   time.Time // when it was sent; zero if not known
	Run  string    // the run that sent it; empty if not known
	Step string
}

// Answer is an answer that a portal got.
type Answer struct {
	Merchant string
	Key      string // the idempotency key; empty for a call without one
	Run      string // the run that it shows
	Final    bool   // the run had ended, so all later answers must be the same
	Status   int
	Body     []byte // without what may differ, such as the request id
}
