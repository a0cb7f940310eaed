package workflows

import (
	"context"
	"errors"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// ChangePlanName is the name of the workflow that [ChangePlanWorkflow] returns.
const ChangePlanName = "change-plan"

// CodePlanUnchanged is the code of an [AdmissionError]: the subscription has the plan already.
const CodePlanUnchanged saga.Code = "plan-unchanged"

// ChangePlan is the data of a run that changes the plan of a subscription. A ChangePlan is stored as JSON, so fields may be added,
// but never removed or renamed.
type ChangePlan struct {
	Held
	ByOperator bool   `json:"by_operator,omitempty"` // an operator has asked for the run
	PlanID     string `json:"plan_id"`               // the new plan

	// The first step sets the fields below.

	OldPlanID string    `json:"old_plan_id,omitempty"` // the subscription's plan before the run
	PlanBy    string    `json:"plan_by,omitempty"`     // id of the newest succeeded run that set the subscription's plan before this run
	Was       *Standing `json:"was,omitempty"`         // the standing of the subscription; the run does not change the standing
}

// ChangePlanResult is the part of a ChangePlan that the API returns with a run.
type ChangePlanResult struct {
	SubscriptionID string `json:"subscription_id"`
	CustomerID     string `json:"customer_id"`
	PlanID         string `json:"plan_id"`
	PreviousPlanID string `json:"previous_plan_id,omitempty"`
}

// ChangePlanRequest returns the request for a run that gives a new plan to the subscription of `h`.
func ChangePlanRequest(h Held, planID, runID string) saga.Request {
	return ChangePlan{Held: h, PlanID: planID}.request(runID)
}

// The method `request` returns the [saga.Request] that starts a run for the order. If a later run has changed the plan of the
// subscription, a retry of this run is refused. It does not matter which plan the later run has set.
func (o ChangePlan) request(runID string) saga.Request {
	o.OldPlanID, o.PlanBy, o.Was = "", "", nil
	return o.about(ChangePlanName, runID, o)
}

// AdmitChangePlan returns the request for a run that changes the plan of a merchant's subscription, or an *AdmissionError. If the
// parameter `byOperator` is true, an operator sent the request, and not the merchant's portal.
func (d Deps) AdmitChangePlan(
	ctx context.Context, m merchants.Merchant, subscriptionID, planID string, byOperator bool,
) (saga.Request, error) {
	o, err := d.changeable(ctx, ChangePlan{
		Held: Held{MerchantID: m.ID, SubscriptionID: subscriptionID}, PlanID: planID, ByOperator: byOperator,
	})
	if err != nil {
		return saga.Request{}, err
	}
	return o.request(d.NewID()), nil
}

// retryChangePlan admits the order of a compensated run again.
func (d Deps) retryChangePlan(ctx context.Context, old ChangePlan, runID string) (saga.Request, error) {
	o, err := d.changeable(ctx, old)
	if err != nil {
		return saga.Request{}, retryRefused(err)
	}
	return o.request(runID), nil
}

// The method `changeable` reads the subscription's [Standing] and current plan, stores both in the order, and returns the order. If the
// plan of the subscription cannot be changed now, `changeable` returns an *AdmissionError.
func (d Deps) changeable(ctx context.Context, o ChangePlan) (ChangePlan, error) {
	now, err := d.Standing(ctx, o.MerchantID, o.SubscriptionID)
	if err != nil {
		return o, err
	}
	switch now.State {
	case SubscriptionActive, SubscriptionSuspended, SubscriptionEnding: // an ending subscription can be restored, with the new plan
	case SubscriptionEnded:
		return o, now.over()
	default:
		return o, refuse(saga.Code("subscription-"+now.State), saga.FixByNobody, "run "+now.RunID+" left the subscription in the state "+string(now.State))
	}
	o.Held, o.Was = now.Held, &now
	s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return o, refuse(CodeSubscriptionNotFound, saga.FixByOperator, notInBillingStack)
	case err != nil:
		return o, err
	}
	if o.OldPlanID = s.PlanID; o.OldPlanID == o.PlanID {
		// If no succeeded run has set this plan, a late request of a compensated run may have set it. A re-check of that run would
		// put the old plan back. Therefore a new run is started, which claims this plan.
		left, by, err := d.planLeft(ctx, o.Held)
		switch {
		case err != nil:
			return o, err
		case left == o.PlanID:
			return o, refuse(CodePlanUnchanged, saga.FixByNobody, "the subscription has this plan already: it was set by run "+by)
		}
	}
	_, err = d.Billing.Plan(ctx, o.MerchantID, o.PlanID)
	return o, named("/plan_id", "the merchant has no such plan", err)
}

const notInBillingStack = "BillingStack no longer has the subscription"

