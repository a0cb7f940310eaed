// Package workflows declares what Tenantry can run: one file a workflow, and the list of them.
package workflows

import (
	"context"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
)

// Deps are what admission and the steps work on.
type Deps struct {
	Identity  func(cloud string) (keystone.Identity, error)
	Billing   *billing.Client
	Merchants Merchants
	Defaults  Defaults
	Reads     *coalesce.Reads // shared by admissions that come at the same time
	Handover  *Handover
	Now       func() time.Time
	NewID     func() string // of runs: they sort by time
	// Installation is the id of this installation, which the tenants bear as a tag.
	Installation string
}

// Merchants reads merchants.
type Merchants interface {
	// Merchant reads a merchant. It returns merchants.ErrNotFound if there is none.
	Merchant(ctx context.Context, id string) (merchants.Merchant, error)
}

// All defines every workflow.
func All(d Deps) ([]*saga.Definition, error) {
	subscribe, err := saga.Define(Subscribe(d))
	if err != nil {
		return nil, err
	}
	return []*saga.Definition{subscribe}, nil
}
