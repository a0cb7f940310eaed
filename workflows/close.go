package workflows

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// CloseName is the name of the workflow that [Close] returns.
const CloseName = "close"

// Closure is the data of a run that removes a subscription from BillingStack. If this is the customer's last subscription, the run may
// also remove the customer: see [Close]. A Closure is stored as JSON, so fields may be added, but never removed or renamed.
type Closure struct {
	Held
	RemovedBy string `json:"removed_by"` // the run that has removed the subscription's tenant

	// The steps set the fields below. If a follow-up starts the run, the run's input cannot contain the run's id. Therefore the
	// first step sets RunID.

	RunID            string    `json:"run_id,omitempty"`
	CustomerStays    string    `json:"customer_stays,omitempty"` // reason why the customer is kept; empty if the customer is removed
	CustomerTenantID string    `json:"customer_tenant_id,omitempty"`
	DisabledAt       time.Time `json:"disabled_at,omitzero"` // time at which the customer's tenant was disabled
}

// CloseResult is the part of a Closure that the API returns with a run.
type CloseResult struct {
	SubscriptionID string            `json:"subscription_id"`
	CustomerID     string            `json:"customer_id"`
	State          SubscriptionState `json:"state"`
	Kept           []Kept            `json:"kept,omitempty"`
}

func (o Closure) result() any {
	r := CloseResult{SubscriptionID: o.SubscriptionID, CustomerID: o.CustomerID, State: SubscriptionEnded}
	if o.CustomerStays != "" {
		r.Kept = []Kept{{"customer", o.CustomerID, "", o.CustomerStays}}
	}
	return r
}

// The method `closing` returns the follow-up that removes the subscription from BillingStack.
func (o Removal) closing(removedBy string, due time.Time) saga.FollowUp {
	return o.later(CloseName, o.SubscriptionID, due, Closure{Held: o.Held, RemovedBy: removedBy})
}

// CloseRequest returns the request for a run that removes a subscription from BillingStack. The parameter removedBy is the id of the
// run that has removed the subscription's tenant.
func CloseRequest(h Held, removedBy, runID string) saga.Request {
	return Closure{Held: h, RemovedBy: removedBy}.request(runID)
}

func (o Closure) request(runID string) saga.Request {
	return o.about(CloseName, runID, Closure{Held: o.Held, RemovedBy: o.RemovedBy})
}

func (d Deps) retryClose(ctx context.Context, old Closure, runID string) (saga.Request, error) {
	if err := d.closable(ctx, old); err != nil {
		return saga.Request{}, retryRefused(err)
	}
	return old.request(runID), nil
}

// The method `closable` returns an *AdmissionError if the subscription may not be removed from BillingStack.
func (d Deps) closable(ctx context.Context, o Closure) error {
	now, err := d.Standing(ctx, o.MerchantID, o.SubscriptionID)
	switch {
	case err != nil:
		return err
	case now.State != SubscriptionEnded || now.RunID != o.RemovedBy:
		return refuse(CodeSubscriptionNotEnded, saga.FixByNobody, fmt.Sprintf("the subscription has been %s since run %s", now.State, now.RunID))
	}
	s, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
	switch {
	case errors.Is(err, billing.ErrNotFound):
		return nil
	case err != nil:
		return err
	case s.ResourceID != o.TenantID || s.CustomerID != o.CustomerID:
		return refuse(CodeSubscriptionChanged, saga.FixByOperator, fmt.Sprintf(
			"the subscription has the customer %s and the resource_id %q in BillingStack, not %s and %q: somebody may use the subscription for something else",
			s.CustomerID, upstream.Clean(s.ResourceID), o.CustomerID, o.TenantID))
	}
	return nil
}