// planLeft finds the newest succeeded run that has given a plan to the subscription, and returns this plan and the id of the run. In
// BillingStack, the subscription may have another plan, because of a late request or a change by somebody else.
func (d Deps) planLeft(ctx context.Context, h Held) (planID, runID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	for _, workflow := range []string{ChangePlanName, SubscribeName} {
		runs, err := d.Ledger.Runs(ctx, saga.Filter{
			Merchant: h.MerchantID, Workflow: workflow, States: []saga.RunState{saga.Succeeded}, Limit: 200,
			Objects: []saga.ObjectRef{{Kind: "subscription", ID: h.SubscriptionID}},
		})
		if err != nil {
			return "", "", err
		}
		if len(runs) > 0 { // the newest run is the run that has ended last; it need not have the greatest id
			newest := slices.MaxFunc(runs, func(a, b *saga.Run) int { return a.EndedAt.Compare(*b.EndedAt) })
			o, err := stateOf[struct {
				PlanID string `json:"plan_id"`
			}](newest)
			return o.PlanID, newest.ID, err
		}
	}
	return "", "", nil
}

// ChangePlanWorkflow returns the workflow that changes the plan of a subscription. The subscription's tenant does not change.
func ChangePlanWorkflow(d Deps) saga.Workflow[ChangePlan] {
	return saga.Workflow[ChangePlan]{
		Name: ChangePlanName, Version: 1, Classify: Classify, Retry: d.retryChangePlan,
		Meaning: saga.Meaning{
			Open:   "It is not certain yet whether the subscription has the new plan.",
			Failed: "The subscription keeps its old plan.",
			Done:   "The subscription has the new plan.",
		},
		Expect: ChangePlan.expected,
		Result: func(o ChangePlan) any { return ChangePlanResult{o.SubscriptionID, o.CustomerID, o.PlanID, o.OldPlanID} },
		Steps: []saga.Step[ChangePlan]{
			{
				Name: "check", Effect: saga.Reads, Do: d.checkChangePlan,
				NoUndo: "it only reads",
			},
			{
				Name: "change-plan", After: []string{"check"}, Effect: saga.Changes,
				Find:  d.findPlan,
				Claim: func(o *ChangePlan, _ string) string { return ClaimPlan(o.SubscriptionID, o.PlanID) },
				Do: func(ctx context.Context, o *ChangePlan) error {
					_, err := d.Billing.SetPlan(ctx, o.MerchantID, o.SubscriptionID, o.PlanID)
					if errors.Is(err, billing.ErrNotFound) {
						return StepError{upstream.Permanent, CodeSubscriptionNotFound, notInBillingStack, saga.FixByOperator}
					}
					return err
				},
				Undo: d.putPlanBack,
			},
		},
	}
}

// The method `expected` returns the subscription as a successful run leaves it.
func (o ChangePlan) expected() []saga.Expected {
	return []saga.Expected{{
		Object: saga.Object{Step: "change-plan", Kind: "subscription", ID: o.SubscriptionID, Origin: saga.Adopted},
		Fields: map[string]string{"plan_id": o.PlanID},
	}}
}

// checkChangePlan is the first step of the run. The step reads the subscription and the plan again, because both may have changed
// since the order was accepted. The step stores the old plan and the standing of the subscription.
func (d Deps) checkChangePlan(ctx context.Context, o *ChangePlan) error {
	now, err := d.changeable(ctx, *o)
	if refused, ok := errors.AsType[*AdmissionError](err); ok && len(refused.Params) > 0 {
		return StepError{upstream.Permanent, CodePlanGone, "plan " + o.PlanID + " no longer exists", saga.FixByMerchant}
	}
	if err != nil {
		return permanently(err)
	}
	record(ctx, "subscription", o.SubscriptionID, "", saga.Adopted)
	o.OldPlanID, o.Was = now.OldPlanID, now.Was
	_, o.PlanBy, err = d.planLeft(ctx, o.Held)
	return err
}

// findPlan returns Made if the subscription has the new plan, and had another plan before the run.
func (d Deps) findPlan(ctx context.Context, o *ChangePlan) (saga.Found, error) {
	s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return saga.Absent, nil
	case err != nil || s.PlanID != o.PlanID:
		return saga.Absent, err
	case o.OldPlanID == o.PlanID:
		return saga.Usable, nil
	}
	return saga.Made, nil
}

// putPlanBack is the undo of the step `change-plan`. If the subscription still has the plan that the run has set, putPlanBack sets the
// old plan again. If a later run has changed the plan before a re-check, putPlanBack sets the plan of the later run instead.
func (d Deps) putPlanBack(ctx context.Context, o *ChangePlan) error {
	s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
	if errors.Is(err, billing.ErrNotFound) {
		return nil
	}
	if err != nil || s.PlanID != o.PlanID {
		return err
	}
	back, by, err := d.planLeft(ctx, o.Held)
	if err != nil {
		return err
	}
	if by == o.PlanBy { // no later run has given a plan to the subscription
		back = o.OldPlanID
	}
	if back == o.PlanID {
		return nil
	}
	_, err = d.Billing.SetPlan(ctx, o.MerchantID, o.SubscriptionID, back)
	if errors.Is(err, billing.ErrNotFound) {
		return nil
	}
	return err
}
