package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// repairTrial returns the trial of the repair with this variant.
func repairTrial(t *testing.T, variant string) workflowstest.Trial {
	t.Helper()
	all := workflowstest.Trials()
	i := slices.IndexFunc(all, func(trial workflowstest.Trial) bool { return trial.Variant == variant })
	if i < 0 {
		t.Fatalf("no trial %q", variant)
	}
	return all[i]
}

// standingOf returns the standing of the subscription before the damage.
func standingOf(t *testing.T, g workflowstest.Ground) workflows.Standing {
	t.Helper()
	s, err := workflows.StandingOf(g.Before)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The method `set` changes fields of the subscription's tenant in Keystone.
func (w *world) set(t *testing.T, g workflowstest.Ground, fields string) {
	w.admin(http.MethodPatch, "/v3/projects/"+standingOf(t, g).TenantID, `{"project": {`+fields+`}}`)
}

// The method `retag` removes the tags that begin with `old` from the subscription's tenant, and adds the tag `tag`. If `tag` is empty,
// no tag is added.
func (w *world) retag(t *testing.T, g workflowstest.Ground, old, tag string) {
	p := w.projectOf(standingOf(t, g).TenantID)
	tags := slices.DeleteFunc(slices.Clone(p.Tags), func(tag string) bool { return strings.HasPrefix(tag, old) })
	if tag != "" {
		tags = append(tags, tag)
	}
	w.set(t, g, fmt.Sprintf(`"enabled": %t, "tags": ["%s"]`, p.Enabled, strings.Join(tags, `","`)))
}

func (w *world) projectOf(id string) keystone.Project {
	all := w.Keystone.Projects()
	i := slices.IndexFunc(all, func(p keystone.Project) bool { return p.ID == id })
	if i < 0 {
		return keystone.Project{}
	}
	return all[i]
}

// A repair must change nothing in three cases: it is no longer needed, it would change an object that is not Tenantry's, or it would
// remove an object that is in use.
func TestWhatARepairRefuses(t *testing.T) {
	resources := &fullTenants{}
	w := newWorld(t, storetest.SQLite(t), func(o *service.Options) { o.Resources = resources })
	for _, c := range []struct {
		name, variant string
		meanwhile     func(t *testing.T, g workflowstest.Ground) // changes the upstreams after the damage
		want          saga.Code
	}{
		{"the tenant was enabled", "enable-project", func(t *testing.T, g workflowstest.Ground) { w.set(t, g, `"enabled": true`) }, workflows.CodeFindingChanged},
		{"the role was assigned", "assign-role", func(t *testing.T, g workflowstest.Ground) {
			h := standingOf(t, g).Held
			w.admin(http.MethodPut, "/v3/projects/"+h.TenantID+"/users/"+h.UserID+"/roles/"+g.Roles[0].ID, "")
		}, workflows.CodeFindingChanged},
		{"the role was revoked", "revoke-role", func(t *testing.T, g workflowstest.Ground) {
			h := standingOf(t, g).Held
			w.admin(http.MethodDelete, "/v3/projects/"+h.TenantID+"/users/"+h.UserID+"/roles/"+g.Roles[1].ID, "")
		}, workflows.CodeFindingChanged},
		{"the subscription was ended", "assign-role", func(t *testing.T, g workflowstest.Ground) {
			w.end(t, g)
		}, workflows.CodeFindingChanged},
		{"the subscription was ended before its tenant was lost", "create-tenant", func(t *testing.T, g workflowstest.Ground) {
			w.end(t, g)
		}, workflows.CodeFindingChanged},
		{"another project has the name", "create-tenant", func(t *testing.T, g workflowstest.Ground) {
			w.ignore("project", w.Keystone.AddProject(keystone.Project{
				Name: keystone.SubscriptionTenant(standingOf(t, g).SubscriptionID), DomainID: keystonetest.DefaultDomain, Enabled: true,
			}))
		}, workflows.CodeFindingChanged},
		{"another resource", "set-resource", func(t *testing.T, g workflowstest.Ground) {
			h := standingOf(t, g).Held
			_, err := w.Billing.SetResource(t.Context(), h.MerchantID, h.SubscriptionID, "pending:other")
			w.ok(err)
		}, workflows.CodeFindingChanged},
		{"the tenant has lost the installation's tag", "enable-project", func(t *testing.T, g workflowstest.Ground) {
			w.retag(t, g, "tenantry-installation-", "")
		}, workflows.CodeTenantNotOurs},
		{"the tenant has the tag of another run", "remove-tenant, after that", func(t *testing.T, g workflowstest.Ground) {
			w.retag(t, g, "tenantry-run-", keystone.RunTag(newID()))
		}, workflows.CodeTenantNotOurs},
		{"the tenant has the tag of another installation", "remove-tenant, which first disables", func(t *testing.T, g workflowstest.Ground) {
			w.retag(t, g, "tenantry-installation-", keystone.InstallationTag("other"))
		}, workflows.CodeTenantNotOurs},
		{"the tenant was enabled again", "remove-tenant, after that", func(t *testing.T, g workflowstest.Ground) {
			w.set(t, g, `"enabled": true`)
		}, workflows.CodeTenantEnabled},
		{"the tenant is not empty", "remove-tenant, after that", func(t *testing.T, g workflowstest.Ground) {
			resources.full.Store(standingOf(t, g).TenantID, true)
		}, "tenant-not-empty"},
		{"the subscription is back", "remove-tenant, after that", func(t *testing.T, g workflowstest.Ground) {
			h := standingOf(t, g).Held
			_, err := w.Billing.EnsureSubscription(t.Context(), h.MerchantID, billing.Subscription{
				ID: h.SubscriptionID, CustomerID: h.CustomerID, PlanID: g.PlanID, ResourceID: h.TenantID, ResourceType: "tenant",
			})
			w.ok(err)
		}, workflows.CodeFindingChanged},
		{"the customer has a subscription", "remove-customer", func(t *testing.T, g workflowstest.Ground) {
			h, other := standingOf(t, g).Held, newID()
			w.ignore("subscription", other)
			_, err := w.Billing.EnsureSubscription(t.Context(), h.MerchantID, billing.Subscription{
				ID: other, CustomerID: h.CustomerID, PlanID: g.PlanID, ResourceID: "x", ResourceType: "tenant",
			})
			w.ok(err)
		}, workflows.CodeInUse},
	} {
		t.Run(c.name, func(t *testing.T) {
			trial := repairTrial(t, c.variant)
			g, _ := w.groundOf(t, trial)
			h := standingOf(t, g).Held
			w.ignore("project", h.TenantID)
			w.ignore("subscription", h.SubscriptionID)
			w.ignore("customer", h.CustomerID)
			c.meanwhile(t, g)
			before := w.outside()
			g.RunID = newID()
			w.accept(trial.Request(g), "")
			r := w.until(t, g.RunID, (*saga.Run).AtRest)
			if r.State != saga.Compensated || r.Cause == nil || r.Cause.Code != c.want || r.Cause.Detail == "" {
				t.Errorf("want %s: %s", c.want, describe(r))
			}
			if c.variant == "remove-tenant, after that" { // the run must have enabled the tenant again
				mark := keystone.DisabledTag(g.First.ID)
				if p := w.projectOf(h.TenantID); !p.Enabled || p.HasTag(mark) {
					t.Errorf("the tenant was not enabled again: %+v", p)
				}
				return
			}
			if after := w.outside(); fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("the repair has changed something:\n%v\n%v", before, after)
			}
		})
	}
}

