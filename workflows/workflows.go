// Package workflows declares the workflows that Tenantry can run, one file each, and lists them.
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

// Deps are the services and settings that admission and the steps use.
type Deps struct {
	Identity  func(cloud string) (keystone.Identity, error)
	Billing   *billing.Client
	Merchants Merchants
	Defaults  Defaults
	Reads     *coalesce.Reads // shared by concurrent admissions
	Handover  *Handover
	Now       func() time.Time
	NewID     func() string // returns ids of runs, which sort by time
	// Installation is the id of this installation. Each tenant that a run creates gets it as a tag.
	Installation string
}

// Merchants reads merchants.
type Merchants interface {
	// Merchant returns a merchant, or merchants.ErrNotFound if there is none.
	Merchant(ctx context.Context, id string) (merchants.Merchant, error)
}

// All returns the definitions of all workflows. It returns an error if one of them is not well formed.
func All(d Deps) ([]*saga.Definition, error) {
	subscribe, err := saga.Define(Subscribe(d))
	if err != nil {
		return nil, err
	}
	return []*saga.Definition{subscribe}, nil
}
