package explain

// Problem returns the entry of a problem type, and reports whether the table has it. The field `What` has the title of the problem, without a
// full stop. The field `Do` has one step, which says what the caller can do.
func Problem(name string) (Entry, bool) {
	e, known := problems[name]
	return e, known
}

// The meanings of problems for the user who signs up.
const (
	notAccepted      = "The request was not accepted, and nothing has changed."
	perhapsAccepted  = "An order may have been accepted. It is accepted only once, even if it is sent again with the same key."
	compensatedOrder = "The order was not carried out. The objects that the run had made are removed, except the objects in its field left_behind."
	stillCompensated = "The order is still not carried out."
	runGoesOn        = "Nothing has changed: the run goes on as before."
	asWanted         = "Nothing has changed: the subscription already has the requested state."
	notLoggedIn      = "The user is not logged in."
	nobodyAffected   = "No user is affected."
)

// The table of the problem types, sorted by status.
var problems = map[string]Entry{
	"invalid-params": {
		What: "A field or parameter of the request is not valid", Means: notAccepted, FixBy: by(Caller),
		Do: do("The field invalid_params lists each invalid field and query parameter with its fault. If an id in the order names no" +
			" object, or an object of another merchant, the list contains this id, too."),
	},
	"body-malformed": {
		What: "The body cannot be read", Means: notAccepted, FixBy: by(Caller),
		Do: do("Send one JSON object in UTF-8, without duplicate keys. The object must not be nested deeper than 16 levels, and must have" +
			" at most 200 keys, values and brackets."),
	},
	"idempotency-key-missing": {
		What: "The Idempotency-Key is missing", Means: notAccepted, FixBy: by(Caller),
		Do: do("Send a key, such as a UUID, with every order. Send the same key when you repeat the order."),
	},
	"idempotency-key-invalid": {
		What: "The Idempotency-Key is not valid", Means: notAccepted, FixBy: by(Caller),
		Do: do("Send one Idempotency-Key header. The key has 1 to 255 printable ASCII characters, with or without double quotes. A key" +
			" without quotes has no blank, double quote, backtick, backslash, comma or semicolon."),
	},
	"token-scoped": {
		What: "The user's token is scoped", Means: notAccepted, FixBy: by(Merchant),
		Do: do(`Get an unscoped token: POST /v3/auth/tokens with "scope": "unscoped". Otherwise, if the user has a default project,` +
			" Keystone scopes the token to that project."),
	},
	"two-credentials": {
		What: "Two credentials were sent", Means: notAccepted, FixBy: by(Caller),
		Do: do("Send either the merchant's API key or one Keystone token in X-Auth-Token."),
	},
	"credentials-required": {
		What: "No credential was sent", Means: notAccepted, FixBy: by(Caller),
		Do: do("A portal sends its API key and secret by HTTP Basic. An operator sends a Keystone token in X-Auth-Token."),
	},
	"credentials-invalid": {
		What: "The API key or its secret is not valid", Means: notAccepted, FixBy: by(Caller),
		Do: do("The key may have been revoked when a newer key was created. Only an operator can create a key."),
	},
	"operator-token-invalid": {
		What: "The token is not valid", Means: notAccepted, FixBy: by(Operator),
		Do: do("Get a new token from Keystone."),
	},
	"user-token-invalid": {
		What: "The user's token is missing or not valid", Means: notAccepted, FixBy: by(User),
		Do: do("Let the user log in again and send the unscoped token in X-Subject-Token. The user may be disabled."),
	},
	"login-refused": {
		What: "Keystone refuses the login", Means: notLoggedIn, FixBy: by(User),
		Do: do("The name or the password is wrong, or the user is disabled or locked. Keystone does not say which of these is the" +
			" case."),
	},
	"password-expired": {
		What: "The password has expired, or must be changed", Means: notLoggedIn, FixBy: by(User),
		Do: do("The user must change the password at Keystone: POST /v3/users/USER_ID/password."),
	},
	"mfa-required": {
		What: "The user needs another login method", Means: notLoggedIn, FixBy: by(User),
		Do: do("The password was right. The header Openstack-Auth-Receipt contains a receipt, and the field required_auth_methods" +
			" lists the methods. Send the receipt in the same header to Keystone, with the remaining methods: POST /v3/auth/tokens."),
	},
	"tls-required": {
		What: "A secret was sent unencrypted", Means: notAccepted, FixBy: by(Caller),
		Do: do("Use https. The secret was sent over the network without encryption: ask the operator for a new API key, or revoke the" +
			" token."),
	},
	"merchant-disabled": {
		What: "The merchant is disabled", Means: notAccepted, FixBy: by(Operator),
		Do: do("Ask the operator."),
	},
	"user-domain-foreign": {
		What: "The user is in another domain", Means: notAccepted, FixBy: by(Merchant),
		Do: do("The users of a merchant must be in the merchant's domain."),
	},
	"user-id-unusable": {
		What: "The user's id cannot be used in requests to Keystone", Means: notAccepted, FixBy: by(Operator),
		Do: do("Keystone can assign a role only to a user whose id has at most 64 characters and contains neither a slash nor a" +
			" control character. Change the option user_id_attribute of Keystone's LDAP driver, or the user's entry."),
	},
	"token-delegated": {
		What: "The user's token is delegated", Means: notAccepted, FixBy: by(User),
		Do: do("A token from an application credential or a trust does not prove who the user is. Let the user log in."),
	},
	"forbidden": {
		What: "The caller is not allowed to call this operation", Means: notAccepted, FixBy: by(Caller),
		Do: do("Some operations are for portals with an API key. Other operations are for operators with this service's admin role." +
			" /docs lists the callers of each operation."),
	},
	"run-of-operator": {
		What: "An operator has ordered the run", Means: runGoesOn, FixBy: by(Operator),
		Do: do("Only an operator can cancel it."),
	},
	"user-not-of-customer": {
		What: "The user does not belong to the customer", Means: notAccepted, FixBy: by(Merchant),
		Do: do("The user has no role on the customer's tenant, or the tenant does not exist. To add another user to the customer, send" +
			` "add_user": true: the run then gives the user its roles, and creates the tenant if it does not exist.`),
	},
	"suspended-by-operator": {
		What: "An operator has suspended the subscription", Means: notAccepted, FixBy: by(Operator),
		Do: do("Only an operator can resume it."),
	},
	"sign-up-off": {
		What: "The portal may neither register users nor log users in", Means: notAccepted, FixBy: by(Operator),
		Do: []Step{{Text: "An operator can switch both on for the merchant.", Command: "tenantry merchant update {merchant} --sign-up"}},
	},
	"audit-not-found": {
		What: "There is no such audit", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("GET /v1/audits lists the audits."),
	},
	"finding-not-found": {
		What: "There is no such finding", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("GET /v1/findings lists the findings."),
	},
	"tenant-not-found": {
		What: "There is no such tenant", Means: notAccepted, FixBy: by(Caller),
		Do: do("Only projects that a run has made or used are shown. A portal sees only the tenants of its own merchant."),
	},
	"user-not-found": {
		What: "There is no such user", Means: notAccepted, FixBy: by(Caller),
		Do: do("Only users of runs are shown. A portal sees only the users of its own merchant."),
	},
	"customer-not-found": {
		What: "There is no such customer", Means: notAccepted, FixBy: by(Caller),
		Do: do("A portal sees only its own merchant's customers."),
	},
	"subscription-not-found": {
		What: "There is no such subscription", Means: notAccepted, FixBy: by(Caller),
		Do: do("A portal sees only its own merchant's subscriptions."),
	},
	"route-not-found": {
		What: "There is no such path", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("/docs lists the operations."),
	},
	"merchant-not-found": {
		What: "There is no such merchant", Means: notAccepted, FixBy: by(Caller),
		Do: do("A portal sees only the merchant of its API key."),
	},
	"run-not-found": {
		What: "There is no such run", Means: notAccepted, FixBy: by(Caller),
		Do: do("A portal sees only the runs of its own merchant."),
	},
	"plan-not-found": {
		What: "There is no such repair plan", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("POST /v1/repair-plans makes a plan. A plan that another installation has made is not known here."),
	},
	"method-not-allowed": {
		What: "The path does not allow this method", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("The Allow header lists the allowed methods."),
	},
	"finding-resolved": {
		What: "The finding is resolved", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("There is nothing to accept: the last audit that looked for the finding has not seen it."),
	},
	"plan-unchanged": {
		What: "The subscription has the plan already", Means: asWanted, FixBy: by(Caller),
		Do: do("There is nothing to change."),
	},
	"subscription-ending": {
		What: "The subscription has been ended", Means: notAccepted, FixBy: by(Caller),
		Do: do("Restore the subscription first. It can be restored until its tenant is removed."),
	},
	"subscription-ended": {
		What: "The subscription's tenant is removed", Means: notAccepted, FixBy: by(Caller),
		Do: do("The subscription can no longer be changed or restored."),
	},
	"subscription-not-ending": {
		What: "The subscription has not been ended", Means: notAccepted, FixBy: by(Caller),
		Do: do("There is nothing to restore or to remove. The detail says which run has changed the subscription last."),
	},
	"plan-gone": {
		What: "The subscription's plan no longer exists", Means: notAccepted, FixBy: by(Caller),
		Do: do("Change the subscription's plan, then restore the subscription."),
	},
	"ending-taken": {
		What: "The subscription's tenant is being removed", Means: notAccepted, FixBy: by(Operator),
		Do: do("A run has begun the removal. To stop the removal, hold that run."),
	},
	"tenant-enabled": {
		What: "The subscription's tenant is enabled", Means: notAccepted, FixBy: by(Operator),
		Do: do("Somebody has enabled the project in Keystone. Disable it, or restore the subscription."),
	},
	"tenant-not-settled": {
		What: "The subscription's tenant was disabled a few minutes ago", Means: notAccepted, FixBy: by(Caller),
		Do: do("Other services cache tokens. Ten minutes after the subscription was ended, its tenant can be removed."),
	},
	"run-compensated": {
		What: "The order failed and was compensated", Means: compensatedOrder, FixBy: by(Operator),
		Do: do("The fields detail and code say why the order failed. The field instance is the path of the run. The idempotency key" +
			" belongs to this run: order again with a new key, or ask an operator to retry the run."),
	},
	"retry-refused": {
		What: "The compensated run cannot be retried", Means: stillCompensated, FixBy: by(Operator),
		Do: do("The order of the run can no longer be accepted. The fields code and detail say why; fix_by says who can fix the cause." +
			" The idempotency key still belongs to the compensated run."),
	},
	"action-refused": {
		What: "The run's state does not allow the action", Means: runGoesOn, FixBy: by(Operator),
		Do: do(`The field "actions" of the run lists the allowed actions.`),
	},
	"merchant-exists": {
		What: "The merchant is already registered", Means: nobodyAffected, FixBy: by(Operator),
		Do: do("Update the merchant, or create a new key for it."),
	},
	"plan-expired": {
		What: "The repair plan is too old", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("Nothing was repaired. Audit again, and make a new plan: much may have changed in a week."),
	},
	"plan-of-other-installation": {
		What: "The repair plan was made by another installation", Means: nobodyAffected, FixBy: by(Caller),
		Do: do("Nothing was repaired. The database may be a copy. Audit again, and make a new plan."),
	},
	"subscription-not-ready": {
		What: "The subscription is still being made", Means: notAccepted, FixBy: by(Caller),
		Do: do("Wait until the run that makes the subscription has ended, or cancel that run."),
	},
	"subscription-active": {
		What: "The subscription is not suspended", Means: asWanted, FixBy: by(Caller),
		Do: do("There is nothing to resume."),
	},
	"subscription-suspended": {
		What: "The subscription is suspended already", Means: asWanted, FixBy: by(Caller),
		Do: do("There is nothing to suspend."),
	},
	"tenant-gone": {
		What: "The subscription's tenant no longer exists", Means: notAccepted, FixBy: by(Operator),
		Do: do("Somebody has deleted the project in Keystone."),
	},
	"tenant-disabled": {
		What: "The subscription's tenant is disabled, but not by Tenantry", Means: notAccepted, FixBy: by(Operator),
		Do: do("Somebody has disabled the project in Keystone. Therefore, Tenantry does not change it. The detail names the project to" +
			" enable."),
	},
	"tenant-not-ours": {
		What: "The subscription's tenant is not Tenantry's", Means: notAccepted, FixBy: by(Operator),
		Do: do("The project existed before the subscription, or has lost its name or Tenantry's tags. Tenantry neither disables nor" +
			" enables it."),
	},
	"user-exists": {
		What: "A user with this name exists already", Means: notAccepted, FixBy: by(User),
		Do: do("Names that differ only in upper and lower case count as the same name. Let the user choose another name, or log in."),
	},
	"precondition-failed": {
		What: "The run has changed", Means: runGoesOn, FixBy: by(Caller),
		Do: do("Read the run again before you repeat the action."),
	},
	"body-too-large": {
		What: "The body is too large", Means: notAccepted, FixBy: by(Caller),
		Do: do("The limit is 114688 bytes."),
	},
	"content-type-unsupported": {
		What: "The body is not JSON", Means: notAccepted, FixBy: by(Caller),
		Do: do("Send Content-Type: application/json."),
	},
	"content-encoding-unsupported": {
		What: "The body is compressed", Means: notAccepted, FixBy: by(Caller),
		Do: do("Send the body without compression and without the header Content-Encoding."),
	},
	"idempotency-key-reused": {
		What: "The Idempotency-Key belongs to another order", Means: notAccepted, FixBy: by(Caller),
		Do: do("A key belongs to one order and never expires. Send a new key with a new order."),
	},
	"audits-waiting": {
		What: "Too many audits wait", Means: nobodyAffected, FixBy: by(Nobody),
		Do: do("The audit was not accepted. One audit is executed at a time. Repeat the call after Retry-After."),
	},
	"quota-exceeded": {
		What: "The merchant has too many live runs", Means: notAccepted, FixBy: by(Nobody),
		Do: do("The header RateLimit-Policy contains the limit. Repeat the call after Retry-After, with the same key."),
	},
	"too-many-requests": {
		What: "Too many of your requests are under way", Means: notAccepted, FixBy: by(Caller),
		Do: do("The request was not accepted. Repeat the call after Retry-After; repeat an order with the same key. Send fewer" +
			" requests at a time."),
	},
	"login-rate-exceeded": {
		What: "Too many logins and registrations", Means: notAccepted, FixBy: by(Caller),
		Do: do("The header RateLimit-Policy contains the limits for one name, for one visitor and for the merchant. Repeat the call" +
			" after the time in the header Retry-After. Repeat a registration with the same key."),
	},
	"internal-error": {
		What: "The service failed", Means: perhapsAccepted, FixBy: by(Operator),
		Do: do("Search the service's log for the request_id. You may repeat an order with the same key."),
	},
	"upstream-unavailable": {
		What: "The database or an upstream is not available", Means: notAccepted, FixBy: by(Administrator),
		Do: do("The request was not accepted. Repeat the request after Retry-After. Repeat an order with the same key."),
	},
	"configuration-fault": {
		What: "The service is not configured for this request", Means: notAccepted, FixBy: by(Operator),
		Do: do("The cloud, the domain or a role of the merchant does not exist, or the service refuses the role. Search the service's" +
			" log for the request_id."),
	},
	"overloaded": {
		What: "Too many requests arrived at once", Means: notAccepted, FixBy: by(Nobody),
		Do: do("The request was not accepted. Repeat the call after Retry-After; repeat an order with the same key."),
	},
	"outcome-unknown": {
		What: "The order may have been accepted", Means: perhapsAccepted, FixBy: by(Nobody),
		Do: do("Repeat the call with the same key: the order is accepted only once."),
	},
}
