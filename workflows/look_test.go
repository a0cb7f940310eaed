package workflows_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The method `check` is called at the end of every test. `check` logs the faults that the engine reported, and fails the test if an
// invariant is violated.
func (w *world) check(in *servicetest.Installation) {
	for line := range strings.Lines(in.Log.String()) {
		if strings.Contains(line, `"message":"engine"`) {
			w.t.Log(line)
		}
	}
	ctx := context.Background()
	seen := workflowstest.Seen{Installation: w.installation, Others: w.others, ByHand: w.hurt, Removals: w.removed.Removals(), Skew: time.Second}
	var err error
	if seen.Now, err = workflowstest.Look(ctx, in.Keystone, in.Billing, in.Merchant.ID, in.Other.ID); err != nil {
		w.t.Error(err)
	}
	if seen.Runs, seen.Events, err = workflowstest.LookAtRuns(ctx, in.Store); err != nil {
		w.t.Error(err)
	}
	for _, broken := range workflowstest.Check(seen) {
		w.t.Error(broken)
	}
}

// checkRun returns the invariants that an ended run violates.
func (w *world) checkRun(r *saga.Run) []workflowstest.Broken {
	i := slices.IndexFunc(w.definitions, func(d *saga.Definition) bool { return d.Name == r.Workflow })
	expected, err := w.definitions[i].Expect(r)
	w.ok(err)
	now := workflowstest.Outside{Projects: w.Keystone.Projects(), Users: w.Keystone.Users(), Assignments: w.Keystone.Assignments()}
	ctx := context.Background()
	for _, e := range expected { // read only the expected objects, because the merchant has very many objects
		if c, err := w.Billing.Customer(ctx, r.Merchant, e.ID); err == nil && e.Kind == "customer" {
			now.Customers = append(now.Customers, c)
		}
		if s, err := w.Billing.Subscription(ctx, r.Merchant, e.ID); err == nil && e.Kind == "subscription" {
			now.Subscriptions = append(now.Subscriptions, s)
		}
		if u, err := w.Billing.OneUsage(ctx, r.Merchant, e.ID); err == nil && e.Kind == "usage" {
			now.Usage = append(now.Usage, u)
		}
	}
	w.byHand.Lock()
	others := w.others
	w.byHand.Unlock()
	runs := []*saga.Run{r}
	for _, f := range []saga.Filter{{Live: true}, {States: []saga.RunState{saga.Succeeded}}} {
		f.Subject, f.Limit = r.Subject, 10
		others, err := w.Store.Runs(ctx, f)
		w.ok(err)
		runs = append(runs, slices.DeleteFunc(others, func(o *saga.Run) bool { return o.ID == r.ID })...)
	}
	seen := workflowstest.Seen{Installation: w.installation, Runs: runs, Now: now, Others: others}
	return slices.DeleteFunc(workflowstest.Check(seen, "succeeded-whole", "compensated-clean"), func(b workflowstest.Broken) bool {
		return b.Run != r.ID
	})
}

// The method `until` waits until the function `ok` returns true for the run, and then returns the run.
func (w *world) until(t *testing.T, runID string, ok func(*saga.Run) bool) *saga.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last *saga.Run
	watcher := w.Service.Runs.Watch(runID)
	defer watcher.Close()
	err := watcher.See(ctx, nil, func(r *saga.Run) bool { last = r; return !ok(r) })
	if err != nil {
		t.Fatalf("waiting: %v; the run: %s", err, describe(last))
	}
	return last
}

func over(r *saga.Run) bool { return r.State.Ended() || r.State == saga.Stuck }

func describe(r *saga.Run) string {
	if r == nil {
		return "never seen"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s reason=%+v cause=%+v", r.State, r.Reason, r.Cause)
	for _, step := range r.Steps {
		fmt.Fprintf(&s, "\n  %-32s %-10s attempts=%d undos=%d unknowns=%d error=%+v",
			step.Name, step.State, step.Attempts, step.Undos, step.Unknowns, step.Error)
	}
	return s.String()
}

// The method `things` returns a text with the run's objects that exist upstream: customer, subscription with its resource, projects
// and role assignments.
func (w *world) things(t *testing.T, runID string) string {
	t.Helper()
	run, err := w.Store.Run(t.Context(), runID)
	if err != nil {
		t.Fatal(err)
	}
	o := workflows.Order{
		Asked: workflows.Asked{
			NewCustomer: &workflows.NewCustomer{},
		},
	}.Named(runID)
	var all []string
	if _, err := w.Billing.Customer(t.Context(), w.Merchant.ID, o.CustomerID); err == nil {
		all = append(all, "customer")
	}
	projects := map[string]string{}
	for _, p := range w.Keystone.Projects() {
		if !p.HasTag("tenantry-run-" + runID) {
			continue
		}
		name, _, _ := strings.Cut(p.Name, "-"+o.CustomerID)
		name, _, _ = strings.Cut(name, "-"+o.SubscriptionID)
		projects[p.ID] = name
		all = append(all, name)
	}
	for _, a := range w.Keystone.Assignments() {
		if name, ok := projects[a.ProjectID]; ok && a.UserID == run.User {
			i := slices.IndexFunc(w.roles, func(r keystone.Role) bool { return r.ID == a.RoleID })
			all = append(all, name+"/"+w.roles[i].Name)
		}
	}
	if s, err := w.Billing.Subscription(t.Context(), w.Merchant.ID, o.SubscriptionID); err == nil {
		name, attached := projects[s.ResourceID]
		if !attached {
			name = "pending"
		}
		all = append(all, "subscription -> "+name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// The constant `whole` lists all objects of a succeeded run, in the format of the text that the method `things` returns.
const whole = "bs-customer, bs-customer/bs-admin, bs-customer/member, bs-subscription, bs-subscription/member, " +
	"customer, subscription -> bs-subscription"
