package workflows

import (
	"errors"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// StepError is a decision of a step, not an upstream's: the run fails, or waits for an operator.
type StepError struct {
	kind   saga.Kind
	code   string
	detail string
	fixBy  saga.FixBy
}

func (e StepError) Error() string { return e.detail }

// turnedAway is the error of what stands before an upstream that is out of order: nothing was sent.
type turnedAway interface {
	error
	Upstream() string
}

// classify tells what an error of a step means for its run: the one place where going on or giving up is decided.
func classify(err error) saga.Classification {
	v := saga.Classification{Failure: saga.Failure{Code: "internal", Detail: err.Error(), FixBy: saga.FixByOperator}}
	if r, ok := errors.AsType[StepError](err); ok {
		v.Kind, v.Failure.Code, v.Failure.FixBy = r.kind, r.code, r.fixBy
		return v
	}
	if _, ok := errors.AsType[claimedError](err); ok {
		v.RetryAfter, v.Failure.Code, v.Failure.FixBy = claimAgain, "claimed-by-a-live-run", saga.FixByNobody
		return v
	}
	if away, ok := errors.AsType[turnedAway](err); ok {
		v.Failure.Upstream = away.Upstream()
	}
	if e, ok := errors.AsType[*keystone.Error](err); ok {
		return ofKeystone(v, e)
	}
	if e, ok := errors.AsType[*billing.ForeignSubscriptionsError](err); ok {
		v.Kind, v.Failure.Code, v.Failure.Service = saga.Permanent, "foreign-subscriptions", "billingstack"
		v.Failure.Detail = e.Error()
		return v
	}
	if e, ok := errors.AsType[*billing.Error](err); ok {
		return ofBilling(v, e)
	}
	// What no upstream said, such as a database that does not answer: it may have been before or after the call.
	v.Kind, v.MaybeDone = saga.Transient, true
	return v
}

func ofKeystone(v saga.Classification, e *keystone.Error) saga.Classification {
	v.MaybeDone, v.RetryAfter = e.MaybeDone, e.RetryAfter
	v.Failure.Service, v.Failure.Status, v.Failure.RequestID = "keystone", e.Status, e.RequestID
	switch e.Kind {
	case keystone.Permanent:
		v.Kind, v.Failure.Code = saga.Permanent, "keystone-refused"
		if errors.Is(e, keystone.ErrGuard) { // a domain was taken out of the configuration under the run
			v.Kind, v.Failure.Code = saga.Blocked, "write-guarded"
		}
	case keystone.Unavailable:
		v.Kind, v.Failure.Code = saga.Unavailable, "keystone-unavailable"
		if e.OwnCredential {
			v.Failure.Code = "keystone-credential-refused"
		}
	case keystone.Transient:
		v.Kind, v.Failure.Code, v.Failure.FixBy = saga.Transient, "keystone-busy", saga.FixByNobody
	case keystone.Unknown:
		v.Kind, v.Failure.Code, v.Failure.FixBy = saga.Transient, "keystone-no-answer", saga.FixByNobody
	}
	return v
}

func ofBilling(v saga.Classification, e *billing.Error) saga.Classification {
	v.MaybeDone, v.RetryAfter = e.MaybeDone, e.RetryAfter
	v.Failure.Service, v.Failure.Status = "billingstack", e.Status
	switch e.Kind {
	case billing.Permanent:
		v.Kind, v.Failure.Code = saga.Permanent, "billing-refused"
	case billing.Unavailable:
		v.Kind, v.Failure.Code = saga.Unavailable, "billing-unavailable"
	case billing.Transient:
		v.Kind, v.Failure.Code, v.Failure.FixBy = saga.Transient, "billing-busy", saga.FixByNobody
	case billing.Unknown:
		v.Kind, v.Failure.Code, v.Failure.FixBy = saga.Transient, "billing-no-answer", saga.FixByNobody
	}
	return v
}
