package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// retryRefused turns an AdmissionError into a saga.RetryRefusedError, so that the retry is refused. Other errors, such as that of
// an upstream that is down, are returned as they are: they do not show whether the run can be retried.
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

// gone maps a field of the order to the code of a refused retry: what the field names existed when the order was accepted, and
// does not exist now.
var gone = map[string]string{
	"/plan_id": "plan-gone", "/customer_id": "customer-gone", "/customer/currency": "currency-gone", "/customer/language": "language-gone",
}

// readUser reads the user of an order whose token is no longer stored. The user must exist and be enabled.
func (d Deps) readUser(ctx context.Context, id keystone.Identity, userID string) (keystone.User, error) {
	user, err := id.User(ctx, userID)
	switch {
	case errors.Is(err, keystone.ErrNotFound):
		return user, refuse("user-gone", saga.FixByMerchant, "the user no longer exists")
	case err != nil:
		return user, err
	case !user.Enabled:
		return user, refuse("user-disabled", saga.FixByOperator, "the user is disabled")
	}
	return user, nil
}
