package api

import (
	"cmp"
	"net/http"
	"slices"
)

// The type `kind` is a problem type, with its texts for the answer, the problem's page and the documentation.
type kind struct {
	name      string
	status    int
	title     string
	help      string // what the caller can do
	retryable bool
	fixBy     FixBy
}

// fixByCaller marks a problem type that the caller can fix. In an answer, the result of [fixer] replaces fixByCaller.
const fixByCaller FixBy = "caller"

// The types of problems. The names of problem types are part of the API.
var (
	invalidParams = kind{
		"invalid-params", http.StatusBadRequest, "A field or parameter of the request is not valid",
		"The field invalid_params lists each invalid field and query parameter with its fault." +
			" If an id in the order names no object, or an object of another merchant, the list contains this id, too.",
		false, fixByCaller,
	}
	bodyMalformed = kind{
		"body-malformed", http.StatusBadRequest, "The body cannot be read",
		"Send one JSON object in UTF-8, without duplicate keys. Its nesting must not be deeper than 16, and it must have at most 200" +
			" keys, values and brackets.", false, fixByCaller,
	}
	keyMissing = kind{
		"idempotency-key-missing", http.StatusBadRequest, "The Idempotency-Key is missing",
		"Send a key, such as a UUID, with every order. Send the same key when you repeat the order.", false, fixByCaller,
	}
	keyInvalid = kind{
		"idempotency-key-invalid", http.StatusBadRequest, "The Idempotency-Key is not valid",
		"Send one Idempotency-Key header. The key has 1 to 255 " + keyForm + ".", false, fixByCaller,
	}
	tokenScoped = kind{
		"token-scoped", http.StatusBadRequest, "The user's token is scoped",
		`Get an unscoped token: POST /v3/auth/tokens with "scope": "unscoped".` +
			" Otherwise, if the user has a default project, Keystone scopes the token to that project.", false, FixByMerchant,
	}
	twoCredentials = kind{
		"two-credentials", http.StatusBadRequest, "Two credentials were sent",
		"Send either the merchant's API key or one Keystone token in X-Auth-Token.", false, fixByCaller,
	}

	credentialsRequired = kind{
		"credentials-required", http.StatusUnauthorized, "No credential was sent",
		"A portal sends its API key and secret by HTTP Basic. An operator sends a Keystone token in X-Auth-Token.", false, fixByCaller,
	}
	credentialsInvalid = kind{
		"credentials-invalid", http.StatusUnauthorized, "The API key or its secret is not valid",
		"The key may have been revoked when a newer key was created. Only an operator can create a key.", false, fixByCaller,
	}
	operatorTokenInvalid = kind{
		"operator-token-invalid", http.StatusUnauthorized, "The token is not valid",
		"Get a new token from Keystone.", false, FixByOperator,
	}
	userTokenInvalid = kind{
		"user-token-invalid", http.StatusUnauthorized, "The user's token is missing or not valid",
		"Let the user log in again and send the unscoped token in X-Subject-Token. The user may be disabled.", false, FixByUser,
	}

	tlsRequired = kind{
		"tls-required", http.StatusForbidden, "A secret was sent unencrypted",
		"Use https. The secret was sent over the network without encryption: ask the operator for a new API key, or revoke the token.",
		false, fixByCaller,
	}
	merchantDisabled = kind{
		"merchant-disabled", http.StatusForbidden, "The merchant is disabled",
		"Ask the operator.", false, FixByOperator,
	}
	userDomainForeign = kind{
		"user-domain-foreign", http.StatusForbidden, "The user is in another domain",
		"The users of a merchant must be in the merchant's domain.", false, FixByMerchant,
	}
	userIDUnusable = kind{
		"user-id-unusable", http.StatusForbidden, "The user's id cannot be used in requests to Keystone",
		"Keystone can assign a role only to a user whose id has at most 64 characters and contains neither a slash nor a control" +
			" character. Change the option user_id_attribute of Keystone's LDAP driver, or the user's entry.", false, FixByOperator,
	}
	tokenDelegated = kind{
		"token-delegated", http.StatusForbidden, "The user's token is delegated",
		"A token from an application credential or a trust does not prove who the user is. Let the user log in.", false, FixByUser,
	}
	forbidden = kind{
		"forbidden", http.StatusForbidden, "The caller is not allowed to call this operation",
		"Some operations are for portals with an API key. Other operations are for operators with this service's admin role." +
			" /docs lists the callers of each operation.", false, fixByCaller,
	}
	runOfOperator = kind{
		"run-of-operator", http.StatusForbidden, "An operator has ordered the run",
		"Only an operator can cancel it.", false, FixByOperator,
	}

	routeNotFound = kind{
		"route-not-found", http.StatusNotFound, "There is no such path",
		"/docs lists the operations.", false, fixByCaller,
	}
	merchantNotFound = kind{
		"merchant-not-found", http.StatusNotFound, "There is no such merchant",
		"A portal sees only the merchant of its API key.", false, fixByCaller,
	}
	runNotFound = kind{
		"run-not-found", http.StatusNotFound, "There is no such run",
		"A portal sees only the runs of its own merchant.", false, fixByCaller,
	}
	methodNotAllowed = kind{
		"method-not-allowed", http.StatusMethodNotAllowed, "The path does not allow this method",
		"The Allow header lists the allowed methods.", false, fixByCaller,
	}

	runCompensated = kind{
		"run-compensated", http.StatusConflict, "The order failed and was compensated",
		"The fields detail and code say why the order failed. The field instance is the path of the run." +
			" The idempotency key belongs to this run: order again with a new key, or ask an operator to retry the run.",
		false, FixByOperator,
	}
	retryRefused = kind{
		"retry-refused", http.StatusConflict, "The compensated run cannot be retried",
		"The order of the run can no longer be accepted. The fields code and detail say why; fix_by says who can fix the cause." +
			" The idempotency key still belongs to the compensated run.", false, FixByOperator,
	}
	actionRefused = kind{
		"action-refused", http.StatusConflict, "The run's state does not allow the action",
		`The field "actions" of the run lists the allowed actions.`, false, FixByOperator,
	}
	merchantExists = kind{
		"merchant-exists", http.StatusConflict, "The merchant is already registered",
		"Update the merchant, or create a new key for it.", false, FixByOperator,
	}
	preconditionFailed = kind{
		"precondition-failed", http.StatusPreconditionFailed, "The run has changed",
		"Read the run again before you repeat the action.", false, fixByCaller,
	}
	bodyTooLarge = kind{
		"body-too-large", http.StatusRequestEntityTooLarge, "The body is too large",
		"The limit is 114688 bytes.", false, fixByCaller,
	}
	contentTypeUnsupported = kind{
		"content-type-unsupported", http.StatusUnsupportedMediaType, "The body is not JSON",
		"Send Content-Type: application/json.", false, fixByCaller,
	}
	contentEncodingUnsupported = kind{
		"content-encoding-unsupported", http.StatusUnsupportedMediaType, "The body is compressed",
		"Send the body without compression and without the header Content-Encoding.", false, fixByCaller,
	}
	keyReused = kind{
		"idempotency-key-reused", http.StatusUnprocessableEntity, "The Idempotency-Key belongs to another order",
		"A key belongs to one order and never expires. Send a new key with a new order.", false, fixByCaller,
	}

	quotaExceeded = kind{
		"quota-exceeded", http.StatusTooManyRequests, "The merchant has too many live runs",
		"The header RateLimit-Policy contains the limit. Repeat the call after Retry-After, with the same key.", true, FixByNobody,
	}

	internalError = kind{
		"internal-error", http.StatusInternalServerError, "The service failed",
		"Search the service's log for the request_id. You may repeat an order with the same key.", true, FixByOperator,
	}
	upstreamUnavailable = kind{
		"upstream-unavailable", http.StatusServiceUnavailable, "The database or an upstream is not available",
		"The request was not accepted. Repeat the request after Retry-After. Repeat an order with the same key.", true, FixByAdministrator,
	}
	configurationFault = kind{
		"configuration-fault", http.StatusServiceUnavailable, "The service is not configured for this request",
		"The cloud, the domain or a role of the merchant does not exist, or the service refuses the role." +
			" Search the service's log for the request_id.", false, FixByOperator,
	}
	tooManyRequests = kind{
		"too-many-requests", http.StatusTooManyRequests, "Too many of your requests are under way",
		"The request was not accepted. Repeat the call after Retry-After; repeat an order with the same key. Send fewer requests at a" +
			" time.", true, fixByCaller,
	}
	overloaded = kind{
		"overloaded", http.StatusServiceUnavailable, "Too many requests arrived at once",
		"The request was not accepted. Repeat the call after Retry-After; repeat an order with the same key.", true, FixByNobody,
	}
	outcomeUnknown = kind{
		"outcome-unknown", http.StatusServiceUnavailable, "The order may have been accepted",
		"Repeat the call with the same key: the order is accepted only once.", true, FixByNobody,
	}
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
	all = slices.Concat(all, catalogKinds, orderKinds, switchKinds, changePlanKinds, lifeKinds, auditKinds, repairKinds, userKinds)
	slices.SortStableFunc(all, func(a, b kind) int { return cmp.Compare(a.status, b.status) })
	return all
}
