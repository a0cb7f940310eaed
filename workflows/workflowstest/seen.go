// Package workflowstest tells, of a world in which runs have worked, which of the promises made for them are broken. Tests
// end with it, whatever they did to the replicas, the database and the upstreams before. It also has the trials: the
// workflows as the suites of the tests take them.
package workflowstest

import (
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Seen is all that can be seen of a world once its runs have come to rest: our database, both upstreams, and what was
// said and removed meanwhile. What is left empty is not checked.
type Seen struct {
	Installation string // whose runs they are

	Runs   []*saga.Run
	Events map[string][]saga.Event // all of each run, by its id

	Now    Outside
	Others Outside // what others than the runs have made and still want, as they made it, also while the runs worked

	Removals []Removal
	Answers  []Answer

	Secrets []string          // what must be in no text, no run and no event
	Texts   map[string]string // by where each was found: "log of replica 2"

	// Skew is by how much the clocks of two replicas may differ, that of who noted the removals included.
	Skew time.Duration
}

// Outside is what stands in Keystone and in BillingStack.
type Outside struct {
	Projects      []keystone.Project
	Assignments   []keystone.Assignment
	Customers     []billing.Customer
	Subscriptions []billing.Subscription
}

// Removal is one DELETE that an upstream carried out.
type Removal struct {
	Kind string // as in saga.Object: "customer", "subscription", "project" or "role-assignment"
	ID   string // of a role assignment project/user/role
	Tags []string
	At   time.Time // when it was sent; zero: not known
	Run  string    // whose call it was; empty: not known
	Step string
}

// Answer is what a portal was told.
type Answer struct {
	Merchant string
	Key      string // the idempotency key; empty for a call without one
	Run      string // what it is about
	Final    bool   // the run had ended: from then on the answer is always the same
	Status   int
	Body     []byte // without what is allowed to differ, such as the request's id
}