// Close returns the workflow that removes an ended subscription from BillingStack. The run also removes the customer if all of the
// following conditions are met:
//
//   - The customer has no other subscription, no other run in progress and no payment method.
//   - Tenantry has created the customer.
//   - If the customer has a tenant, Tenantry has created the tenant, and the tenant is proven empty.
//
// If the run has removed a customer with a tenant, the run disables this tenant. Ten minutes later, the workflow `remove` removes the tenant.
func Close(d Deps) saga.Workflow[Closure] {
	return saga.Workflow[Closure]{
		Name: CloseName, Version: 1, Classify: Classify,
		Meaning: saga.Meaning{
			Open:   "No user is affected: the subscription has ended before.",
			Failed: "No user is affected: the ended subscription stays in BillingStack for now.",
			Done:   "No user is affected: BillingStack no longer has the ended subscription.",
		},
		Retry:  d.retryClose,
		Expect: Closure.expected,
		Result: Closure.result,
		Then:   afterClosing,
		Steps: []saga.Step[Closure]{
			{
				Name: "check", Effect: saga.Reads, Do: d.checkClose,
				NoUndo: "it only reads",
			},
			{
				Name: "delete-subscription", After: []string{"check"}, Effect: saga.Removes,
				Find: d.findNoSubscription,
				Do: func(ctx context.Context, o *Closure) error {
					if _, err := d.Billing.RemoveSubscription(ctx, o.MerchantID, o.SubscriptionID); err != nil {
						return err
					}
					return confirmed(d.findNoSubscription(ctx, o))
				},
				Pivot: "BillingStack cannot restore a deleted subscription",
			},
			{
				Name: "check-customer", After: []string{"delete-subscription"}, Effect: saga.Reads,
				Do:     d.checkCustomer,
				NoUndo: "it only reads",
			},
			{
				Name: "delete-customer", After: []string{"check-customer"}, Effect: saga.Removes,
				Satisfied: func(o *Closure, _ time.Time) bool { return o.CustomerStays != "" },
				Find:      d.findNoCustomer,
				Do:        d.deleteCustomer,
				Pivot:     "BillingStack cannot restore a deleted customer",
			},
			{
				Name: "disable-customer-tenant", After: []string{"delete-customer"}, Effect: saga.Changes,
				Satisfied: func(o *Closure, _ time.Time) bool { return o.CustomerStays != "" || o.CustomerTenantID == "" },
				Do:        d.disableCustomerTenant,
				NoUndo:    "the customer is gone",
			},
		},
	}
}

// afterClosing returns the changes of follow-ups after a closing. If the run has succeeded, or if the subscription is no longer
// ended, afterClosing drops the follow-up of the closing. In all other cases, afterClosing schedules the closing again. If the run
// has disabled the tenant of the removed customer, afterClosing adds the follow-up that removes this tenant.
func afterClosing(o Closure, end saga.End) []saga.FollowUp {
	f := o.later(CloseName, o.SubscriptionID, end.Now.Add(again), Closure{Held: o.Held, RemovedBy: o.RemovedBy})
	f.Reason = end.Cause
	if end.Cause != nil && end.Cause.Code != CodeSubscriptionNotEnded {
		return []saga.FollowUp{f}
	}
	f.Reason, f.DueAt = nil, time.Time{}
	all := []saga.FollowUp{f}
	if !o.DisabledAt.IsZero() {
		h := o.Held
		h.TenantID, h.TenantOwn, h.Roles = o.CustomerTenantID, true, nil
		tenant := Removal{Held: h, OfCustomer: true, EndedBy: o.RunID, DisabledAt: end.Now}
		all = append(all, tenant.followUp(end.Now.Add(settled)))
	}
	return all
}

// The method `expected` returns the objects as a successful run leaves them. The subscription must no longer exist. If the run removes
// the customer, the customer must no longer exist either. If this customer has a tenant, the tenant must be disabled.
func (o Closure) expected() []saga.Expected {
	all := []saga.Expected{{Gone: true, Object: saga.Object{Step: "delete-subscription", Kind: "subscription", ID: o.SubscriptionID}}}
	if o.CustomerStays != "" {
		return all
	}
	all = append(all, saga.Expected{Gone: true, Object: saga.Object{Step: "delete-customer", Kind: "customer", ID: o.CustomerID}})
	if !o.DisabledAt.IsZero() {
		all = append(all, saga.Expected{
			Object: saga.Object{
				Step: "disable-customer-tenant", Kind: "project", Cloud: o.Cloud, ID: o.CustomerTenantID,
				Name: keystone.CustomerTenant(o.CustomerID), Origin: saga.Adopted,
			},
			Fields: map[string]string{"domain_id": o.DomainID, "enabled": "false"},
		})
	}
	return all
}

// checkClose is the first step of the run. The step checks whether the subscription may be removed, and stores the run's id.
func (d Deps) checkClose(ctx context.Context, o *Closure) error {
	if err := d.closable(ctx, *o); err != nil {
		return permanently(err)
	}
	o.RunID = saga.CallOf(ctx).RunID
	record(ctx, "subscription", o.SubscriptionID, "", saga.Adopted)
	return nil
}

func (d Deps) findNoSubscription(ctx context.Context, o *Closure) (saga.Found, error) {
	_, err := d.Billing.Subscription(ctx, o.MerchantID, o.SubscriptionID)
	return goneFrom(ctx, err, "subscription", o.SubscriptionID)
}

func (d Deps) findNoCustomer(ctx context.Context, o *Closure) (saga.Found, error) {
	_, err := d.Billing.Customer(ctx, o.MerchantID, o.CustomerID)
	return goneFrom(ctx, err, "customer", o.CustomerID)
}

// goneFrom handles the error of reading an object that an earlier run has created. If the error is ErrNotFound, goneFrom returns Made,
// and records that this run has removed the object.
func goneFrom(ctx context.Context, err error, kind, id string) (saga.Found, error) {
	if !errors.Is(err, billing.ErrNotFound) {
		return saga.Absent, err
	}
	record(ctx, kind, id, "", saga.Adopted)
	saga.CallOf(ctx).Gone(kind, id)
	return saga.Made, nil
}

