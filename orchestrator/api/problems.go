package api

import (
	"cmp"
	"net/http"
	"slices"
)

// kind is one kind of problem: what its page, its body and the document say of it.
type kind struct {
	name      string
	status    int
	title     string
	help      string // what the caller can do
	retryable bool
	fixBy     FixBy
}

// The kinds. Their names are part of the API.
var (
	invalidParams = kind{
		"invalid-params", http.StatusBadRequest, "Something in the request is not valid",
		"invalid_params names each field by a JSON pointer, or each query parameter, and says what is wrong. What the" +
			" order names but does not exist, or is another merchant's, is reported here too.", false, FixByMerchant,
	}
	bodyMalformed = kind{
		"body-malformed", http.StatusBadRequest, "The body cannot be read",
		"Send one JSON object in UTF-8, with no key twice.", false, FixByMerchant,
	}
	keyMissing = kind{
		"idempotency-key-missing", http.StatusBadRequest, "The Idempotency-Key is missing",
		"Send one with every order, and the same one when you repeat the order. A uuid is good.", false, FixByMerchant,
	}
	keyInvalid = kind{
		"idempotency-key-invalid", http.StatusBadRequest, "The Idempotency-Key is not valid",
		"Send one header of 1 to 255 printable characters, quoted or bare.", false, FixByMerchant,
	}
	tokenScoped = kind{
		"token-scoped", http.StatusBadRequest, "The user's token is scoped",
		`Get an unscoped one: POST /v3/auth/tokens with "scope": "unscoped". Without that word a user with a default project` +
			" gets a token scoped to it.", false, FixByMerchant,
	}
	twoCredentials = kind{
		"two-credentials", http.StatusBadRequest, "Two credentials were sent",
		"Send either a merchant's key or X-Auth-Token, and it once.", false, FixByMerchant,
	}

	credentialsRequired = kind{
		"credentials-required", http.StatusUnauthorized, "Who calls?",
		"A portal sends its API key and secret by HTTP Basic, an operator a Keystone token in X-Auth-Token.", false, FixByMerchant,
	}
	credentialsInvalid = kind{
		"credentials-invalid", http.StatusUnauthorized, "The API key or its secret is not valid",
		"The key may have been revoked when a newer one was made.", false, FixByMerchant,
	}
	operatorTokenInvalid = kind{
		"operator-token-invalid", http.StatusUnauthorized, "The token is not valid",
		"Get a new token from Keystone.", false, FixByUser,
	}
	userTokenInvalid = kind{
		"user-token-invalid", http.StatusUnauthorized, "The user's token is missing or not valid",
		"Let the user log in again and send the unscoped token in X-Subject-Token. The user may be disabled.", false, FixByUser,
	}

	tlsRequired = kind{
		"tls-required", http.StatusForbidden, "A secret was sent in the clear",
		"Use https. Change the secret: it went over the network unprotected.", false, FixByMerchant,
	}
	merchantDisabled = kind{
		"merchant-disabled", http.StatusForbidden, "The merchant is disabled",
		"Ask the operator.", false, FixByOperator,
	}
	userDomainForeign = kind{
		"user-domain-foreign", http.StatusForbidden, "The user is of another domain",
		"A merchant's users are in the merchant's domain.", false, FixByMerchant,
	}
	tokenDelegated = kind{
		"token-delegated", http.StatusForbidden, "The user's token is a lent one",
		"A token made by an application credential or a trust cannot stand for the user: let the user log in.", false, FixByUser,
	}
	forbidden = kind{
		"forbidden", http.StatusForbidden, "This is not for the caller",
		"It wants an operator, whose Keystone token has the admin role of this service.", false, FixByOperator,
	}

	routeNotFound = kind{
		"route-not-found", http.StatusNotFound, "There is nothing here",
		"/docs lists what there is.", false, FixByMerchant,
	}
	merchantNotFound = kind{
		"merchant-not-found", http.StatusNotFound, "There is no such merchant",
		"A portal sees its own merchant only.", false, FixByMerchant,
	}
	runNotFound = kind{
		"run-not-found", http.StatusNotFound, "There is no such run",
		"A portal sees its own runs only.", false, FixByMerchant,
	}
	methodNotAllowed = kind{
		"method-not-allowed", http.StatusMethodNotAllowed, "This cannot be done here",
		"Allow names the methods.", false, FixByMerchant,
	}

	runCompensated = kind{
		"run-compensated", http.StatusConflict, "The order failed and was compensated",
		"detail and code tell why, instance is the run. The key stands for this run: order again with a new one, or ask an" +
			" operator to retry the run.", false, FixByOperator,
	}
	retryRefused = kind{
		"retry-refused", http.StatusConflict, "The request cannot be accepted once more",
		"code, detail and fix_by say what has changed since and who can fix it. Nothing was changed: the key still stands for the" +
			" compensated run.", false, FixByOperator,
	}
	actionRefused = kind{
		"action-refused", http.StatusConflict, "The run's state does not allow it",
		"The run's actions tell what can be asked.", false, FixByOperator,
	}
	merchantExists = kind{
		"merchant-exists", http.StatusConflict, "The merchant is in already",
		"Change it, or make a new key for it.", false, FixByOperator,
	}
	preconditionFailed = kind{
		"precondition-failed", http.StatusPreconditionFailed, "The run has changed",
		"Read it again before deciding.", false, FixByOperator,
	}
	bodyTooLarge = kind{
		"body-too-large", http.StatusRequestEntityTooLarge, "The body is too large",
		"The limit is 114688 bytes.", false, FixByMerchant,
	}
	contentTypeUnsupported = kind{
		"content-type-unsupported", http.StatusUnsupportedMediaType, "The body is not JSON",
		"Send Content-Type: application/json.", false, FixByMerchant,
	}
	keyReused = kind{
		"idempotency-key-reused", http.StatusUnprocessableEntity, "The Idempotency-Key stands for another order",
		"One key is one order for ever. Send a new key with a new order.", false, FixByMerchant,
	}

	quotaExceeded = kind{
		"quota-exceeded", http.StatusTooManyRequests, "The merchant has too many runs under way",
		"RateLimit-Policy tells how many may be. Repeat the call after Retry-After, with the same key.", true, FixByNobody,
	}

	internalError = kind{
		"internal-error", http.StatusInternalServerError, "A fault of this service",
		"Its log tells more under request_id. An order may be repeated with the same key.", true, FixByOperator,
	}
	upstreamUnavailable = kind{
		"upstream-unavailable", http.StatusServiceUnavailable, "Something that is needed does not answer",
		"Nothing was accepted. Repeat the call after Retry-After, an order with the same key.", true, FixByOperator,
	}
	configurationFault = kind{
		"configuration-fault", http.StatusServiceUnavailable, "The service is not set up for this",
		"The merchant's cloud, domain or roles do not exist or are refused. The log tells more under request_id.", false, FixByOperator,
	}
	overloaded = kind{
		"overloaded", http.StatusServiceUnavailable, "Too many orders came at once",
		"Nothing was accepted. Repeat the call after Retry-After, with the same key.", true, FixByNobody,
	}
	outcomeUnknown = kind{
		"outcome-unknown", http.StatusServiceUnavailable, "It is not known whether the order was accepted",
		"Repeat the call with the same key: it is accepted once.", true, FixByNobody,
	}
)

// kinds lists them all, in the order of the documentation: by status.
func kinds() []kind {
	all := []kind{
		invalidParams, bodyMalformed, keyMissing, keyInvalid, tokenScoped, twoCredentials,
		credentialsRequired, credentialsInvalid, operatorTokenInvalid, userTokenInvalid,
		tlsRequired, merchantDisabled, userDomainForeign, tokenDelegated, forbidden,
		routeNotFound, merchantNotFound, runNotFound, methodNotAllowed,
		runCompensated, retryRefused, actionRefused, merchantExists, preconditionFailed, bodyTooLarge, contentTypeUnsupported, keyReused,
		quotaExceeded, internalError, upstreamUnavailable, configurationFault, overloaded, outcomeUnknown,
	}
	all = slices.Concat(all, catalogKinds, orderKinds)
	slices.SortStableFunc(all, func(a, b kind) int { return cmp.Compare(a.status, b.status) })
	return all
}
