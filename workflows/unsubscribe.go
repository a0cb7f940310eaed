package workflows

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// UnsubscribeName is the name of the workflow that [Unsubscribe] returns.
const UnsubscribeName = "unsubscribe"

// Unsubscription is the data of a run that ends a subscription. An Unsubscription is stored as JSON, so fields may be added, but
// never removed or renamed.
type Unsubscription struct {
	Switch
	KeepTenant time.Duration `json:"keep_tenant"` // time for which the subscription can be restored

	// The steps set the fields below.

	Was     *Standing `json:"was,omitempty"`     // the standing of the subscription before the run
	Present []string  `json:"present,omitempty"` // ids of the roles that the subscriber had on the tenant before the run
	EndsAt  time.Time `json:"ends_at,omitzero"`  // time at which the tenant is to be removed
}

// UnsubscribeResult is the part of an Unsubscription that the API returns with a run.
type UnsubscribeResult struct {
	SwitchResult
	EndsAt *time.Time `json:"ends_at,omitempty"` // end of the time in which the subscription can be restored
	Kept   []Kept     `json:"kept,omitempty"`
}

// Kept is an object of an ended subscription that the run has neither disabled nor removed.
type Kept struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Why  string `json:"why"`
}

func (o Unsubscription) result() any {
	r := UnsubscribeResult{SwitchResult: o.Switch.result(SubscriptionEnding).(SwitchResult), Kept: o.kept()}
	if !o.EndsAt.IsZero() {
		r.EndsAt = &o.EndsAt
	}
	return r
}

// The method `kept` lists the tenant if no run of this installation has created it.
func (h Held) kept() []Kept {
	if h.TenantOwn {
		return nil
	}
	return []Kept{{"project", h.TenantID, h.tenantName(), "it existed before the subscription"}}
}

// AdmitUnsubscribe returns the request for a run that ends a merchant's subscription, or an *AdmissionError. If the parameter
// `byOperator` is true, an operator sent the request, and not the merchant's portal.
func (d Deps) AdmitUnsubscribe(ctx context.Context, m merchants.Merchant, subscriptionID string, byOperator bool) (saga.Request, error) {
	o, err := d.endable(ctx, Unsubscription{Switch: Switch{
		Held: Held{MerchantID: m.ID, SubscriptionID: subscriptionID}, ByOperator: byOperator,
	}})
	if err != nil {
		return saga.Request{}, err
	}
	return o.request(d.NewID(), d.KeepTenant), nil
}

func (d Deps) retryUnsubscribe(ctx context.Context, old Unsubscription, runID string) (saga.Request, error) {
	o, err := d.endable(ctx, old)
	if err != nil {
		return saga.Request{}, retryRefused(err)
	}
	return o.request(runID, old.KeepTenant), nil
}

// UnsubscribeRequest returns the request for a run that ends the subscription of `h`.
func UnsubscribeRequest(h Held, runID string, keepTenant time.Duration) saga.Request {
	return Unsubscription{Switch: Switch{Held: h}}.request(runID, keepTenant)
}

func (o Unsubscription) request(runID string, keepTenant time.Duration) saga.Request {
	fresh := Unsubscription{Switch: Switch{Held: o.Held, RunID: runID, ByOperator: o.ByOperator}, KeepTenant: keepTenant}
	return o.about(UnsubscribeName, runID, fresh)
}

// The method `endable` returns the order with the standing of the subscription. If the subscription cannot be ended now, `endable`
// returns an *AdmissionError. A subscription can be ended even if its tenant no longer exists, or if somebody else has disabled the
// tenant.
func (d Deps) endable(ctx context.Context, o Unsubscription) (Unsubscription, error) {
	now, err := d.Standing(ctx, o.MerchantID, o.SubscriptionID)
	if err != nil {
		return o, err
	}
	if refused := now.over(); refused != nil {
		return o, refused
	}
	o.Held, o.Was = now.Held, &now
	p, err := d.project(ctx, o.Held)
	if err != nil || !o.TenantOwn {
		return o, ignoreGone(err)
	}
	return o, d.ours(o.Held, p)
}