// If a tenant has lost one of Tenantry's tags, the guard refuses requests that write the tenant's tags. A repair with such a request
// must be refused at its first step. Otherwise, this repair would wait for an operator, and the repair of the tags would wait for this
// repair. A refused removal must still enable the tenant again.
func TestARepairOfATenantThatHasLostATagIsRefused(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	for _, variant := range []string{"enable-project", "disable-project", "remove-tenant, which first disables", "remove-tenant, after that"} {
		trial := repairTrial(t, variant)
		g, _ := w.groundOf(t, trial)
		p := w.projectOf(standingOf(t, g).TenantID)
		w.ignore("project", p.ID)
		w.Keystone.TagProject(p.ID, slices.DeleteFunc(p.Tags, func(tag string) bool { return tag == "tenantry" })...)
		w.accept(trial.Request(g), "")
		r := w.until(t, g.RunID, func(r *saga.Run) bool { return over(r) || r.State == saga.Stuck })
		if r.State != saga.Compensated || r.Cause.Code != workflows.CodeTenantNotOurs {
			t.Errorf("%s: %s", variant, describe(r))
		}
		if variant == "remove-tenant, after that" && !w.projectOf(p.ID).Enabled {
			t.Error("the tenant was not enabled again")
		}
	}
}

// The method `end` ends the subscription of the ground, and returns the run.
func (w *world) end(t *testing.T, g workflowstest.Ground) *saga.Run {
	t.Helper()
	q := workflows.UnsubscribeRequest(standingOf(t, g).Held, newID(), time.Hour)
	w.accept(q, "")
	r := w.until(t, q.ID, over)
	if r.State != saga.Succeeded {
		t.Fatal(describe(r))
	}
	return r
}

