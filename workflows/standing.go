package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// SubscriptionState is the state of a subscription that Tenantry has made.
type SubscriptionState string

// The states of a subscription.
const (
	SubscriptionActive    SubscriptionState = "active"
	SubscriptionSuspended SubscriptionState = "suspended"
	SubscriptionEnding    SubscriptionState = "ending" // after `unsubscribe`, the subscription can be restored until its tenant is removed
	SubscriptionEnded     SubscriptionState = "ended"  // the subscription's tenant is removed
)

// Ledger reads the runs of this installation. The newest succeeded run about a subscription determines the subscription's state,
// because the runs of one customer execute one at a time.
type Ledger interface {
	// Latest reads one run for each object that has this kind and one of these ids: the merchant's newest succeeded run that created or
	// adopted the object.
	Latest(ctx context.Context, merchant, kind string, ids []string) (map[string]*saga.Run, error)
	// Run reads a run with its steps and objects, or returns saga.ErrNotFound.
	Run(ctx context.Context, runID string) (*saga.Run, error)
	// Runs reads the runs that match the filter, newest first, with their steps and objects.
	Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error)
}

// FollowUps reads and holds the endings of subscriptions: see [saga.FollowUpStore].
type FollowUps interface {
	FollowUps(ctx context.Context, merchant, workflow string, ids []string) (map[string]saga.FollowUp, error)
	HoldFollowUp(ctx context.Context, merchant, workflow, id string, hold *saga.FollowUpHold) error
}

// Endings returns the endings of a merchant's subscriptions, by the ids of the subscriptions. The result has entries only for ended subscriptions
// whose tenants still exist.
func (d Deps) Endings(ctx context.Context, merchantID string, ids []string) (map[string]saga.FollowUp, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	return d.FollowUps.FollowUps(ctx, merchantID, RemoveName, ids)
}

// HoldEnding holds the ending of a subscription: the subscription's tenant is not removed. If the parameter `hold` is nil,
// HoldEnding lifts the hold. If the subscription is not ending, or if a run is removing its tenant, HoldEnding returns an
// *AdmissionError.
func (d Deps) HoldEnding(ctx context.Context, merchantID, subscriptionID string, hold *saga.FollowUpHold) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	err := d.FollowUps.HoldFollowUp(ctx, merchantID, RemoveName, subscriptionID, hold)
	switch {
	case errors.Is(err, saga.ErrNotFound):
		return refuse(CodeSubscriptionNotEnding, saga.FixByNobody, "the subscription has not been ended, or its tenant is removed")
	case errors.Is(err, saga.ErrChanged):
		return refuse(CodeEndingTaken, saga.FixByOperator, "a run is removing the subscription's tenant at this moment: hold that run")
	}
	return err
}

// Standing contains the state and the objects of a subscription that a run has made. Each run about the subscription stores the
// Standing in its order. Fields may therefore be added, but never removed or renamed.
type Standing struct {
	Held
	State SubscriptionState `json:"state"`
	RunID string            `json:"run_id"` // the run that left the subscription in this state
	// Suspension is set if the subscription is suspended, or was suspended before it was ended.
	Suspension *Suspension `json:"suspension,omitempty"`
}

// Suspension identifies the run that has suspended a subscription, and the kind of caller that requested the suspension.
type Suspension struct {
	RunID      string `json:"run_id"`
	ByOperator bool   `json:"by_operator,omitempty"` // only an operator can lift the suspension
}

// suspendedByOperator reports whether an operator has suspended the subscription.
func (s Standing) suspendedByOperator() bool { return s.Suspension != nil && s.Suspension.ByOperator }

// Changes returns the workflows that the caller can order for the subscription in its present state. A request may still be refused, because
// Changes does not look at the subscription's tenant.
func (s Standing) Changes(byOperator bool) (workflows []string) {
	for _, w := range []switching{suspending, resuming} {
		if s.over() == nil && w.refused(s, byOperator) == nil {
			workflows = append(workflows, w.workflow)
		}
	}
	if s.State != SubscriptionEnded {
		workflows = append(workflows, ChangePlanName)
	}
	switch {
	case s.over() == nil:
		workflows = append(workflows, UnsubscribeName)
	case s.State == SubscriptionEnding:
		workflows = append(workflows, RestoreName)
		if byOperator {
			workflows = append(workflows, RemoveName)
		}
	}
	return workflows
}

// Held contains the objects of a subscription. Each run about the subscription copies these objects into its own order, so that the
// newest run always has all objects.
type Held struct {
	MerchantID     string `json:"merchant_id"`
	CustomerID     string `json:"customer_id"`
	SubscriptionID string `json:"subscription_id"`
	UserID         string `json:"user_id"` // the subscriber
	UserName       string `json:"user_name,omitempty"`
	Cloud          string `json:"cloud"`
	DomainID       string `json:"domain_id"`
	TenantID       string `json:"tenant_id"`
	TenantOwn      bool   `json:"tenant_own"` // a run of this installation created the tenant
	// Roles are the roles that Tenantry has given to the subscriber on the tenant.
	Roles []keystone.Role `json:"roles,omitempty"`
}

func (h Held) subject() string { return h.MerchantID + ":" + h.CustomerID }

// tenantName returns the name of the subscription's tenant.
func (h Held) tenantName() string { return keystone.SubscriptionTenant(h.SubscriptionID) }

