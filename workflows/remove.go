package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// RemoveName is the name of the workflow that [Remove] returns.
const RemoveName = "remove"

// The constant `settled` is the minimum time between the disabling and the removal of a tenant. Other services cache tokens, and may
// accept a cached token for some minutes after the tenant was disabled.
const settled = 10 * time.Minute

// The constant `again` is the time after which a refused removal or closing is tried again.
const again = 24 * time.Hour

// Removal is the data of a run that removes the tenant of an ending subscription, or the tenant of a removed customer. A Removal is
// stored as JSON, so fields may be added, but never removed or renamed.
type Removal struct {
	Held
	// OfCustomer is true for the tenant of a customer, and false for the tenant of a subscription.
	OfCustomer bool      `json:"of_customer,omitempty"`
	EndedBy    string    `json:"ended_by"` // the run that has disabled the tenant
	DisabledAt time.Time `json:"disabled_at"`
	// If Force is true, the tenant is removed even if it is not empty, or not proven empty. Only an operator can set Force.
	Force bool `json:"force,omitempty"`

	// The steps set the fields below.

	Checked bool     `json:"checked,omitempty"` // the first step has succeeded: no run has restored the subscription since the run EndedBy
	Maker   string   `json:"maker,omitempty"`   // the run that has created the tenant
	Gone    bool     `json:"gone,omitempty"`    // the tenant no longer existed when the run read it
	Behind  []string `json:"behind,omitempty"`  // with Force: the tenant's resources, and the services that could not be asked
}

// RemoveResult is the part of a Removal that the API returns with a run.
type RemoveResult struct {
	SubscriptionID string            `json:"subscription_id,omitempty"`
	CustomerID     string            `json:"customer_id"`
	TenantID       string            `json:"tenant_id"`
	State          SubscriptionState `json:"state,omitempty"` // the subscription's state after the run has succeeded
	Kept           []Kept            `json:"kept,omitempty"`
	LeftBehind     []string          `json:"left_behind,omitempty"` // after a forced removal: the resources that the tenant still had
}

func (o Removal) result() any {
	r := RemoveResult{CustomerID: o.CustomerID, TenantID: o.TenantID, Kept: o.kept(), LeftBehind: o.Behind}
	if !o.OfCustomer {
		r.SubscriptionID, r.State = o.SubscriptionID, SubscriptionEnded
	}
	return r
}

// The method `name` returns the name of the tenant.
func (o Removal) name() string {
	if o.OfCustomer {
		return keystone.CustomerTenant(o.CustomerID)
	}
	return o.tenantName()
}

func (o Removal) text() string { return fmt.Sprintf("tenant %s (%s)", o.name(), o.TenantID) }

// followUp returns the follow-up that starts the removal. The id of a follow-up is the id of the subscription or customer.
func (o Removal) followUp(due time.Time) saga.FollowUp {
	id := o.SubscriptionID
	if o.OfCustomer {
		id = o.CustomerID
	}
	return o.later(RemoveName, id, due, Removal{Held: o.Held, OfCustomer: o.OfCustomer, EndedBy: o.EndedBy, DisabledAt: o.DisabledAt})
}

// The method `later` returns the follow-up that starts a run about the subscription.
func (h Held) later(workflow, id string, due time.Time, input any) saga.FollowUp {
	return saga.FollowUp{
		Workflow: workflow, ID: id, Merchant: h.MerchantID, Cloud: h.Cloud, Subject: h.subject(), User: h.UserID,
		Doubles: workflow + " " + id, Input: input, DueAt: due,
	}
}

// AdmitRemove returns the request for a run that removes the tenant of an ending subscription now, or an *AdmissionError. If the
// parameter `force` is true, the tenant is removed even if it is not empty.
func (d Deps) AdmitRemove(ctx context.Context, m merchants.Merchant, subscriptionID string, force bool) (saga.Request, error) {
	now, err := d.Standing(ctx, m.ID, subscriptionID)
	if err != nil {
		return saga.Request{}, err
	}
	o := Removal{Held: now.Held, EndedBy: now.RunID, Force: force}
	if now.State == SubscriptionEnding {
		ended, err := d.Ledger.Run(ctx, now.RunID)
		if err != nil {
			return saga.Request{}, err
		}
		o.DisabledAt = *ended.EndedAt
	}
	return d.admitRemove(ctx, o, d.NewID())
}

func (d Deps) retryRemove(ctx context.Context, old Removal, runID string) (saga.Request, error) {
	q, err := d.admitRemove(ctx, old, runID)
	if err != nil {
		return q, retryRefused(err)
	}
	return q, nil
}

func (d Deps) admitRemove(ctx context.Context, o Removal, runID string) (saga.Request, error) {
	o, err := d.removable(ctx, o)
	if err != nil {
		return saga.Request{}, err
	}
	return o.request(runID), nil
}

