package workflows

import (
	"context"
	"errors"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// RestoreName is the name of the workflow that [Restore] returns.
const RestoreName = "restore"

// Restoration is the data of a run that restores an ending subscription. A Restoration is stored as JSON, so fields may be added,
// but never removed or renamed.
type Restoration struct {
	Switch
	Was Standing `json:"was"` // the standing of the subscription before the run

	// The first step sets the fields below.

	Absent   []string `json:"absent,omitempty"`    // ids of the roles that the user lacked on the tenant before the run
	UserGone bool     `json:"user_gone,omitempty"` // the user no longer exists in Keystone
}

// RestoreResult is the part of a Restoration that the API returns with a run.
type RestoreResult struct {
	SwitchResult
	SubscriberGone bool `json:"subscriber_gone,omitempty"` // the subscriber no longer exists in Keystone, and has no role
}

func (o Restoration) result() any {
	return RestoreResult{o.Switch.result(o.leaves().State).(SwitchResult), o.UserGone}
}

// The method `leaves` returns the standing of the subscription after a successful run. A restored subscription has the state that it
// had before it was ended.
func (o Restoration) leaves() Standing {
	s := Standing{Held: o.Held, State: SubscriptionActive, RunID: o.RunID, Suspension: o.Was.Suspension}
	if s.Suspension != nil {
		s.State = SubscriptionSuspended
	}
	return s
}

// AdmitRestore returns the request for a run that restores a merchant's subscription, or an *AdmissionError. If addUser is not
// empty, the user with this id becomes the subscriber. If the parameter `byOperator` is true, an operator sent the request, and not
// the merchant's portal.
func (d Deps) AdmitRestore(ctx context.Context, m merchants.Merchant, subscriptionID, addUser string, byOperator bool) (saga.Request, error) {
	o := Restoration{Switch: Switch{Held: Held{MerchantID: m.ID, SubscriptionID: subscriptionID}, ByOperator: byOperator}}
	now, err := d.Standing(ctx, m.ID, subscriptionID)
	if err != nil {
		return saga.Request{}, err
	}
	o.Held, o.Was = now.Held, now
	if err := d.subscriber(ctx, &o, addUser); err != nil {
		return saga.Request{}, err
	}
	return d.admitRestore(ctx, o, d.NewID())
}

func (d Deps) retryRestore(ctx context.Context, old Restoration, runID string) (saga.Request, error) {
	q, err := d.admitRestore(ctx, old, runID)
	if err != nil {
		return q, retryRefused(err)
	}
	return q, nil
}

// The method `subscriber` replaces the subscriber of the order with another user of the same domain.
func (d Deps) subscriber(ctx context.Context, o *Restoration, userID string) error {
	if userID == "" {
		return nil
	}
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return unconfigured(err)
	}
	user, err := d.readUser(ctx, id, userID)
	switch refused, ok := errors.AsType[*AdmissionError](err); {
	case ok:
		return invalid(Param{"/add_user", refused.Detail})
	case err != nil:
		return err
	case user.DomainID != o.DomainID:
		return invalid(Param{"/add_user", "the user is not in the merchant's domain"})
	}
	o.UserID, o.UserName = user.ID, upstream.Clean(user.Name)
	return nil
}

// admitRestore checks that the subscription can be restored now. admitRestore looks up the roles again, because a role may have been
// deleted and created again since the subscription was made.
func (d Deps) admitRestore(ctx context.Context, o Restoration, runID string) (saga.Request, error) {
	o, err := d.restorable(ctx, o)
	if err != nil {
		return saga.Request{}, err
	}
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return saga.Request{}, unconfigured(err)
	}
	id.Forget()
	roles, err := id.Roles(ctx, names(o.Roles))
	if err := configured("roles", err); err != nil {
		return saga.Request{}, err
	}
	o.Roles = roles
	return o.request(runID), nil
}

// RestoreRequest returns the request for a run that restores an ending subscription.
func RestoreRequest(was Standing, runID string) saga.Request {
	return Restoration{Switch: Switch{Held: was.Held}, Was: was}.request(runID)
}

func (o Restoration) request(runID string) saga.Request {
	fresh := Restoration{Switch: Switch{Held: o.Held, RunID: runID, ByOperator: o.ByOperator}, Was: o.Was}
	return o.about(RestoreName, runID, fresh)
}

// The method `restorable` returns the order with the runs that have disabled the tenant. If the subscription cannot be restored now,
// `restorable` returns an *AdmissionError.
func (d Deps) restorable(ctx context.Context, o Restoration) (Restoration, error) {
	now, err := d.Standing(ctx, o.MerchantID, o.SubscriptionID)
	switch {
	case err != nil:
		return o, err
	case now.State == SubscriptionEnded:
		return o, now.over()
	case now.State != SubscriptionEnding:
		return o, refuse(CodeSubscriptionNotEnding, saga.FixByNobody, "the subscription has not been ended")
	case now.RunID != o.Was.RunID:
		return o, refuse(CodeSubscriptionNotEnding, saga.FixByMerchant, "run "+now.RunID+" ended the subscription again after this request: send a new request")
	}
	if err := d.planStays(ctx, o.Held); err != nil {
		return o, err
	}
	p, err := d.project(ctx, o.Held)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return o, refuse(CodeTenantGone, saga.FixByOperator, o.tenant()+" no longer exists")
	case err != nil:
		return o, err
	case !o.TenantOwn:
		return o, nil
	}
	o.DisabledBy = p.DisabledBy()
	return o, d.ours(o.Held, p)
}

