package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// SuspendName is the name of the workflow that [Suspend] returns.
const SuspendName = "suspend"

// suspending describes the workflow that suspends an active subscription. An operator can also suspend a subscription that the
// merchant has suspended. After that, only an operator can resume the subscription.
var suspending = switching{SuspendName, func(now Standing, byOperator bool) *AdmissionError {
	if now.State == SubscriptionSuspended && (now.suspendedByOperator() || !byOperator) {
		return refuse(CodeSubscriptionSuspended, saga.FixByNobody, "the subscription is suspended already, by run "+now.RunID)
	}
	return nil
}}

// AdmitSuspend returns the request for a run that suspends a merchant's subscription, or an *AdmissionError.
func (d Deps) AdmitSuspend(ctx context.Context, m merchants.Merchant, subscriptionID string, byOperator bool) (saga.Request, error) {
	return d.admitSwitch(ctx, suspending, m, subscriptionID, byOperator)
}

// SuspendRequest returns the request for a run that suspends a subscription. The parameter `h` contains the objects of the
// subscription.
func SuspendRequest(h Held, runID string) saga.Request {
	return suspending.request(Switch{Held: h}, runID)
}

// Suspend returns the workflow that suspends a subscription. The workflow disables the subscription's tenant. The roles stay. Keystone
// issues no tokens for a disabled tenant, and refuses earlier tokens for it. Servers in the tenant go on running.
func Suspend(d Deps) saga.Workflow[Switch] {
	return saga.Workflow[Switch]{
		Name: SuspendName, Version: 1, Classify: Classify,
		Meaning: saga.Meaning{
			Open:   "The subscription is not suspended yet.",
			Failed: "The subscription is not suspended.",
			Done:   "The user cannot work in the subscription's tenant until the subscription is resumed. Its servers go on running.",
		},
		Retry: func(ctx context.Context, o Switch, runID string) (saga.Request, error) {
			return d.retrySwitch(ctx, suspending, o, runID)
		},
		Expect: func(o Switch) []saga.Expected { return o.expectSwitched("disable-tenant", "false") },
		Result: func(o Switch) any { return o.result(SubscriptionSuspended) },
		Steps: []saga.Step[Switch]{
			{
				Name: "check", Effect: saga.Reads,
				Do:     func(ctx context.Context, o *Switch) error { return d.checkSwitch(ctx, suspending, o) },
				NoUndo: "it only reads",
			},
			{
				Name: "disable-tenant", After: []string{"check"}, Effect: saga.Changes,
				Find:  d.findDisabled,
				Claim: func(o *Switch, _ string) string { return ClaimDisabled(o.claim()) },
				Do:    d.disableTenant,
				Undo:  d.enableAgain,
			},
		},
	}
}

// findDisabled returns Absent if the tenant is enabled or gone. Otherwise, the result shows who has disabled the tenant: see
// disabledBy. The tenant's tags contain the ids of the runs that have disabled the tenant.
func (d Deps) findDisabled(ctx context.Context, o *Switch) (saga.Found, error) {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return saga.Absent, err
	}
	p, err := id.Project(ctx, o.TenantID)
	if err != nil || p.Enabled {
		return saga.Absent, ignoreGone(err)
	}
	found := disabledBy(p, o.RunID)
	if found == saga.Foreign {
		return found, disabledByOthers(o.Held)
	}
	o.recordTenant(ctx)
	return found, nil
}

// disabledBy returns Made if this run has disabled the tenant, Usable if another run of Tenantry has disabled it, and Foreign if
// somebody else has disabled it.
func disabledBy(p keystone.Project, runID string) saga.Found {
	switch {
	case p.HasTag(keystone.DisabledTag(runID)):
		return saga.Made
	case len(p.DisabledBy()) > 0:
		return saga.Usable
	}
	return saga.Foreign
}

func (d Deps) disableTenant(ctx context.Context, o *Switch) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	p, err := id.DisableProject(ctx, o.project(), keystone.DisabledTag(o.RunID))
	if err != nil {
		return tenantGone(o.Held, err)
	}
	if disabledBy(p, o.RunID) == saga.Foreign {
		return disabledByOthers(o.Held)
	}
	o.recordTenant(ctx)
	return nil
}

// enableAgain enables the tenant if this run has disabled it.
func (d Deps) enableAgain(ctx context.Context, o *Switch) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	_, _, err = id.EnableProject(ctx, o.project(), keystone.DisabledTag(o.RunID))
	return ignoreGone(err)
}

// disabledByOthers returns the error of a step whose tenant is disabled although no run has disabled it.
func disabledByOthers(h Held) error {
	return StepError{upstream.Permanent, CodeTenantDisabled, h.tenant() + " is disabled, but not by Tenantry: enable it", saga.FixByOperator}
}

// tenantGone replaces ErrNotFound with a permanent error that names the tenant.
func tenantGone(h Held, err error) error {
	if !errors.Is(err, keystone.ErrNotFound) {
		return err
	}
	return StepError{upstream.Permanent, CodeTenantGone, h.tenant() + " no longer exists", saga.FixByOperator}
}

// ignoreGone returns nil instead of ErrNotFound: a missing tenant need not be disabled or enabled.
func ignoreGone(err error) error {
	if errors.Is(err, keystone.ErrNotFound) {
		return nil
	}
	return err
}