// RemoveRequest returns the request for a run that removes the tenant of a subscription. The parameter endedBy is the id of the run
// that has ended the subscription.
func RemoveRequest(h Held, endedBy string, disabledAt time.Time, runID string) saga.Request {
	return Removal{Held: h, EndedBy: endedBy, DisabledAt: disabledAt}.request(runID)
}

func (o Removal) request(runID string) saga.Request {
	o.Checked, o.Maker, o.Gone, o.Behind = false, "", false, nil
	return o.about(RemoveName, runID, o)
}

// The method `removable` reads the tenant in Keystone and in the ledger, and sets the fields Maker, Gone and DisabledAt of the returned
// order. If the tenant may not be removed, `removable` returns an *AdmissionError. `removable` does not check whether the tenant is
// empty.
func (d Deps) removable(ctx context.Context, o Removal) (Removal, error) {
	if !o.OfCustomer {
		now, err := d.Standing(ctx, o.MerchantID, o.SubscriptionID)
		switch {
		case err != nil:
			return o, err
		case now.State != SubscriptionEnding:
			return o, refuse(CodeSubscriptionNotEnding, saga.FixByNobody, fmt.Sprintf("the subscription has been %s since run %s", now.State, now.RunID))
		case now.RunID != o.EndedBy:
			return o, refuse(CodeEndingReplaced, saga.FixByNobody, "the subscription was restored, and ended again by run "+now.RunID)
		}
	}
	if wait := o.DisabledAt.Add(settled).Sub(d.Now()); wait > 0 {
		return o, refuse(CodeTenantNotSettled, saga.FixByNobody, fmt.Sprintf(
			"%s was disabled less than %s ago, and other services may still accept tokens for it", o.text(), settled))
	}
	if !o.TenantOwn {
		return o, nil
	}
	p, err := d.namedProject(ctx, o.Held, o.name())
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		o.Gone = true
		return o, nil
	case err != nil:
		return o, err
	case p.Enabled:
		return o, refuse(CodeTenantEnabled, saga.FixByOperator, o.text()+" is enabled: disable it, or restore the subscription")
	case p.Name != o.name() || !p.HasTag(keystone.InstallationTag(d.Installation)):
		return o, refuse(CodeTenantNotOurs, saga.FixByOperator, o.text()+" has lost its name or the tag "+keystone.InstallationTag(d.Installation))
	}
	if o.Maker, err = d.maker(ctx, o.MerchantID, "project", o.TenantID); err != nil {
		return o, err
	}
	if o.Maker == "" || !p.HasTag(keystone.RunTag(o.Maker)) {
		return o, refuse(CodeTenantNotOurs, saga.FixByOperator, o.text()+" does not have the tag of the run that has created it")
	}
	err = d.settledSince(ctx, &o, p)
	return o, err
}

// settledSince returns an *AdmissionError if a run has disabled the tenant less than ten minutes ago. A repair may have disabled the
// tenant again, after somebody had enabled it. settledSince sets DisabledAt of the order to the end of the last such repair.
func (d Deps) settledSince(ctx context.Context, o *Removal, p keystone.Project) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	for _, id := range p.DisabledBy() {
		r, err := d.Ledger.Run(ctx, id)
		switch {
		case errors.Is(err, saga.ErrNotFound): // a run of another installation has set the mark
		case err != nil:
			return err
		case r.EndedAt != nil && r.Workflow == RepairName && r.EndedAt.After(o.DisabledAt):
			o.DisabledAt = *r.EndedAt
		}
	}
	if d.Now().Sub(o.DisabledAt) < settled {
		return refuse(CodeTenantNotSettled, saga.FixByNobody, o.text()+" was disabled again less than "+settled.String()+" ago, by a repair")
	}
	return nil
}

// The method `maker` returns the id of the merchant's run that has created the object. If there is no such run, or if the run has
// removed the object, the result is empty.
func (d Deps) maker(ctx context.Context, merchantID, kind, id string) (runID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	runs, err := d.Ledger.Runs(ctx, saga.Filter{Merchant: merchantID, Objects: []saga.ObjectRef{{Kind: kind, ID: id}}, Limit: 200})
	for _, r := range runs {
		if slices.ContainsFunc(r.Objects, func(o saga.Object) bool {
			return o.Kind == kind && o.ID == id && o.Origin == saga.Own && o.RemovedAt == nil
		}) {
			runID = r.ID
		}
	}
	return runID, err
}