// The function `confirmed` checks that BillingStack has deleted an object. The parameters are the results of a Find that was called
// after the answer to the DELETE. If BillingStack still shows the object, `confirmed` returns an error.
func confirmed(found saga.Found, err error) error {
	if err == nil && found != saga.Made {
		return contradiction(billing.Service, "BillingStack still shows an object that it has deleted")
	}
	return err
}

// checkCustomer decides whether the customer is removed.
func (d Deps) checkCustomer(ctx context.Context, o *Closure) (err error) {
	o.CustomerTenantID = ""
	o.CustomerStays, err = d.whyCustomerStays(ctx, o)
	return err
}

// whyCustomerStays returns the reason why the customer may not be removed. If the customer may be removed, the result is empty. If
// the customer has a tenant, whyCustomerStays stores the tenant's id in the order.
func (d Deps) whyCustomerStays(ctx context.Context, o *Closure) (string, error) {
	if _, err := d.Billing.Customer(ctx, o.MerchantID, o.CustomerID); err != nil {
		if errors.Is(err, billing.ErrNotFound) {
			return "somebody else has removed the customer", nil
		}
		return "", err
	}
	maker, err := d.maker(ctx, o.MerchantID, "customer", o.CustomerID)
	if err != nil {
		return "", err
	}
	if maker == "" {
		return "the customer existed before its first subscription", nil
	}
	if why, err := d.usedBy(ctx, o.Held, o.RunID); why != "" || err != nil {
		return why, err
	}
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return "", err
	}
	p, err := id.FindProject(ctx, o.DomainID, keystone.CustomerTenant(o.CustomerID))
	if errors.Is(err, keystone.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	madeTenant, err := d.maker(ctx, o.MerchantID, "project", p.ID)
	if err != nil {
		return "", err
	}
	if madeTenant == "" || !p.HasTag(keystone.InstallationTag(d.Installation)) || !p.HasTag(keystone.RunTag(madeTenant)) {
		return fmt.Sprintf("tenant %s (%s) existed before the customer, or has lost Tenantry's tags", p.Name, p.ID), nil
	}
	found, err := d.Resources.Look(ctx, o.Cloud, p.ID)
	if err != nil {
		return "", err
	}
	if !found.Empty {
		return upstream.Clean(fmt.Sprintf("tenant %s (%s) is not proven empty: %s", p.Name, p.ID, strings.Join(found.Reasons, "; "))), nil
	}
	o.CustomerTenantID = p.ID
	return "", nil
}

// usedBy names an object that still uses the customer: another subscription, a run in progress other than runID, or a payment method.
func (d Deps) usedBy(ctx context.Context, h Held, runID string) (string, error) {
	subscriptions, err := d.Billing.SubscriptionsOf(ctx, h.MerchantID, h.CustomerID)
	if err != nil {
		return "", err
	}
	if len(subscriptions) > 0 {
		return "the customer has subscription " + subscriptions[0].ID, nil
	}
	methods, err := d.Billing.PaymentMethods(ctx, h.MerchantID, h.CustomerID)
	if err != nil {
		return "", err
	}
	if len(methods) > 0 {
		return "the customer has payment method " + methods[0].ID, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	live, err := d.Ledger.Runs(ctx, saga.Filter{Merchant: h.MerchantID, Subject: h.subject(), Live: true, Limit: 2})
	for _, r := range live {
		if r.ID != runID {
			return "run " + r.ID + " for the customer is in progress", nil
		}
	}
	return "", err
}

// deleteCustomer deletes the customer. If the customer has a subscription by now, deleteCustomer keeps the customer, and stores the
// reason.
func (d Deps) deleteCustomer(ctx context.Context, o *Closure) error {
	_, err := d.Billing.RemoveCustomer(ctx, o.MerchantID, o.CustomerID, nil)
	if foreign, ok := errors.AsType[*billing.ForeignSubscriptionsError](err); ok {
		o.CustomerStays = foreign.Error()
		return nil
	}
	if err != nil {
		return err
	}
	return confirmed(d.findNoCustomer(ctx, o))
}

// disableCustomerTenant disables the tenant of the removed customer.
func (d Deps) disableCustomerTenant(ctx context.Context, o *Closure) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	p := keystone.Project{ID: o.CustomerTenantID, Name: keystone.CustomerTenant(o.CustomerID), DomainID: o.DomainID}
	_, err = id.DisableProject(ctx, p, keystone.DisabledTag(o.RunID))
	if errors.Is(err, keystone.ErrNotFound) {
		h := o.Held
		h.TenantID = o.CustomerTenantID
		return d.absent(ctx, h, p.Name)
	}
	if err != nil {
		return err
	}
	saga.CallOf(ctx).Made(saga.Object{Kind: "project", Cloud: o.Cloud, ID: p.ID, Name: p.Name, Origin: saga.Adopted})
	o.DisabledAt = d.Now()
	return nil
}
