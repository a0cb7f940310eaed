package billing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

var (
	// ErrNotFound is returned if an object does not exist or belongs to another merchant.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned if an id belongs to a different object, or if another object refers to the object to delete.
	ErrConflict = errors.New("conflict")
	// ErrReference is returned if an object refers to another object that does not exist.
	ErrReference = errors.New("unknown reference")
	// ErrText is returned if BillingStack's database cannot store the characters of a text.
	ErrText = errors.New("the text cannot be stored")
	// ErrInvalid is returned if an argument is invalid. The client returns ErrInvalid without sending a request.
	ErrInvalid = errors.New("invalid argument")
)

// Service identifies BillingStack in errors. Every method of [Client] that fails returns an *[upstream.Error]. This table lists
// the class of each error, and whether the effect of a write may have happened:
//
//	answer                                         class        may be done (a write)
//	400, 413, other 4xx                            Permanent    no
//	401, 403                                       Unavailable  no   BillingStack has no logins, so a proxy refused the request
//	404 with the object's id as its text           Permanent    no   ErrNotFound; success for a Remove; never for a POST
//	any other 404, 405, 3xx                        Unavailable  no   wrong address or wrong API version
//	408, 429                                       Transient    no   Retry-After is kept
//	409                                            Permanent    no   after a look-up: an equal object is success
//	500 with the requested id as its text          Permanent    no   ErrNotFound: the original's form of a 404
//	500, look-up finds the wanted object           success
//	500, look-up finds another object              Permanent    no   ErrConflict
//	500, nothing found, a fault of the request     Permanent    no   NOT NULL, arity, malformed id; ErrReference, ErrText
//	500, nothing found, any other fault            Transient    no
//	500, and the look-up fails                     Transient    yes
//	500 because of a time-out behind the API       Transient    yes  the service behind the queue may still do it
//	500 on a read                                  Transient    no   Permanent if the request is at fault
//	502, 504, other 5xx                            Transient    yes
//	503                                            Unavailable  yes  some proxies return 503 after they passed the request on
//	refused, no such host, no TLS, no connection   Unavailable  no
//	the caller's context ends before sending       Transient    no
//	not sent by Config.Enter                       Transient    no   Unavailable if the circuit is open
//	reset, time-out or cut after connecting        Transient    yes
//	truncated, too long, not JSON, another object  Transient    yes  Permanent if a new object does not have the chosen id
//
// For a read, only the class applies, because a read has no effect.
var Service = upstream.Service{ID: "billingstack", Name: "BillingStack"}

// ForeignSubscriptionsError means that a customer was not removed, because it has subscriptions that the caller does not own. The
// client returns a ForeignSubscriptionsError wrapped in a Permanent error. An operator must decide what happens to the
// subscriptions.
type ForeignSubscriptionsError struct {
	CustomerID      string
	SubscriptionIDs []string
}

// Error returns a text with the ids of the customer and the subscriptions.
func (e *ForeignSubscriptionsError) Error() string {
	return fmt.Sprintf("customer %s was not deleted, because it has subscriptions that the caller does not own: %s",
		e.CustomerID, strings.Join(e.SubscriptionIDs, ", "))
}
