// Package workflowstest checks the invariants of runs. Tests call [Check] at the end, after all faults that they inject into
// replicas, database and upstreams. The package also has the trials, which describe the workflows to the test suites.
package workflowstest

import (
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// Seen contains the observations of a test: the database, both upstreams, the answers and the removals. Fill Seen after all runs of the
// test have come to rest. Check ignores empty fields.
type Seen struct {
	Installation string // id of the installation that executed the runs

	Runs   []*saga.Run
	Events map[string][]saga.Event // all events of each run, by run id

	Now    Outside
	Others Outside // objects that no run created and that must be unchanged
	// ByHand are the objects that the test itself has changed, created or removed, without a run: see Trial.Damage. Check ignores these
	// objects, and the role assignments on them.
	ByHand []saga.ObjectRef
	// Lost are objects that the test itself has removed, without a run. Runs may have created them again.
	Lost []saga.ObjectRef

	Removals []Removal
	Answers  []Answer

	// Rows are the rows of usage in the database. A test that sets Rows also sets FollowUps.
	Rows      []usage.BilledRow
	FollowUps []saga.FollowUp // all follow-ups in the database

	Secrets []string          // secrets that no text, run or event may contain
	Texts   map[string]string // texts by origin, such as "log of replica 2"

	// Skew is the maximum difference between the clocks of two replicas, and between a replica's clock and the clock of the [Recorder].
	Skew time.Duration
}

// Outside has the objects that exist in Keystone and in BillingStack.
type Outside struct {
	Projects      []keystone.Project
	Users         []keystone.User
	Assignments   []keystone.Assignment
	Customers     []billing.Customer
	Subscriptions []billing.Subscription
	Usage         []billing.Usage
}

// Removal is one DELETE that an upstream carried out.
type Removal struct {
	Kind string // kind as in saga.Object: "customer", "subscription", "project" or "role-assignment"
	ID   string // id of the object; for a role assignment: project/user/role
	Tags []string
	At   time.Time // time at which the DELETE was sent; zero if not known
	Run  string    // id of the run that sent the DELETE; empty if not known
	Step string
}

// Answer is an answer that a portal got.
type Answer struct {
	Merchant string
	Key      string // idempotency key of the call; empty if the call had none
	Run      string // id of the run that the answer shows
	Final    bool   // true if the run had ended; all later answers that show this run must be equal to this answer
	Status   int
	Body     []byte // the answer's body, without fields that may differ, such as the request id
}
