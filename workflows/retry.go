package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// retryRefused says why a compensated run cannot be repeated, in the words of admission. Another error, such as an upstream
// that is down, stays: whether the run can be repeated is not known.
func retryRefused(err error) error {
	e, ok := errors.AsType[*AdmissionError](err)
	if !ok {
		return err
	}
	code := e.Code
	if len(e.Params) > 0 {
		code = gone[e.Params[0].Pointer]
	}
	return &saga.RetryRefusedError{Code: code, Detail: e.Detail, FixBy: e.FixBy}
}

// gone is what a retry misses when the field of the order names nothing any more. It named something when the order came.
var gone = map[string]string{
	"/plan_id": "plan-gone", "/customer_id": "customer-gone", "/customer/currency": "currency-gone", "/customer/language": "language-gone",
}

// readUser reads the user of an order whose token is gone. The user must exist and be enabled.
func (d Deps) readUser(ctx context.Context, id keystone.Identity, userID string) (keystone.User, error) {
	user, err := id.User(ctx, userID)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return user, refuse("user-gone", saga.FixByMerchant, "the user does not exist any more")
	case err != nil:
		return user, err
	case !user.Enabled:
		return user, refuse("user-disabled", saga.FixByOperator, "the user is disabled")
	}
	return user, nil
}