// The method `over` returns nil if the subscription has not been ended. Otherwise, the result is the reason why the subscription
// cannot be changed.
func (s Standing) over() *AdmissionError {
	switch s.State {
	case SubscriptionEnding:
		return refuse(CodeSubscriptionEnding, saga.FixByMerchant, "run "+s.RunID+" has ended the subscription: restore it first")
	case SubscriptionEnded:
		return refuse(CodeSubscriptionEnded, saga.FixByNobody, "run "+s.RunID+" has removed the subscription's tenant")
	case SubscriptionActive, SubscriptionSuspended:
	}
	return nil
}

// Unsubscribe returns the workflow that ends a subscription. The workflow revokes the roles that Tenantry has given to the
// subscriber on the subscription's tenant, and disables the tenant. Servers in the tenant go on running. When the run has
// succeeded, Tenantry stores a follow-up, which is called the ending of the subscription. When the ending is due, the workflow
// `remove` removes the tenant. Until then, the workflow `restore` can restore the subscription. A tenant that existed before the
// subscription stays enabled.
func Unsubscribe(d Deps) saga.Workflow[Unsubscription] {
	return saga.Workflow[Unsubscription]{
		Name: UnsubscribeName, Version: 1, Classify: Classify,
		Meaning: saga.Meaning{
			Open:   "The subscription has not ended yet.",
			Failed: "The subscription goes on as before.",
			Done:   "The user cannot work in the subscription's tenant any more. The subscription can be restored until its tenant is removed.",
		},
		Retry:  d.retryUnsubscribe,
		Expect: Unsubscription.expected,
		Result: Unsubscription.result,
		Then: func(o Unsubscription, end saga.End) []saga.FollowUp {
			if end.Cause != nil {
				return nil
			}
			removal, due := Removal{Held: o.Held, EndedBy: o.RunID, DisabledAt: end.Now}, o.EndsAt
			if soonest := end.Now.Add(settled); due.Before(soonest) {
				due = soonest
			}
			return []saga.FollowUp{removal.followUp(due)}
		},
		Steps: []saga.Step[Unsubscription]{
			{
				Name: "check", Effect: saga.Reads, Do: d.checkUnsubscribe,
				NoUndo: "it only reads",
			},
			{
				Name: "revoke-role", After: []string{"check"}, Effect: saga.Removes,
				Each:  func(o *Unsubscription) []string { return names(o.Roles) },
				Find:  d.findRevoked,
				Claim: func(o *Unsubscription, role string) string { return saga.Not(o.grant().claim(role)) },
				Do:    d.revokeRole,
				Undo:  d.assignAgain,
			},
			{
				Name: "disable-tenant", After: []string{"revoke-role"}, Effect: saga.Changes,
				Find:  d.findEnded,
				Claim: func(o *Unsubscription, _ string) string { return ClaimDisabled(o.claim()) },
				Do:    d.endTenant,
				Undo: func(ctx context.Context, o *Unsubscription) error {
					if !o.TenantOwn {
						return nil
					}
					return d.enableAgain(ctx, &o.Switch)
				},
			},
		},
	}
}

// The method `expected` returns the expected tenant and the expected roles of the subscriber after a successful run.
func (o Unsubscription) expected() (all []saga.Expected) {
	if o.TenantOwn {
		all = o.expectSwitched("disable-tenant", "false")
	}
	for _, r := range o.Roles {
		e := saga.Expected{Gone: true, On: o.TenantID}
		e.Object = saga.Object{Step: "revoke-role/" + r.Name, Kind: "role-assignment", Cloud: o.Cloud, ID: assignmentID(o.assignment(r)), Name: r.Name}
		all = append(all, e)
	}
	return all
}

// checkUnsubscribe is the first step of the run. The step reads the subscription again, because it may have changed since the order
// was accepted. The step stores the standing of the subscription, and the roles that the subscriber has on the tenant.
func (d Deps) checkUnsubscribe(ctx context.Context, o *Unsubscription) error {
	now, err := d.endable(ctx, *o)
	if err == nil {
		err = o.replaced(now.Held)
	}
	if err != nil {
		return permanently(err)
	}
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	o.Present, err = id.AssignedRoles(ctx, o.TenantID, o.UserID)
	if err := ignoreGone(err); err != nil {
		return err
	}
	o.Was = now.Was
	record(ctx, "subscription", o.SubscriptionID, "", saga.Adopted)
	return nil
}

// The method `grant` describes the roles that Tenantry has given to the subscriber on the tenant.
func (h Held) grant() grant {
	return grant{
		tenant: tenant{cloud: h.Cloud, domain: h.DomainID, name: h.tenantName(), merchant: h.MerchantID},
		id:     h.TenantID, user: h.UserID, name: h.UserName, roles: h.Roles,
	}
}

