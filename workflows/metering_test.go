package workflows_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/workflows"
)

// A run that changes the plan succeeds while the tenant is being read. The tenant then has the new plan, or a run that has not ended.
func TestNoChangeIsMissedThatSucceedsMeanwhile(t *testing.T) {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	held := workflows.Held{MerchantID: "m", CustomerID: "c", SubscriptionID: "s"}
	run := func(id, workflow string, created time.Time, state any) *saga.Run {
		input, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		return &saga.Run{ID: id, Workflow: workflow, Merchant: "m", Subject: "m:c", State: saga.Running, CreatedAt: created, Input: input}
	}
	for reads := range 6 {
		made := run("1", workflows.SubscribeName, at, map[string]string{
			"merchant_id": "m", "customer_id": "c", "subscription_id": "s", "plan_id": "small",
		})
		made.State = saga.Succeeded
		made.Objects = []saga.Object{
			{Kind: "project", Cloud: "default", ID: "p", Name: "bs-subscription-s"}, {Kind: "subscription", ID: "s"},
		}
		change := run("2", workflows.ChangePlanName, at.Add(time.Minute), workflows.ChangePlan{
			Held: held, PlanID: "large", Was: &workflows.Standing{Held: held, State: workflows.SubscriptionActive},
		})
		l := &changingLedger{runs: []*saga.Run{change, made}, until: reads, succeeds: func() {
			change.State, change.Objects = saga.Succeeded, []saga.Object{{Kind: "subscription", ID: "s"}}
		}}
		got, err := workflows.Deps{Ledger: l}.Tenant(t.Context(), "default", "p")
		if err != nil {
			t.Fatal(err)
		}
		changed := slices.ContainsFunc(got.Spans, func(s usage.Span) bool { return s.Plan == "large" })
		if !changed && !got.Changing.Equal(change.CreatedAt) {
			t.Errorf("the run succeeds after %d reads: the tenant is %+v", reads, got)
		}
	}
}

// The type `changingLedger` has runs, newest first, and calls `succeeds` after a number of reads.
type changingLedger struct {
	workflows.Ledger

	runs     []*saga.Run
	until    int
	succeeds func()
}

// Runs implements [workflows.Ledger].
func (l *changingLedger) Runs(_ context.Context, f saga.Filter) (found []*saga.Run, _ error) {
	if l.until--; l.until == -1 {
		l.succeeds()
	}
	for _, r := range l.runs {
		of := func(o saga.ObjectRef) bool {
			return slices.ContainsFunc(r.Objects, func(has saga.Object) bool { return has.Kind == o.Kind && has.ID == o.ID })
		}
		switch {
		case f.Live && r.State.Ended(), len(f.States) > 0 && !slices.Contains(f.States, r.State), f.Subject != "" && f.Subject != r.Subject:
		case len(f.Objects) > 0 && !of(f.Objects[0]), len(found) == f.Limit:
		default:
			found = append(found, r)
		}
	}
	return found, nil
}
