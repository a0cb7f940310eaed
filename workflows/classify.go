package workflows

import (
	"errors"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// StepError is an error that a step detected itself, not an error from an upstream. The error's class decides whether the run
// retries, fails or waits for an operator.
type StepError struct {
	class  upstream.Class
	code   saga.Code
	detail string
	fixBy  saga.FixBy
}

func (e StepError) Error() string { return e.detail }

// Classify decides how a run continues after the error of a step. No other code makes this decision.
func Classify(err error) saga.Classification {
	v := saga.Classification{Failure: saga.Failure{Detail: err.Error(), FixBy: saga.FixByOperator}}
	if r, ok := errors.AsType[StepError](err); ok {
		v.Class, v.Failure.Code, v.Failure.FixBy = r.class, r.code, r.fixBy
		return v
	}
	if e, ok := errors.AsType[*billing.ForeignSubscriptionsError](err); ok {
		v.Class, v.Failure.Code, v.Failure.Service = upstream.Permanent, "foreign-subscriptions", billing.Service.ID
		v.Failure.Detail = e.Error()
		return v
	}
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return ofUpstream(v, e)
	}
	// This error does not come from an upstream. It may come from Tenantry's own database, for example. The text of the error is
	// only in the log. The error may have occurred before or after the call to the upstream.
	v.Class, v.MaybeDone, v.Log = upstream.Transient, true, err
	v.Failure.Code, v.Failure.Detail = "internal", "an internal error of Tenantry; the log of the service has the cause"
	return v
}

func ofUpstream(v saga.Classification, e *upstream.Error) saga.Classification {
	v.Class, v.MaybeDone, v.RetryAfter = e.Class, e.MaybeDone, e.RetryAfter
	v.Failure.Code, v.Failure.Service, v.Failure.Status, v.Failure.RequestID = saga.Code(e.Code()), e.Service.ID, e.Status, e.RequestID
	v.Failure.Upstream = e.Circuit()
	switch {
	case errors.Is(e, keystone.ErrGuard): // a domain was removed from the configuration during the run
		v.Class, v.Failure.Code = upstream.Blocked, "write-guarded"
	case errors.Is(e, keystone.ErrPasswordRefused):
		v.Failure.Code, v.Failure.FixBy = "password-refused", saga.FixByUser
	// A run logs a user in after it has set the password. If Keystone refuses this login, somebody has disabled the user, or Keystone has a
	// rule that no new user can fulfil.
	case errors.Is(e, keystone.ErrWrongLogin):
		v.Failure.Code, v.Failure.FixBy = "login-refused", saga.FixByAdministrator
	case errors.Is(e, keystone.ErrPasswordExpired):
		v.Failure.Code, v.Failure.FixBy = "password-expired", saga.FixByAdministrator
	case isSecondFactor(e):
		v.Failure.Code, v.Failure.FixBy = "mfa-required", saga.FixByAdministrator
	case errors.Is(e, keystone.ErrTokenInvalid): // the token is too new: see logIn
		v.Class, v.Failure.Code, v.Failure.FixBy = upstream.Transient, "login-refused", saga.FixByNobody
	case errors.Is(e, billing.ErrUsageBroken):
		v.Failure.Code, v.Failure.FixBy = "usage-broken", saga.FixByAdministrator
	case errors.Is(e, billing.ErrReference): // the plan was deleted after the order was accepted, for example
		v.Failure.Code, v.Failure.FixBy = "object-gone", saga.FixByMerchant
	case errors.Is(e, billing.ErrText):
		v.Failure.Code, v.Failure.FixBy = "text-refused", saga.FixByMerchant
	case e.Class == upstream.Transient:
		v.Failure.FixBy = saga.FixByNobody
	case needsAdministrator(e):
		v.Failure.FixBy = saga.FixByAdministrator
	}
	return v
}

func isSecondFactor(err error) bool {
	_, ok := errors.AsType[*keystone.SecondFactorError](err)
	return ok
}

// needsAdministrator reports whether only an administrator of the service can fix the failure: the service is down, or its policy does not
// allow a request. An operator of Tenantry can fix a refused credential and a login without a scope.
func needsAdministrator(e *upstream.Error) bool {
	return errors.Is(e, keystone.ErrForbidden) || e.Class == upstream.Unavailable && !e.OwnCredential && !errors.Is(e, keystone.ErrUnscoped)
}
