package billing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

var (
	// ErrNotFound is returned if BillingStack has no such object, or it belongs to another merchant.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned if the id belongs to a different object, or something still refers to the object.
	ErrConflict = errors.New("conflict")
	// ErrReference is returned if a new object refers to one that does not exist. Only the store of the embedded server returns it.
	ErrReference = errors.New("unknown reference")
	// ErrInvalid is returned if an argument was refused before anything was sent.
	ErrInvalid = errors.New("invalid argument")
)

// Service names BillingStack in errors. Every call of [Client] that does not succeed returns an *[upstream.Error]:
//
//	answer                                         class        may be done (a write)
//	400, 413, other 4xx                            Permanent    no
//	401, 403                                       Unavailable  no   BillingStack has no logins: a proxy refuses us
//	404 in BillingStack's format                   Permanent    no   ErrNotFound; success for a Remove
//	404, 405 or 3xx of another server              Unavailable  no   wrong address, or wrong version in it
//	408, 429                                       Transient    no   Retry-After is kept
//	409                                            Permanent    no   after a look-up: an equal object is success
//	500 with the requested id as its text          Permanent    no   ErrNotFound: the original's form of a 404
//	500, then the look-up finds what was wanted    success
//	500, look-up finds another object              Permanent    no   ErrConflict
//	500, nothing found, a fault of the request     Permanent    no   foreign key, NOT NULL, arity, malformed id
//	500, nothing found, any other fault            Transient    no
//	500, and the look-up fails                     Transient    yes
//	500 because of a time-out behind the API       Transient    yes  the service behind the queue may still do it
//	500 on a read                                  Transient    no   Permanent if the request is at fault
//	502, 504, other 5xx                            Transient    yes
//	503                                            Unavailable  yes  some proxies answer it after they passed the request on
//	refused, no such host, no TLS, no connection   Unavailable  no
//	the caller's context ends before sending       Transient    no
//	not sent by Config.Enter                       Transient    no   Unavailable if the circuit is open
//	reset, time-out or cut after connecting        Transient    yes
//	truncated, too long, not JSON, another object  Transient    yes  another id than the one chosen: Permanent
//
// For a read, "may be done" is never true; only the class applies.
var Service = upstream.Service{ID: "billingstack", Name: "BillingStack"}

// ForeignSubscriptionsError means that a customer was not removed, because it has subscriptions that the caller does not own. It
// is wrapped in a Permanent error. An operator must decide.
type ForeignSubscriptionsError struct {
	CustomerID      string
	SubscriptionIDs []string
}

// Error names the customer and its subscriptions.
func (e *ForeignSubscriptionsError) Error() string {
	return fmt.Sprintf("customer %s has other subscriptions: %s", e.CustomerID, strings.Join(e.SubscriptionIDs, ", "))
}
