package api

import (
	"cmp"
	"net/http"
	"slices"

	"github.com/tenantry/tenantry/orchestrator/explain"
)

// The type `kind` is a problem type. The package explain has its texts.
type kind struct {
	name      string
	status    int
	retryable bool
}

// The method `title` returns the title of the problem, without a full stop.
func (k kind) title() string { return k.entry().What }

// The method `help` says what the caller can do.
func (k kind) help() string { return k.entry().Advice() }

// The method `fixBy` returns the person who can fix the problem, or fixByCaller.
func (k kind) fixBy() FixBy { return FixBy(k.entry().FixBy[0]) }

func (k kind) entry() explain.Entry {
	e, _ := explain.Problem(k.name) // TestEachCodeHasAnEntry checks that each problem type has an entry
	return e
}

// fixByCaller marks a problem type that the caller can fix. In an answer, the result of [fixer] replaces fixByCaller.
const fixByCaller = FixBy(explain.Caller)

// The types of problems. The names of problem types are part of the API.
var (
	invalidParams  = kind{"invalid-params", http.StatusBadRequest, false}
	bodyMalformed  = kind{"body-malformed", http.StatusBadRequest, false}
	keyMissing     = kind{"idempotency-key-missing", http.StatusBadRequest, false}
	keyInvalid     = kind{"idempotency-key-invalid", http.StatusBadRequest, false}
	tokenScoped    = kind{"token-scoped", http.StatusBadRequest, false}
	twoCredentials = kind{"two-credentials", http.StatusBadRequest, false}

	credentialsRequired  = kind{"credentials-required", http.StatusUnauthorized, false}
	credentialsInvalid   = kind{"credentials-invalid", http.StatusUnauthorized, false}
	operatorTokenInvalid = kind{"operator-token-invalid", http.StatusUnauthorized, false}
	userTokenInvalid     = kind{"user-token-invalid", http.StatusUnauthorized, false}

	tlsRequired       = kind{"tls-required", http.StatusForbidden, false}
	merchantDisabled  = kind{"merchant-disabled", http.StatusForbidden, false}
	userDomainForeign = kind{"user-domain-foreign", http.StatusForbidden, false}
	userIDUnusable    = kind{"user-id-unusable", http.StatusForbidden, false}
	tokenDelegated    = kind{"token-delegated", http.StatusForbidden, false}
	forbidden         = kind{"forbidden", http.StatusForbidden, false}
	runOfOperator     = kind{"run-of-operator", http.StatusForbidden, false}

	routeNotFound    = kind{"route-not-found", http.StatusNotFound, false}
	merchantNotFound = kind{"merchant-not-found", http.StatusNotFound, false}
	runNotFound      = kind{"run-not-found", http.StatusNotFound, false}
	methodNotAllowed = kind{"method-not-allowed", http.StatusMethodNotAllowed, false}

	runCompensated             = kind{"run-compensated", http.StatusConflict, false}
	retryRefused               = kind{"retry-refused", http.StatusConflict, false}
	actionRefused              = kind{"action-refused", http.StatusConflict, false}
	merchantExists             = kind{"merchant-exists", http.StatusConflict, false}
	preconditionFailed         = kind{"precondition-failed", http.StatusPreconditionFailed, false}
	bodyTooLarge               = kind{"body-too-large", http.StatusRequestEntityTooLarge, false}
	contentTypeUnsupported     = kind{"content-type-unsupported", http.StatusUnsupportedMediaType, false}
	contentEncodingUnsupported = kind{"content-encoding-unsupported", http.StatusUnsupportedMediaType, false}
	keyReused                  = kind{"idempotency-key-reused", http.StatusUnprocessableEntity, false}

	quotaExceeded = kind{"quota-exceeded", http.StatusTooManyRequests, true}

	internalError       = kind{"internal-error", http.StatusInternalServerError, true}
	upstreamUnavailable = kind{"upstream-unavailable", http.StatusServiceUnavailable, true}
	configurationFault  = kind{"configuration-fault", http.StatusServiceUnavailable, false}
	tooManyRequests     = kind{"too-many-requests", http.StatusTooManyRequests, true}
	overloaded          = kind{"overloaded", http.StatusServiceUnavailable, true}
	outcomeUnknown      = kind{"outcome-unknown", http.StatusServiceUnavailable, true}
)

// The function `kinds` returns all problem types, sorted by status.
func kinds() []kind {
	all := []kind{
		invalidParams, bodyMalformed, keyMissing, keyInvalid, tokenScoped, twoCredentials,
		credentialsRequired, credentialsInvalid, operatorTokenInvalid, userTokenInvalid,
		tlsRequired, merchantDisabled, userDomainForeign, userIDUnusable, tokenDelegated, forbidden, runOfOperator,
		routeNotFound, merchantNotFound, runNotFound, methodNotAllowed,
		runCompensated, retryRefused, actionRefused, merchantExists, preconditionFailed, bodyTooLarge,
		contentTypeUnsupported, contentEncodingUnsupported, keyReused,
		quotaExceeded, tooManyRequests, internalError, upstreamUnavailable, configurationFault, overloaded, outcomeUnknown,
	}
	all = slices.Concat(all, catalogKinds, tenantKinds, orderKinds, switchKinds, changePlanKinds, lifeKinds, auditKinds, repairKinds, userKinds)
	slices.SortStableFunc(all, func(a, b kind) int { return cmp.Compare(a.status, b.status) })
	return all
}
