package simulation

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The method `sent` checks a request that a replica sends for a run: the replica must hold the run's lease.
func (w *world) sent(r *replica, c *saga.Handle) {
	if c.RunID == "" {
		return
	}
	run, err := w.store.Run(context.Background(), c.RunID)
	if err == nil && run.Replica == r.id {
		return
	}
	w.violate("one-executor", c.RunID, fmt.Sprintf("%s sent a request of step %s without the run's lease", r.name, c.Step))
}

// The method `removing` checks a request that Keystone is about to execute. A repair may remove a tenant only after the subscription or
// customer of the tenant was removed from BillingStack.
func (w *world) removing(req *http.Request, c *saga.Handle) {
	id, deletes := strings.CutPrefix(strings.Replace(req.URL.Path, "/v2.0/tenants/", "/v3/projects/", 1), "/v3/projects/")
	if req.Method != http.MethodDelete || !deletes || strings.Contains(id, "/") {
		return
	}
	run, err := w.store.Run(context.Background(), c.RunID)
	projects := w.cloud.Projects()
	i := slices.IndexFunc(projects, func(p keystone.Project) bool { return p.ID == id })
	if err != nil || run.Workflow != workflows.RepairName || c.Undoes() || i < 0 {
		return
	}
	now := w.look()
	customer, subscription := keystone.TenantOf(projects[i].Name)
	if slices.ContainsFunc(now.Customers, func(c billing.Customer) bool { return c.ID == customer }) ||
		slices.ContainsFunc(now.Subscriptions, func(s billing.Subscription) bool { return s.ID == subscription }) {
		w.violate("repairs remove nothing in use", c.RunID, "the run removed tenant "+projects[i].Name)
	}
}

// The method `violate` adds a violation.
func (w *world) violate(invariant, run, detail string) {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.broken = append(w.broken, workflowstest.Broken{Invariant: invariant, Run: run, Detail: detail})
}

// The method `told` stores the text of an answer to a portal. The method `check` searches all stored answers for secrets.
func (w *world) told(who, text string) {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.seen.Texts["answer to "+who] = text
}

// The method `answered` stores an answer to a portal. The method `check` later examines all stored answers.
func (w *world) answered(a workflowstest.Answer) {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.seen.Answers = append(w.seen.Answers, a)
}

// lateChange contains an object, and the run whose request changed the object after the late window.
type lateChange struct {
	runID  string
	object saga.ObjectRef
}

// changedLate is called for a request that takes effect after the late window. It records the project, the subscription or the role
// assignment that the request changes.
func (w *world) changedLate(req *http.Request, runID string) {
	part := strings.Split(strings.TrimPrefix(req.URL.Path, "/"), "/")
	id := part[len(part)-1]
	switch {
	case len(part) == 7 && part[5] == "roles" && (req.Method == http.MethodPut || req.Method == http.MethodDelete):
		w.late = append(w.late, lateChange{runID, saga.ObjectRef{Kind: "role-assignment", ID: part[2] + "/" + part[4] + "/" + id}})
	case len(part) == 8 && part[6] == "OS-KSADM" && (req.Method == http.MethodPut || req.Method == http.MethodDelete): // Identity v2.0
		w.late = append(w.late, lateChange{runID, saga.ObjectRef{Kind: "role-assignment", ID: part[2] + "/" + part[4] + "/" + id}})
	case req.Method == http.MethodPatch, req.Method == http.MethodPut && len(part) == 3 && part[1] == "tenants":
		w.late = append(w.late, lateChange{runID, saga.ObjectRef{Kind: "project", ID: id}}, lateChange{runID, saga.ObjectRef{Kind: "subscription", ID: id}})
	}
}

// wrongSinceLate returns the objects that succeeded runs have changed after the late window. Such a late change may overwrite the
// change of a later run. Tenantry does not notice this (see docs/operations.md), but an audit finds it.
func (w *world) wrongSinceLate() (objects []saga.ObjectRef) {
	for _, c := range w.late {
		if r, err := w.store.Run(context.Background(), c.runID); err == nil && r.State == saga.Succeeded {
			objects = append(objects, c.object)
		}
	}
	return objects
}

// The method `check` returns the violated invariants of the world.
func (w *world) check() []workflowstest.Broken {
	w.seen.ByHand = append(w.seen.ByHand, w.wrongSinceLate()...)
	all := w.store.Everything()
	w.seen.Runs, w.seen.Events, w.seen.Removals = all.Runs, all.Events, w.recorder.Removals()
	w.seen.Now, w.seen.Others = w.withoutGifts(w.look()), w.before
	w.seen.Secrets = append(w.seen.Secrets, servicePassword, userPassword, canaryPassword)
	w.seen.Rows, w.seen.FollowUps = w.books.sorted(), all.FollowUps
	w.checkSignUps()
	for _, s := range w.sellers {
		w.seen.Secrets = append(w.seen.Secrets, s.secret)
	}
	w.seen.Skew = 15 * time.Second
	return workflowstest.Check(w.seen)
}

func (w *world) look() workflowstest.Outside {
	o, err := workflowstest.Look(context.Background(), w.cloud, w.direct, w.merchantIDs()...)
	w.ok(err)
	return o
}
