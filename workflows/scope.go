package workflows

import (
	"context"
	"errors"
	"slices"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// scopeToken exchanges the user's token for a token that is scoped to the customer tenant. scopeToken passes the scoped token to
// the API request that waits for the run. The exchange also proves that the user's roles work. If the user's token is not
// available, scopeToken reads the user's roles instead.
func (d Deps) scopeToken(ctx context.Context, o *Order) error {
	id, err := d.Identity(o.Cloud)
	if err != nil {
		return err
	}
	token, err := saga.CallOf(ctx).Token(ctx)
	if errors.Is(err, saga.ErrNoToken) {
		return d.proveRoles(ctx, id, o, "the user's token is no longer stored")
	}
	if err != nil {
		return err
	}
	scoped, err := id.ExchangeToken(ctx, token, o.CustomerTenantID)
	switch {
	case errors.Is(err, keystone.ErrTokenInvalid):
		saga.CallOf(ctx).ForgetToken()
		return d.proveRoles(ctx, id, o, "the user's token has expired or was revoked")
	case errors.Is(err, keystone.ErrNoAccess):
		return StepError{upstream.Transient, "scope-refused", err.Error(), saga.FixByOperator}
	case err != nil:
		return err
	}
	for _, want := range o.CustomerRoles {
		if !slices.ContainsFunc(scoped.Roles, func(r keystone.Role) bool { return r.ID == o.current(want) }) {
			return StepError{
				upstream.Transient, "role-missing", "the scoped token lacks role " + want.Name, saga.FixByOperator,
			}
		}
	}
	saga.CallOf(ctx).ForgetToken()
	d.Handover.put(o.RunID, scoped.ID)
	return nil
}

// proveRoles reads the user's roles with Tenantry's own credential. If the user has all customer roles, the step is skipped.
func (d Deps) proveRoles(ctx context.Context, id keystone.Identity, o *Order, why string) error {
	held, err := id.AssignedRoles(ctx, o.CustomerTenantID, o.UserID)
	if err != nil {
		return err
	}
	for _, want := range o.CustomerRoles {
		if !slices.Contains(held, o.current(want)) {
			return StepError{
				upstream.Transient, "role-missing", "the user lacks role " + want.Name + " on the customer tenant",
				saga.FixByOperator,
			}
		}
	}
	return saga.SkipError{Why: why}
}