// The method `assignment` returns the assignment of a role to the subscriber.
func (h Held) assignment(r keystone.Role) keystone.Assignment {
	return keystone.Assignment{ProjectID: h.TenantID, UserID: h.UserID, RoleID: r.ID}
}

// findRevoked returns Made if the subscriber had the step's role before the run and no longer has it.
func (d Deps) findRevoked(ctx context.Context, o *Unsubscription) (saga.Found, error) {
	a, id, err := d.assignment(ctx, o.grant())
	if err != nil {
		return saga.Absent, err
	}
	there, err := id.HasAssignment(ctx, a)
	if err != nil || there {
		return saga.Absent, err
	}
	if !slices.Contains(o.Present, a.RoleID) {
		return saga.Usable, nil
	}
	o.recordRevoked(ctx, a)
	return saga.Made, nil
}

// revokeRole revokes the step's role, if the subscriber had the role before the run.
func (d Deps) revokeRole(ctx context.Context, o *Unsubscription) error {
	a, id, err := d.assignment(ctx, o.grant())
	if err != nil || !slices.Contains(o.Present, a.RoleID) {
		return err
	}
	if removed, err := id.RemoveAssignment(ctx, a); err != nil {
		return err
	} else if !removed {
		held, err := id.AssignedRoles(ctx, o.TenantID, o.UserID)
		if err := ignoreGone(err); err != nil {
			return err
		}
		if slices.Contains(held, a.RoleID) {
			return contradiction(keystone.Service, "Keystone lists the user's role "+a.RoleName+", but answers that the user does not have it")
		}
	}
	o.recordRevoked(ctx, a)
	return nil
}

// recordRevoked adds the revoked role to the run's objects.
func (o *Unsubscription) recordRevoked(ctx context.Context, a keystone.Assignment) {
	o.recordTenant(ctx)
	o.grant().record(ctx, a)
	saga.CallOf(ctx).Gone("role-assignment", assignmentID(a))
}

// assignAgain assigns the step's role again, if the subscriber had the role before the run. If the user, the role or the tenant no
// longer exists, assignAgain does nothing.
func (d Deps) assignAgain(ctx context.Context, o *Unsubscription) error {
	a, id, err := d.assignment(ctx, o.grant())
	if err != nil || !slices.Contains(o.Present, a.RoleID) {
		return err
	}
	there, err := id.HasAssignment(ctx, a)
	if err == nil && !there {
		err = id.EnsureAssignment(ctx, a)
	}
	if err == nil {
		o.recordTenant(ctx)
		o.grant().record(ctx, a)
	}
	return ignoreGone(err)
}

// findEnded returns Made if this run has disabled the tenant. If somebody else has disabled the tenant, if the tenant is gone, or if
// the tenant existed before the subscription, the result is Usable: the step has nothing to do.
func (d Deps) findEnded(ctx context.Context, o *Unsubscription) (saga.Found, error) {
	found := saga.Usable
	if o.TenantOwn {
		p, err := d.project(ctx, o.Held)
		switch {
		case errors.Is(err, keystone.ErrNotFound):
		case err != nil || p.Enabled:
			return saga.Absent, err
		default:
			if disabledBy(p, o.RunID) == saga.Made {
				found = saga.Made
			}
			o.recordTenant(ctx)
		}
	}
	o.EndsAt = d.Now().Add(o.KeepTenant)
	return found, nil
}

// endTenant disables the tenant, and sets EndsAt. If the tenant no longer exists, or if it existed before the subscription, endTenant
// only sets EndsAt.
func (d Deps) endTenant(ctx context.Context, o *Unsubscription) error {
	if o.TenantOwn {
		id, err := d.Identity(o.Cloud)
		if err != nil {
			return err
		}
		_, err = id.DisableProject(ctx, o.project(), keystone.DisabledTag(o.RunID))
		switch {
		case err == nil:
			o.recordTenant(ctx)
		case errors.Is(err, keystone.ErrNotFound):
			if err := d.absent(ctx, o.Held, o.tenantName()); err != nil {
				return err
			}
		default:
			return err
		}
	}
	o.EndsAt = d.Now().Add(o.KeepTenant)
	return nil
}
