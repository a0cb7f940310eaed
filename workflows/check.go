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

// fresh is the time for which the check at acceptance stays valid. A run usually starts milliseconds after that check.
const fresh = 10 * time.Second

// stale reports whether the last read of plan and customer is older than fresh.
func stale(o *Order, now time.Time) bool { return now.Sub(o.CheckedAt) > fresh }

// check reads the plan again if the last read is stale, and always reads an existing customer again. The plan and the customer
// may have been removed since the order was accepted. On an existing customer tenant, check also stores the roles that the user
// lacks. Only these roles may be revoked later.
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

// noteRoles stores the customer roles that the user does not hold on an existing customer tenant.
func (d Deps) noteRoles(ctx context.Context, o *Order) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	tenant, err := id.FindProject(ctx, o.DomainID, o.customerTenant().name)
	if errors.Is(err, keystone.ErrNotFound) {
		return nil // the run creates the tenant; removing the tenant also removes its roles
	}
	if err != nil {
		return err
	}
	held, err := id.AssignedRoles(ctx, tenant.ID, o.UserID)
	if err != nil {
		return err
	}
	o.AbsentRoles = nil
	for _, r := range o.CustomerRoles {
		if !slices.Contains(held, r.ID) {
			o.AbsentRoles = append(o.AbsentRoles, r.ID)
		}
	}
	return nil
}
