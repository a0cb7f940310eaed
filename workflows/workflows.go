// Package workflows declares what Tenantry can run: one file a workflow, and the list of them.
package workflows

import (
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Deps are what the steps work on.
type Deps struct {
	Identity func(cloud string) (keystone.Identity, error)
	Billing  *billing.Client
	Handover *Handover
	Now      func() time.Time
	// Installation is the id of this installation, which the tenants bear as a tag.
	Installation string
}

// All defines every workflow.
func All(d Deps) ([]*saga.Definition, error) {
	subscribe, err := saga.Define(Subscribe(d))
	if err != nil {
		return nil, err
	}
	return []*saga.Definition{subscribe}, nil
}
