package workflows

import (
	"context"
	"errors"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// retryRefused turns an AdmissionError into a saga.RetryRefusedError, so that the retry is refused. retryRefused returns any
// other error unchanged, because only an AdmissionError shows that the run cannot be retried.
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

// If an object of the order no longer exists, a retry is refused with one of the error codes in the variable `gone`. The keys
// of the map are fields of the order. For example, the code plan-gone means that the plan of the order no longer exists.
var gone = map[string]saga.Code{
	"/plan_id": "plan-gone", "/customer_id": "customer-gone", "/customer/currency": "currency-gone", "/customer/language": "language-gone",
}

// readUser reads a user by id, because the user's token may no longer be stored. readUser returns an error if the user does not
// exist, is disabled, or has an unusable id.
func (d Deps) readUser(ctx context.Context, id keystone.Identity, userID string) (keystone.User, error) {
	if err := usable(userID); err != nil {
		return keystone.User{}, err
	}
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