// Later runs about the subscription use the tenant that a repair has created.
func TestALaterRunUsesTheTenantThatARepairHasCreated(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	trial := repairTrial(t, "create-tenant")
	g, _ := w.groundOf(t, trial)
	before := standingOf(t, g)
	w.accept(trial.Request(g), "")
	r := w.until(t, g.RunID, over)
	after, err := workflows.StandingOf(r)
	w.ok(err)
	want := before
	want.TenantID, want.TenantOwn = after.TenantID, true
	if r.State != saga.Succeeded || after.TenantID == "" || after.TenantID == before.TenantID || fmt.Sprint(after) != fmt.Sprint(want) {
		t.Fatalf("got %+v, want %+v: %s", after, want, describe(r))
	}
	known, err := w.deps.Standing(t.Context(), before.MerchantID, before.SubscriptionID)
	w.ok(err)
	if fmt.Sprint(known) != fmt.Sprint(after) {
		t.Errorf("got %+v, want %+v", known, after)
	}
	g.Before = r
	w.end(t, g)
	if w.projectOf(after.TenantID).Enabled {
		t.Error("the new tenant is not disabled")
	}
}

// An entry is refused if its finding is not open or has changed. An entry is also refused if the run of its finding does not exist,
// or belongs to another merchant.
func TestWhichEntriesAreRefused(t *testing.T) {
	entry := audit.PlanEntry{FindingID: "f", MerchantID: "m1", RunID: "r1"}
	for name, c := range map[string]struct {
		status  audit.Status
		run     *saga.Run
		changed string
		err     error
		want    saga.Code // empty if the entry is not refused
	}{
		"an open finding":                {audit.Known, &saga.Run{Merchant: "m1", Subject: "m1:c1"}, "", nil, ""},
		"no such finding":                {"", nil, "", nil, workflows.CodeFindingClosed},
		"a resolved finding":             {audit.Resolved, nil, "", nil, workflows.CodeFindingClosed},
		"an accepted finding":            {audit.Accepted, nil, "", nil, workflows.CodeFindingClosed},
		"a run that does not exist":      {audit.New, nil, "", nil, workflows.CodeNotRepairable},
		"a run of another merchant":      {audit.New, &saga.Run{Merchant: "m2"}, "", nil, workflows.CodeNotRepairable},
		"a finding that has changed":     {audit.New, &saga.Run{Merchant: "m1"}, "it is mended", nil, workflows.CodeFindingChanged},
		"an upstream that is down":       {audit.New, &saga.Run{Merchant: "m1"}, "", errors.New("down"), "down"},
		"an accepted one, and it is not": {audit.Accepted, &saga.Run{Merchant: "m1"}, "it is mended", nil, workflows.CodeFindingClosed},
	} {
		d := workflows.Deps{
			Audits: &audits{status: c.status, changed: c.changed, err: c.err}, Ledger: &ledger{run: c.run}, NewID: func() string { return "new" },
		}
		q, err := d.AdmitRepair(t.Context(), "p", entry)
		refused, is := errors.AsType[*workflows.AdmissionError](err)
		switch {
		case c.want == "" && (err != nil || q.Workflow != workflows.RepairName || q.Subject != "m1:c1" || q.Merchant != "m1" || q.ID != "new"):
			t.Errorf("%s: got %+v, %v", name, q, err)
		case c.want == "down" && !errors.Is(err, c.err), c.want != "" && c.want != "down" && (!is || refused.Code != c.want || refused.Detail == ""):
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// The type `ledger` is a ledger with at most one run.
type ledger struct {
	workflows.Ledger

	run *saga.Run
}

func (l *ledger) Run(context.Context, string) (*saga.Run, error) {
	if l.run == nil {
		return nil, saga.ErrNotFound
	}
	return l.run, nil
}

// The type `audits` implements [workflows.Audits]. All findings have the same status, and Confirm returns the same result for all
// repairs.
type audits struct {
	status  audit.Status
	changed string
	err     error
	plan    audit.Plan
}

func (a *audits) Finding(context.Context, string) (audit.Finding, error) {
	if a.status == "" {
		return audit.Finding{}, audit.ErrNotFound
	}
	return audit.Finding{Status: a.status}, nil
}

func (a *audits) KeptPlan(context.Context, string) (audit.Plan, error) { return a.plan, nil }

func (a *audits) Confirm(context.Context, audit.PlanEntry, string) (string, error) {
	return a.changed, a.err
}

// If a run was accepted before a repair created the tenant again, the order of this run names the old tenant. The run must fail without
// a change. The caller can then order again.
func TestARunThatWasAcceptedBeforeTheTenantWasReplacedIsRefused(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	trial := repairTrial(t, "create-tenant")
	g, _ := w.groundOf(t, trial)
	old := standingOf(t, g).Held
	w.accept(trial.Request(g), "")
	repaired := w.until(t, g.RunID, over)
	before := w.outside()
	for _, q := range []saga.Request{
		workflows.UnsubscribeRequest(old, newID(), time.Hour), workflows.SuspendRequest(old, newID()),
	} {
		w.accept(q, "")
		if r := w.until(t, q.ID, over); r.Cause == nil || r.Cause.Code != workflows.CodeTenantReplaced || r.Cause.FixBy != saga.FixByMerchant {
			t.Errorf("%s: %s", q.Workflow, describe(r))
		}
	}
	if after := w.outside(); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("something was changed:\n%v\n%v", before, after)
	}
	g.Before = repaired
	w.end(t, g)
}

// A compensated repair must keep a correct change. If such changes were undone, a re-check could also undo the same change by a person.
func TestACompensatedRepairLeavesWhatIsRight(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	for _, c := range []struct {
		variant, step string
		right         func(workflows.Held, workflowstest.Ground) bool
	}{
		{"enable-project", "enable-project", func(h workflows.Held, _ workflowstest.Ground) bool { return w.projectOf(h.TenantID).Enabled }},
		{"set-resource", "set-resource", func(h workflows.Held, _ workflowstest.Ground) bool {
			s, err := w.Billing.Subscription(t.Context(), h.MerchantID, h.SubscriptionID)
			return err == nil && s.ResourceID == h.TenantID
		}},
		{"revoke-role", "revoke-role/bs-admin", func(h workflows.Held, g workflowstest.Ground) bool {
			return !slices.ContainsFunc(w.Keystone.Assignments(), func(a keystone.Assignment) bool {
				return a.ProjectID == h.TenantID && a.UserID == h.UserID && a.RoleID == g.Roles[1].ID
			})
		}},
	} {
		trial := repairTrial(t, c.variant)
		g, _ := w.groundOf(t, trial)
		w.faults.set(g.RunID, c.step, false, 1, doneButRefused)
		w.accept(trial.Request(g), "")
		if r := w.until(t, g.RunID, over); r.State != saga.Compensated || !c.right(standingOf(t, g).Held, g) {
			t.Errorf("%s: %s", c.variant, describe(r))
		}
	}
}

// A repair that creates the tenant of a suspended subscription must disable the tenant before it assigns roles.
func TestTheTenantOfASuspendedSubscriptionIsDisabledBeforeItHasRoles(t *testing.T) {
	d, err := saga.Define(workflows.RepairWorkflow(workflows.Deps{}))
	if err != nil {
		t.Fatal(err)
	}
	for enabled, want := range map[string]string{"false": "disable-project", "true": "create-tenant"} {
		run, _, err := saga.Machine{Def: d}.Accept(workflows.RepairRequest("p", audit.PlanEntry{Action: audit.CreateTenant, Values: map[string]string{
			"enabled": enabled, audit.RoleValue + "001": "u/r/member",
		}}, "s", "r"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if s := run.Step("assign-role/member"); s == nil || !slices.Contains(s.After, want) {
			t.Errorf("enabled %s: %+v", enabled, s)
		}
	}
}

// The retry of a repair is refused in the same cases as the repair.
func TestWhichRetriesOfARepairAreRefused(t *testing.T) {
	now := time.Now()
	fresh := audit.Plan{CreatedAt: now, Installation: "i"}
	for name, c := range map[string]struct {
		audits audits
		want   saga.Code
	}{
		"it is as it was":           {audits{status: audit.Known, plan: fresh}, ""},
		"the finding is accepted":   {audits{status: audit.Accepted, plan: fresh}, workflows.CodeFindingClosed},
		"nothing differs any more":  {audits{status: audit.Known, plan: fresh, changed: "x"}, workflows.CodeFindingChanged},
		"the plan is old":           {audits{status: audit.Known, plan: audit.Plan{CreatedAt: now.Add(-8 * 24 * time.Hour), Installation: "i"}}, workflows.CodePlanExpired},
		"the database was replaced": {audits{status: audit.Known, plan: audit.Plan{CreatedAt: now, Installation: "other"}}, workflows.CodePlanExpired},
	} {
		d := workflows.Deps{Audits: &c.audits, Installation: "i", Now: func() time.Time { return now }}
		q, err := workflows.RepairWorkflow(d).Retry(t.Context(), workflows.Repair{PlanID: "p", RunID: "old"}, "new")
		refused, is := errors.AsType[*saga.RetryRefusedError](err)
		switch {
		case c.want == "" && (err != nil || q.ID != "new" || q.Input.(workflows.Repair).RunID != ""):
			t.Errorf("%s: %+v, %v", name, q, err)
		case c.want != "" && (!is || refused.Code != c.want):
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