// Remove returns the workflow that removes the tenant of an ending subscription, or of a removed customer. The tenant must be disabled,
// have Tenantry's tags and be proven empty. Otherwise, the run ends without a change, and the removal is tried again a day later. After
// the removal, BillingStack keeps the subscription for the last bill, until the workflow `close` removes it.
func Remove(d Deps) saga.Workflow[Removal] {
	return saga.Workflow[Removal]{
		Name: RemoveName, Version: 1, Classify: Classify,
		Meaning: saga.Meaning{
			Open:   "The user cannot work in the tenant any more. The tenant is about to be removed.",
			Failed: "The user cannot work in the tenant any more. The tenant stays until it can be removed.",
			Done:   "The subscription's tenant is removed, and the subscription cannot be restored.",
		},
		Retry:  d.retryRemove,
		Expect: Removal.expected,
		Result: Removal.result,
		Then:   d.afterRemoval,
		Steps: []saga.Step[Removal]{
			{
				Name: "check", Effect: saga.Reads, Do: d.checkRemove,
				NoUndo: "it only reads",
			},
			{
				Name: "prove-empty", After: []string{"check"}, Effect: saga.Reads,
				Satisfied: func(o *Removal, _ time.Time) bool { return !o.TenantOwn || o.Gone },
				Do:        d.proveEmpty,
				NoUndo:    "it only reads",
			},
			{
				Name: "delete-tenant", After: []string{"prove-empty"}, Effect: saga.Removes,
				Satisfied: func(o *Removal, _ time.Time) bool { return !o.TenantOwn || o.Gone },
				Find:      d.findRemoved,
				Do:        d.deleteTenant,
				Pivot:     "Keystone cannot restore a deleted project",
			},
		},
	}
}

// afterRemoval returns the changes of follow-ups after a removal. If the run has succeeded, afterRemoval drops the ending and schedules the
// closing. If the removal was refused, it is tried again a day later. If the run was compensated before it had read the ending, the
// subscription may have a newer ending now. In this case, afterRemoval changes nothing. If a follow-up has started such a run, the
// follow-up soon starts another run.
func (d Deps) afterRemoval(o Removal, end saga.End) []saga.FollowUp {
	f := o.followUp(end.Now.Add(again))
	f.Reason = end.Cause
	switch {
	case end.Cause == nil:
	case end.Cause.Code == CodeSubscriptionNotEnding: // the subscription has no ending
		f.Reason, f.DueAt = nil, time.Time{}
		return []saga.FollowUp{f}
	case o.Checked, slices.Contains(refusals, end.Cause.Code):
		return []saga.FollowUp{f}
	default:
		return nil
	}
	f.DueAt = time.Time{}
	if o.OfCustomer {
		return []saga.FollowUp{f}
	}
	return []saga.FollowUp{f, o.closing(end.RunID, end.Now.Add(d.KeepBilling))}
}

// The variable `refusals` contains error codes of the first step. Before the step returns one of these errors, it has checked that
// no run has restored the subscription since the run EndedBy.
var refusals = []saga.Code{CodeTenantNotSettled, CodeTenantEnabled, CodeTenantNotOurs}

// The method `expected` returns the tenant as an object that must no longer exist.
func (o Removal) expected() []saga.Expected {
	if !o.TenantOwn {
		return nil
	}
	return []saga.Expected{{Gone: true, Object: saga.Object{
		Step: "delete-tenant", Kind: "project", Cloud: o.Cloud, ID: o.TenantID, Name: o.name(),
	}}}
}

// checkRemove is the first step of the run. The step checks again whether the tenant may be removed.
func (d Deps) checkRemove(ctx context.Context, o *Removal) error {
	now, err := d.removable(ctx, *o)
	if err != nil {
		return permanently(err)
	}
	o.Checked, o.Maker, o.Gone, o.DisabledAt = true, now.Maker, now.Gone, now.DisabledAt
	if !o.OfCustomer {
		record(ctx, "subscription", o.SubscriptionID, "", saga.Adopted)
	}
	return nil
}

// findRemoved returns Made if the tenant no longer exists.
func (d Deps) findRemoved(ctx context.Context, o *Removal) (saga.Found, error) {
	_, err := d.namedProject(ctx, o.Held, o.name())
	if errors.Is(err, keystone.ErrNotFound) {
		o.recordGone(ctx)
		return saga.Made, nil
	}
	return saga.Absent, err
}

// deleteTenant deletes the tenant. Just before the deletion, deleteTenant checks again that the tenant has the tag of the run that
// created it.
func (d Deps) deleteTenant(ctx context.Context, o *Removal) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	removed, err := id.RemoveProject(ctx, keystone.Project{ID: o.TenantID}, keystone.RunTag(o.Maker))
	if err != nil {
		return err
	}
	if removed.ID == "" {
		if found, err := d.findRemoved(ctx, o); err != nil || found == saga.Made {
			return err
		}
		return StepError{upstream.Permanent, CodeTenantNotOurs, o.text() + " has lost the tag of the run that has created it", saga.FixByOperator}
	}
	o.recordGone(ctx)
	return nil
}

// recordGone records that the tenant is removed.
func (o *Removal) recordGone(ctx context.Context) {
	saga.CallOf(ctx).Made(saga.Object{Kind: "project", Cloud: o.Cloud, ID: o.TenantID, Name: o.name(), Origin: saga.Adopted})
	saga.CallOf(ctx).Gone("project", o.TenantID)
}
