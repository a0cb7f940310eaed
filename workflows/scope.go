package workflows

import (
	"context"
	"errors"
	"fmt"
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
		return d.proveRoles(ctx, id, o, "the user's token is no longer available")
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
			return o.roleMissing("the scoped token", want)
		}
	}
	saga.CallOf(ctx).ForgetToken()
	d.Handover.put(o.RunID, scoped.ID)
	return nil
}

// roleMissing returns the error for a missing role. The run has assigned the role on the customer tenant, but the token or the user
// does not have it. If the role was deleted, only a new run can assign a role of the same name.
func (o *Order) roleMissing(who string, want keystone.Role) error {
	return StepError{upstream.Transient, "role-missing", fmt.Sprintf(
		"%s lacks role %s (%s) on the customer tenant %s: assign the role to the user again, then retry the run. If the role with this "+
			"id was deleted, compensate the run before you retry it: the retry looks up the role by its name",
		who, want.Name, o.current(want), o.CustomerTenantID), saga.FixByOperator}
}

// proveRoles reads the user's roles with Tenantry's own credential. If the user has all customer roles, the step is skipped.
func (d Deps) proveRoles(ctx context.Context, id keystone.Identity, o *Order, why string) error {
	held, err := id.AssignedRoles(ctx, o.CustomerTenantID, o.UserID)
	if err != nil {
		return err
	}
	for _, want := range o.CustomerRoles {
		if !slices.Contains(held, o.current(want)) {
			return o.roleMissing("the user", want)
		}
	}
	return saga.SkipError{Why: why}
}