// The method `tenant` returns the name and the id of the subscription's tenant, for error texts.
func (h Held) tenant() string { return fmt.Sprintf("tenant %s (%s)", h.tenantName(), h.TenantID) }

// The method `claim` returns the claim on the subscription's tenant.
func (h Held) claim() string { return ClaimTenant(h.Cloud, h.DomainID, h.tenantName()) }

// The method `replaced` compares the objects of an order with the subscription's current objects. If a repair has created the tenant
// again since the order was accepted, `replaced` returns an *AdmissionError, because the order names the old tenant.
func (h Held) replaced(now Held) error {
	if h.TenantID == now.TenantID && h.UserID == now.UserID && slices.Equal(h.Roles, now.Roles) {
		return nil
	}
	return refuse(CodeTenantReplaced, saga.FixByMerchant, "a repair has created the subscription's tenant again since the order was accepted: order again")
}

// errNoSubscription means that no run of this installation has made the subscription for the merchant.
var errNoSubscription = refuse(CodeSubscriptionNotFound, saga.FixByMerchant, "Tenantry has made no such subscription for this merchant")

// ledgerTime is the time limit for reads of the ledger.
const ledgerTime = 10 * time.Second

// Standings returns the standings of a merchant's subscriptions, by the ids of the subscriptions. The result has no entry for a
// subscription that no run has made, or that a run is still making.
func (d Deps) Standings(ctx context.Context, merchantID string, ids []string) (map[string]Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	runs, err := d.Ledger.Latest(ctx, merchantID, "subscription", ids)
	all := map[string]Standing{}
	for id, r := range runs {
		if all[id], err = StandingOf(r); err != nil {
			return nil, err
		}
	}
	return all, err
}

// Standing returns the standing of one subscription of a merchant. If a run is still making the subscription, or if no run has made
// it, Standing returns an *AdmissionError.
func (d Deps) Standing(ctx context.Context, merchantID, subscriptionID string) (Standing, error) {
	all, err := d.Standings(ctx, merchantID, []string{subscriptionID})
	if err != nil {
		return Standing{}, err
	}
	if s, made := all[subscriptionID]; made {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTime)
	defer cancel()
	making, err := d.Ledger.Runs(ctx, saga.Filter{
		Merchant: merchantID, Objects: []saga.ObjectRef{{Kind: "subscription", ID: subscriptionID}}, Live: true, Limit: 1,
	})
	switch {
	case err != nil:
		return Standing{}, err
	case len(making) > 0:
		return Standing{}, refuse(CodeSubscriptionNotReady, saga.FixByMerchant,
			"run "+making[0].ID+" is still making the subscription: wait until the run has ended, or cancel the run")
	}
	return Standing{}, errNoSubscription
}

// StandingOf returns the standing of a subscription after a succeeded run.
func StandingOf(r *saga.Run) (Standing, error) {
	s := Standing{RunID: r.ID}
	switch r.Workflow {
	case SubscribeName:
		o, err := stateOf[Order](r)
		s.State, s.Held = SubscriptionActive, o.held(r)
		return s, err
	case SuspendName, ResumeName:
		o, err := stateOf[Switch](r)
		s.State, s.Held = SubscriptionActive, o.Held
		if r.Workflow == SuspendName {
			s.State, s.Suspension = SubscriptionSuspended, &Suspension{r.ID, o.ByOperator}
		}
		return s, err
	case ChangePlanName:
		o, err := stateOf[ChangePlan](r)
		if err == nil && o.Was != nil {
			s = *o.Was
		}
		return s, err
	case UnsubscribeName:
		o, err := stateOf[Unsubscription](r)
		if err == nil && o.Was != nil {
			s.Suspension = o.Was.Suspension
		}
		s.State, s.Held = SubscriptionEnding, o.Held
		return s, err
	case RestoreName:
		o, err := stateOf[Restoration](r)
		return o.leaves(), err
	case RemoveName:
		o, err := stateOf[Removal](r)
		s.State, s.Held = SubscriptionEnded, o.Held
		return s, err
	case CloseName:
		o, err := stateOf[Closure](r)
		s.State, s.Held = SubscriptionEnded, o.Held
		return s, err
	case RepairName:
		o, err := stateOf[Repair](r)
		return o.leaves(r.ID), err
	}
	return s, StepError{
		upstream.Blocked, "workflow-unknown",
		fmt.Sprintf("run %s has the workflow %s, which this release does not know", r.ID, r.Workflow), saga.FixByOperator,
	}
}

// The method `held` returns the objects of the order's subscription after the run r.
func (o Order) held(r *saga.Run) Held {
	h := Held{
		MerchantID: o.MerchantID, CustomerID: o.CustomerID, SubscriptionID: o.SubscriptionID, UserID: o.UserID, UserName: o.UserName,
		Cloud: o.Cloud, DomainID: o.DomainID, TenantID: o.SubscriptionTenantID, TenantOwn: o.SubscriptionTenantOwn,
	}
	for _, role := range o.SubscriptionRoles {
		s := r.Step("assign-subscription-role/" + role.Name)
		if o.SubscriptionTenantOwn && s != nil && s.State == saga.StepSucceeded {
			h.Roles = append(h.Roles, keystone.Role{ID: o.current(role), Name: role.Name})
		}
	}
	return h
}

// stateOf decodes the state of a run.
func stateOf[S any](r *saga.Run) (s S, err error) {
	state, err := r.Data()
	if err == nil {
		err = json.Unmarshal(state, &s)
	}
	return s, err
}
