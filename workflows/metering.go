package workflows

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// Spans implements [usage.Tenants]. A span begins when the request that changes the subscription is accepted, not when its run ends. The usage
// of a subscription therefore does not depend on how long a run takes.
func (d Deps) Spans(ctx context.Context, cloud, project string) ([]usage.Span, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	made, err := d.succeeded(ctx, "", saga.ObjectRef{Kind: "project", ID: project})
	if err != nil {
		return nil, err
	}
	for _, r := range made { // two clouds may have projects with the same id
		id := subscriptionOfTenant(r, cloud, project)
		if id == "" {
			continue
		}
		runs, err := d.succeeded(ctx, r.Merchant, saga.ObjectRef{Kind: "subscription", ID: id})
		if err != nil {
			return nil, err
		}
		return spansOf(runs)
	}
	return nil, nil
}

// The method `succeeded` returns all succeeded runs that have recorded an object, newest first.
func (d Deps) succeeded(ctx context.Context, merchantID string, of saga.ObjectRef) (all []*saga.Run, err error) {
	f := saga.Filter{Merchant: merchantID, Objects: []saga.ObjectRef{of}, States: []saga.RunState{saga.Succeeded}, Limit: 100}
	for {
		page, err := d.Ledger.Runs(ctx, f)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); len(page) < f.Limit {
			return all, nil
		}
		f.Before = page[len(page)-1].ID
	}
}

// subscriptionOfTenant returns the id of the subscription whose tenant the project is, or an empty text. The run has recorded the project.
func subscriptionOfTenant(r *saga.Run, cloud, project string) string {
	for i := range r.Objects {
		if o := &r.Objects[i]; o.Kind == "project" && o.ID == project && o.Cloud == cloud {
			if id, found := strings.CutPrefix(o.Name, keystone.SubscriptionTenant("")); found {
				return id
			}
		}
	}
	return ""
}

// spansOf returns the spans of a subscription. The succeeded runs of the subscription may be in any order. They are sorted by the time of
// their acceptance: the runs of a customer execute one at a time, in this order.
func spansOf(runs []*saga.Run) (spans []usage.Span, err error) {
	slices.SortFunc(runs, func(a, b *saga.Run) int { return a.CreatedAt.Compare(b.CreatedAt) })
	plan := ""
	for _, r := range runs {
		switch r.Workflow {
		case SubscribeName:
			o, err := stateOf[Order](r)
			if err != nil {
				return nil, err
			}
			plan = o.PlanID
		case ChangePlanName:
			o, err := stateOf[ChangePlan](r)
			if err != nil {
				return nil, err
			}
			plan = o.PlanID
		}
		standing, err := StandingOf(r)
		if err != nil {
			return nil, fmt.Errorf("reading the history of a subscription: %w", err)
		}
		span := usage.Span{From: r.CreatedAt, Plan: plan, State: string(standing.State)}
		if n := len(spans); n > 0 && spans[n-1].Plan == span.Plan && spans[n-1].State == span.State {
			continue
		}
		spans = append(spans, span)
	}
	return spans, nil
}