// planStays returns an *AdmissionError if the subscription or its plan is no longer in BillingStack.
func (d Deps) planStays(ctx context.Context, h Held) error {
	s, err := d.Billing.Subscription(ctx, h.MerchantID, h.SubscriptionID)
	if err == nil {
		_, err = d.Billing.Plan(ctx, h.MerchantID, s.PlanID)
		if errors.Is(err, billing.ErrNotFound) {
			return refuse(CodePlanGone, saga.FixByMerchant, "plan "+s.PlanID+" no longer exists: change the plan first")
		}
	}
	if errors.Is(err, billing.ErrNotFound) {
		return refuse(CodeSubscriptionNotFound, saga.FixByOperator, notInBillingStack)
	}
	return err
}

// Restore returns the workflow that restores an ending subscription. The workflow gives the subscriber the roles again. If the
// subscriber no longer exists in Keystone, nobody gets the roles. If the subscription was not suspended when it was ended, the
// workflow then enables the tenant. When the run has succeeded, the ending is dropped.
func Restore(d Deps) saga.Workflow[Restoration] {
	return saga.Workflow[Restoration]{
		Name: RestoreName, Version: 1, Classify: Classify,
		Meaning: saga.Meaning{
			Open:   "The user cannot work in the subscription's tenant yet.",
			Failed: "The subscription is still ended.",
			Done:   "The user can use the subscription again.",
		},
		Retry:  d.retryRestore,
		Expect: Restoration.expected,
		Result: Restoration.result,
		Then: func(o Restoration, end saga.End) []saga.FollowUp {
			if end.Cause != nil {
				return nil
			}
			return []saga.FollowUp{{Workflow: RemoveName, ID: o.SubscriptionID, Merchant: o.MerchantID}}
		},
		Steps: []saga.Step[Restoration]{
			{
				Name: "check", Effect: saga.Reads, Do: d.checkRestore,
				NoUndo: "it only reads",
			},
			{
				Name: "assign-role", After: []string{"check"}, Optional: true,
				Each: func(o *Restoration) []string { return names(o.Roles) },
				Find: func(ctx context.Context, o *Restoration) (saga.Found, error) {
					if err := o.skipRole(); err != nil {
						return saga.Absent, err
					}
					return d.findRole(ctx, o.grant())
				},
				Claim: func(o *Restoration, role string) string { return o.grant().claim(role) },
				Do: func(ctx context.Context, o *Restoration) error {
					if err := o.skipRole(); err != nil {
						return err
					}
					o.recordTenant(ctx)
					return d.assignRole(ctx, o.grant(), nil)
				},
				Undo: func(ctx context.Context, o *Restoration) error { return d.removeRole(ctx, o.grant()) },
			},
			{
				Name: "enable-tenant", After: []string{"assign-role"}, Effect: saga.Changes,
				Find: func(ctx context.Context, o *Restoration) (saga.Found, error) {
					if o.stays() {
						return saga.Usable, nil
					}
					return d.findEnabled(ctx, &o.Switch)
				},
				Claim: func(o *Restoration, _ string) string {
					if o.stays() {
						return "nothing" // Find never returns Made, so no re-check asks for the claim
					}
					return saga.Not(ClaimDisabled(o.claim()))
				},
				Do: func(ctx context.Context, o *Restoration) error {
					if o.stays() {
						return nil
					}
					return d.enableTenant(ctx, &o.Switch)
				},
				Undo: func(ctx context.Context, o *Restoration) error {
					if o.stays() {
						return nil
					}
					return d.disableAgain(ctx, &o.Switch)
				},
			},
		},
	}
}

// The method `stays` reports whether the run leaves the tenant unchanged. This is the case if the subscription stays suspended. It is
// also the case if the tenant existed before the subscription, because such a tenant was never disabled.
func (o *Restoration) stays() bool { return o.Was.Suspension != nil || !o.TenantOwn }

// skipRole returns a SkipError if the subscriber no longer exists in Keystone.
func (o *Restoration) skipRole() error {
	if !o.UserGone {
		return nil
	}
	return saga.SkipError{Why: "subscriber-gone: user " + o.UserID + " no longer exists in Keystone"}
}

// The method `grant` describes the roles that the user gets on the tenant.
func (o *Restoration) grant() grant {
	g := o.Held.grant()
	g.lacked = o.Absent
	return g
}

// The method `expected` returns the tenant and the subscriber's roles as a successful run leaves them.
func (o Restoration) expected() (all []saga.Expected) {
	if !o.stays() {
		all = o.expectSwitched("enable-tenant", "true")
	}
	if o.UserGone {
		return all
	}
	return append(all, o.grant().expected("assign-role")...)
}

// checkRestore is the first step of the run. The step reads the subscription again, because it may have changed since the order was
// accepted. The step stores the runs that have disabled the tenant, and the roles that the user lacks on the tenant.
func (d Deps) checkRestore(ctx context.Context, o *Restoration) error {
	now, err := d.restorable(ctx, *o)
	if err != nil {
		return permanently(err)
	}
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	o.UserGone, o.Absent, o.DisabledBy = false, nil, now.DisabledBy
	if _, err := id.User(ctx, o.UserID); errors.Is(err, keystone.ErrNotFound) {
		o.UserGone = true
	} else if err != nil {
		return err
	}
	if !o.UserGone {
		has, err := id.AssignedRoles(ctx, o.TenantID, o.UserID)
		if err != nil {
			return err
		}
		for _, r := range o.Roles {
			if !slices.Contains(has, r.ID) {
				o.Absent = append(o.Absent, r.ID)
			}
		}
	}
	record(ctx, "subscription", o.SubscriptionID, "", saga.Adopted)
	return nil
}
