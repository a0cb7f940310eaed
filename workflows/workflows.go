// Package workflows declares the workflows that Tenantry can run. Each workflow has one file. The function All lists the
// workflows.
package workflows

import (
	"context"
	"errors"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// Deps are the services and settings that admission and the steps use.
type Deps struct {
	Identity  func(cloud string) (keystone.Identity, error)
	Billing   *billing.Client
	Merchants Merchants
	Ledger    Ledger
	FollowUps FollowUps
	Audits    Audits
	Books     Books
	Defaults  Defaults
	Reads     *coalesce.Reads // reads that concurrent admissions share
	Handover  *Handover
	Now       func() time.Time
	NewID     func() string // returns a new run id; run ids sort by time
	// Installation is the id of this installation. Each tenant that a run creates has this id in a tag.
	Installation string
	// KeepTenant is the time for which an ended subscription can be restored. After this time, the subscription's tenant is removed.
	KeepTenant time.Duration
	// KeepBilling is the time for which BillingStack keeps a subscription after the removal of its tenant, for the last bill.
	KeepBilling time.Duration
	Resources   Resources
}

// Merchants finds merchants by id.
type Merchants interface {
	// Merchant returns a merchant, or merchants.ErrNotFound if there is none.
	Merchant(ctx context.Context, id string) (merchants.Merchant, error)
}

// All returns the definitions of all workflows. All returns an error if saga.Define refuses one of the workflows.
func All(d Deps) ([]*saga.Definition, error) {
	subscribe, errSubscribe := saga.Define(Subscribe(d))
	suspend, errSuspend := saga.Define(Suspend(d))
	resume, errResume := saga.Define(Resume(d))
	changePlan, errChangePlan := saga.Define(ChangePlanWorkflow(d))
	unsubscribe, errUnsubscribe := saga.Define(Unsubscribe(d))
	restore, errRestore := saga.Define(Restore(d))
	remove, errRemove := saga.Define(Remove(d))
	closing, errClose := saga.Define(Close(d))
	repair, errRepair := saga.Define(RepairWorkflow(d))
	register, errRegister := saga.Define(Register(d))
	postUsage, errPostUsage := saga.Define(PostUsage(d))
	err := errors.Join(errSubscribe, errSuspend, errResume, errChangePlan, errUnsubscribe, errRestore, errRemove, errClose, errRepair, errRegister,
		errPostUsage)
	if err != nil {
		return nil, err
	}
	return []*saga.Definition{subscribe, suspend, resume, changePlan, unsubscribe, restore, remove, closing, repair, register, postUsage}, nil
}
