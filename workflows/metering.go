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

// Tenant implements [usage.Tenants]. A span begins when the request that changes the subscription is accepted, not when the request's run
// ends. The usage of a subscription therefore does not depend on the duration of a run.
func (d Deps) Tenant(ctx context.Context, cloud, project string) (t usage.Tenant, err error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	made, err := d.history(ctx, saga.Filter{Objects: []saga.ObjectRef{{Kind: "project", ID: project}}})
	if err != nil {
		return t, err
	}
	for _, r := range made { // two clouds may have projects with the same id
		subscription, found := subscriptionOfTenant(r, cloud, project)
		if !found {
			continue
		}
		t.Merchant, t.Subscription = r.Merchant, subscription
		if !r.State.Ended() {
			t.Changing = r.CreatedAt
		}
		if t.Subscription == "" {
			continue
		}
		return d.withSpans(ctx, t)
	}
	return t, nil
}

// withSpans adds the spans of the subscription. It also adds the time at which the oldest live run about the subscription's customer was
// accepted.
//
// withSpans reads the live runs before the succeeded runs. Otherwise, it could miss a run that succeeds between the two reads. The usage of an
// hour would then be billed without the change that the run has made.
func (d Deps) withSpans(ctx context.Context, t usage.Tenant) (usage.Tenant, error) {
	succeeded := saga.Filter{
		Merchant: t.Merchant, Objects: []saga.ObjectRef{{Kind: "subscription", ID: t.Subscription}}, States: []saga.RunState{saga.Succeeded}, Limit: 1,
	}
	newest, err := d.Ledger.Runs(ctx, succeeded)
	if err != nil || len(newest) == 0 {
		return t, err
	}
	s, err := StandingOf(newest[0])
	if err != nil {
		return t, err
	}
	// A run that waits for its turn has recorded no objects yet, but all runs about the customer's subscriptions have the same subject.
	live, err := d.history(ctx, saga.Filter{Merchant: t.Merchant, Subject: s.subject(), Live: true})
	if err != nil {
		return t, err
	}
	for _, r := range live {
		if t.Changing.IsZero() || r.CreatedAt.Before(t.Changing) {
			t.Changing = r.CreatedAt
		}
	}
	runs, err := d.history(ctx, succeeded)
	if err == nil {
		t.Spans, err = spansOf(runs)
	}
	return t, err
}

// The method `history` returns all runs that match the filter, newest first.
func (d Deps) history(ctx context.Context, f saga.Filter) (all []*saga.Run, err error) {
	f.Limit = 100
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

// subscriptionOfTenant returns the id of the subscription that has the project as its tenant. If there is no such subscription, the id is
// empty. If the run has not recorded the project in this cloud, `recorded` is false.
func subscriptionOfTenant(r *saga.Run, cloud, project string) (id string, recorded bool) {
	for i := range r.Objects {
		if o := &r.Objects[i]; o.Kind == "project" && o.ID == project && o.Cloud == cloud {
			recorded = true
			if id, found := strings.CutPrefix(o.Name, keystone.SubscriptionTenant("")); found {
				return id, true
			}
		}
	}
	return "", recorded
}

// spansOf returns the spans of a subscription. The argument contains the succeeded runs of the subscription, in any order. spansOf sorts
// the runs by the time of their acceptance, because the runs of a customer execute one at a time, in this order.
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
