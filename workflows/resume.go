package workflows

import (
	"context"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// ResumeName is the name of the workflow that [Resume] returns.
const ResumeName = "resume"

// resuming describes the workflow that resumes a suspended subscription. If an operator has suspended the subscription, only an
// operator can resume it.
var resuming = switching{ResumeName, func(now Standing, byOperator bool) *AdmissionError {
	switch {
	case now.State != SubscriptionSuspended:
		return refuse(CodeSubscriptionActive, saga.FixByNobody, "the subscription is not suspended")
	case now.suspendedByOperator() && !byOperator:
		return refuse(CodeSuspendedByOperator, saga.FixByOperator, "an operator has suspended the subscription, with run "+now.RunID)
	}
	return nil
}}

// AdmitResume returns the request for a run that resumes a merchant's subscription, or an *AdmissionError.
func (d Deps) AdmitResume(ctx context.Context, m merchants.Merchant, subscriptionID string, byOperator bool) (saga.Request, error) {
	return d.admitSwitch(ctx, resuming, m, subscriptionID, byOperator)
}

// ResumeRequest returns the request for a run that resumes a subscription. The parameter `h` contains the objects of the
// subscription.
func ResumeRequest(h Held, runID string) saga.Request {
	return resuming.request(Switch{Held: h}, runID)
}

// Resume returns the workflow that resumes a suspended subscription: it enables the subscription's tenant.
func Resume(d Deps) saga.Workflow[Switch] {
	return saga.Workflow[Switch]{
		Name: ResumeName, Version: 1, Classify: Classify,
		Meaning: saga.Meaning{
			Open:   "The user cannot work in the subscription's tenant yet.",
			Failed: "The subscription is still suspended.",
			Done:   "The user can work in the subscription's tenant again.",
		},
		Retry: func(ctx context.Context, o Switch, runID string) (saga.Request, error) {
			return d.retrySwitch(ctx, resuming, o, runID)
		},
		Expect: func(o Switch) []saga.Expected { return o.expectSwitched("enable-tenant", "true") },
		Result: func(o Switch) any { return o.result(SubscriptionActive) },
		Steps: []saga.Step[Switch]{
			{
				Name: "check", Effect: saga.Reads,
				Do:     func(ctx context.Context, o *Switch) error { return d.checkSwitch(ctx, resuming, o) },
				NoUndo: "it only reads",
			},
			{
				Name: "enable-tenant", After: []string{"check"}, Effect: saga.Changes,
				Find:  d.findEnabled,
				Claim: func(o *Switch, _ string) string { return saga.Not(ClaimDisabled(o.claim())) },
				Do:    d.enableTenant,
				Undo:  d.disableAgain,
			},
		},
	}
}

// findEnabled returns Made if the tenant is enabled and has no mark of a run that disabled it.
func (d Deps) findEnabled(ctx context.Context, o *Switch) (saga.Found, error) {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return saga.Absent, err
	}
	p, err := id.Project(ctx, o.TenantID)
	switch {
	case err != nil:
		return saga.Absent, ignoreGone(err)
	case !p.Enabled && !slices.ContainsFunc(o.marks(), p.HasTag):
		return saga.Foreign, disabledByOthers(o.Held)
	case !p.Enabled || len(p.DisabledBy()) > 0:
		return saga.Absent, nil
	}
	o.recordTenant(ctx)
	return saga.Made, nil
}

func (d Deps) enableTenant(ctx context.Context, o *Switch) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	p, _, err := id.EnableProject(ctx, o.project(), o.marks()...)
	switch {
	case err != nil:
		return tenantGone(o.Held, err)
	case !p.Enabled:
		return disabledByOthers(o.Held)
	}
	o.recordTenant(ctx)
	return nil
}

// disableAgain disables the tenant, and adds a mark that the tenant had before the run.
func (d Deps) disableAgain(ctx context.Context, o *Switch) error {
	if len(o.DisabledBy) == 0 { // the tenant was not disabled
		return nil
	}
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	_, err = id.DisableProject(ctx, o.project(), o.marks()[0])
	return ignoreGone(err)
}
