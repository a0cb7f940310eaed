package workflows_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// A repair disables a tenant. The removal of the tenant is due ten minutes later. Meanwhile the subscription is suspended. The
// suspension finds the tenant disabled. When the removal is refused, the tenant stays disabled until the subscription is resumed.
func TestARefusedRemovalLiftsNoSuspension(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	trial := repairTrial(t, "remove-tenant, after that")
	g, _ := w.groundOf(t, trial)
	h := standingOf(t, g).Held
	w.ignore("project", h.TenantID)
	_, err := w.Billing.EnsureSubscription(t.Context(), h.MerchantID, billing.Subscription{
		ID: h.SubscriptionID, CustomerID: h.CustomerID, PlanID: g.PlanID, ResourceID: h.TenantID, ResourceType: "tenant",
	})
	w.ok(err)
	execute := func(id string, q saga.Request, want saga.RunState) {
		t.Helper()
		w.accept(q, "")
		if r := w.until(t, id, (*saga.Run).AtRest); r.State != want {
			t.Fatalf("want %s: %s", want, describe(r))
		}
	}
	suspension, resumption := newID(), newID()
	execute(suspension, workflows.SuspendRequest(h, suspension), saga.Succeeded)
	g.RunID = newID()
	execute(g.RunID, trial.Request(g), saga.Compensated)
	if p := w.projectOf(h.TenantID); p.Enabled || len(p.DisabledBy()) == 0 {
		t.Errorf("the suspended tenant: %+v", p)
	}
	execute(resumption, workflows.ResumeRequest(h, resumption), saga.Succeeded)
	if p := w.projectOf(h.TenantID); !p.Enabled || len(p.DisabledBy()) > 0 {
		t.Errorf("the resumed tenant: %+v", p)
	}
}

// fullTenants reports that the tenants in the map `full` are not empty.
type fullTenants struct {
	workflowstest.NoResources

	full sync.Map
}

// Empty implements [workflows.Resources].
func (f *fullTenants) Empty(_ context.Context, _, id string, _ time.Time) (workflows.Emptiness, error) {
	if _, is := f.full.Load(id); is {
		return workflows.Emptiness{NotEmpty: true, Reasons: []string{"server s1"}}, nil
	}
	return workflows.Emptiness{Empty: true}, nil
}

// A repair disables a tenant before the removal. The removal is due ten minutes later.
func TestARepairDisablesATenantBeforeItRemovesIt(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	trial := repairTrial(t, "remove-tenant, which first disables")
	g, _ := w.groundOf(t, trial)
	h := standingOf(t, g).Held
	w.accept(trial.Request(g), "")
	r := w.until(t, g.RunID, over)
	if p := w.projectOf(h.TenantID); r.State != saga.Succeeded || p.Enabled || !p.HasTag(keystone.DisabledTag(r.ID)) {
		t.Fatalf("the tenant is %+v: %s", p, describe(r))
	}
	due, err := w.Store.FollowUps(t.Context(), h.MerchantID, workflows.RepairName, []string{h.TenantID})
	w.ok(err)
	f := due[h.TenantID]
	if wait := f.DueAt.Sub(*r.EndedAt); wait < 10*time.Minute || wait > 11*time.Minute || f.Subject != r.Subject {
		t.Fatalf("the follow-up is %+v", f)
	}

	then := workflows.RepairWorkflow(workflows.Deps{}).Then
	o := decode[workflows.Repair](t, f.Input.(json.RawMessage))
	// A failed removal is not tried again, because a new plan can contain the repair again.
	for _, cause := range []*saga.Failure{nil, {Code: "tenant-not-empty"}} {
		got := then(o, saga.End{Now: time.Now(), RunID: "r", Cause: cause})
		if len(got) != 1 || !got[0].DueAt.IsZero() || got[0].ID != h.TenantID {
			t.Errorf("after a removal with the cause %v: got the follow-ups %+v; want that of tenant %s dropped", cause, got, h.TenantID)
		}
	}
	if got := then(workflows.Repair{Entry: o.Entry}, saga.End{Cause: &saga.Failure{Code: "x"}}); len(got) > 0 {
		t.Errorf("the run has not disabled the tenant, but changes the follow-ups: %+v", got)
	}
}

// The first run of a removal disables the tenant, but does not expect that the tenant stays disabled. The second run removes the
// tenant, and expects that the tenant is gone.
func TestATenantThatIsToBeRemovedIsNotExpectedToStayDisabled(t *testing.T) {
	expect := workflows.RepairWorkflow(workflows.Deps{}).Expect
	for _, code := range []audit.Code{audit.ObjectsLeft, audit.TenantWithoutSubscription, audit.TenantWithoutCustomer} {
		o := workflows.Repair{Entry: audit.PlanEntry{Code: code, Action: audit.RemoveTenant, Values: map[string]string{"project_id": "p", "tenant": "bs-customer-c"}}}
		if got := expect(o); len(got) > 0 {
			t.Errorf("finding %s: the run that disables the tenant expects %+v, want nothing", code, got)
		}
		o.DisabledAt = time.Now()
		if got := expect(o); len(got) == 0 || !got[0].Gone || got[0].ID != "p" {
			t.Errorf("finding %s: the run that removes the tenant expects %+v, want no tenant", code, got)
		}
	}
}

// After a repair has disabled a tenant again, a removal must be refused for some time, because other services may still accept the
// tenant's tokens.
func TestARemovalWaitsAfterARepairHasDisabledTheTenant(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	trial := repairTrial(t, "disable-project")
	g, _ := w.groundOf(t, *trial.Follows.Follows)
	w.accept(trial.Follows.Follows.Request(g), w.Keystone.IssueToken(g.User))
	g.Before = w.until(t, g.RunID, over)
	g.First = g.Before
	ended := w.end(t, g)
	g.Before, g.RunID = ended, newID()
	w.set(t, g, `"enabled": true`)
	w.accept(trial.Request(g), "")
	repair := w.until(t, g.RunID, over)
	if repair.State != saga.Succeeded {
		t.Fatal(describe(repair))
	}
	h := standingOf(t, g).Held
	q := workflows.RemoveRequest(h, ended.ID, ended.EndedAt.Add(-time.Hour), newID())
	w.accept(q, "")
	if r := w.until(t, q.ID, over); r.Cause == nil || r.Cause.Code != workflows.CodeTenantNotSettled || !strings.Contains(r.Cause.Detail, "repair") {
		t.Error(describe(r))
	}
}
