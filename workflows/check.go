package workflows

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The constant `fresh` is the maximum age of the last read of the order's plan. If the read is older, the run reads the plan again. A run
// usually starts milliseconds after the plan was read.
const fresh = 10 * time.Second

// The function `stale` reports whether the order's plan was last read more than 10 s ago.
func stale(o *Order, now time.Time) bool { return now.Sub(o.CheckedAt) > fresh }

// The method `check` is the run's first step. The step only reads. If the last read of the plan is stale, `check` reads the plan
// again. If the order names an existing customer, `check` always reads this customer again. The plan and the customer may have been
// removed after the order was accepted. If the customer already has a tenant, `check` also stores the roles that the user does not
// have on this tenant. If the run is compensated, only these roles may be revoked.
func (d Deps) check(ctx context.Context, o *Order) error {
	if stale(o, d.Now()) {
		_, err := d.Billing.Plan(ctx, o.MerchantID, o.PlanID)
		if errors.Is(err, billing.ErrNotFound) {
			return StepError{upstream.Permanent, "plan-gone", "plan " + o.PlanID + " no longer exists", saga.FixByMerchant}
		}
		if err != nil {
			return err
		}
	}
	if o.NewCustomer != nil {
		return nil
	}
	_, err := d.Billing.Customer(ctx, o.MerchantID, o.CustomerID)
	if errors.Is(err, billing.ErrNotFound) {
		return StepError{
			upstream.Permanent, "customer-gone", "customer " + o.CustomerID + " no longer exists", saga.FixByMerchant,
		}
	}
	if err != nil {
		return err
	}
	return d.noteRoles(ctx, o)
}

// noteRoles compares the order's customer roles with the user's roles on the customer tenant, and stores the ids of the missing roles.
// If the customer has no tenant yet, noteRoles stores nothing. A new user has no roles.
func (d Deps) noteRoles(ctx context.Context, o *Order) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	tenant, err := id.FindProject(ctx, o.DomainID, o.customerTenant().name)
	if errors.Is(err, keystone.ErrNotFound) {
		return nil // the run will create the tenant; its compensation removes the tenant together with all role assignments
	}
	if err != nil {
		return err
	}
	var held []string
	if o.NewUser == nil {
		if held, err = id.AssignedRoles(ctx, tenant.ID, o.UserID); err != nil {
			return err
		}
	}
	o.AbsentRoles = nil
	for _, r := range o.CustomerRoles {
		if !slices.Contains(held, r.ID) {
			o.AbsentRoles = append(o.AbsentRoles, r.ID)
		}
	}
	return nil
}
