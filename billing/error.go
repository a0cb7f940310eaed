package billing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

var (
	// ErrNotFound matches when BillingStack knows no such object, or it is another merchant's.
	ErrNotFound = errors.New("not found")
	// ErrConflict matches when the id belongs to a different object, or something still refers to the object.
	ErrConflict = errors.New("conflict")
	// ErrReference matches when a new object names one that does not exist (the embedded server's store says so).
	ErrReference = errors.New("unknown reference")
	// ErrInvalid matches when an argument was refused before anything was sent.
	ErrInvalid = errors.New("invalid argument")
)

// Service names BillingStack in errors. Every call of [Client] that does not succeed returns an *[upstream.Error]:
//
//	answer                                         class        may be done (a write)
//	400, 413, other 4xx                            Permanent    no
//	401, 403                                       Unavailable  no   BillingStack has no logins: a proxy refuses us
//	404 in BillingStack's shape                    Permanent    no   ErrNotFound; success for a Remove
//	404, 405 or 3xx of something else              Unavailable  no   wrong address, or wrong version in it
//	408, 429                                       Transient    no   Retry-After is kept
//	409                                            Permanent    no   after a look-up: an equal object is success
//	500 that names the id asked for                Permanent    no   ErrNotFound: the original's way to say 404
//	500, then the look-up finds what was wanted    success
//	500, look-up finds another object              Permanent    no   ErrConflict
//	500, nothing found, a fault of the request     Permanent    no   foreign key, NOT NULL, arity, malformed id
//	500, nothing found, any other fault            Transient    no
//	500, and the look-up fails                     Transient    yes
//	500 that tells of a time-out behind the API    Transient    yes  the service behind the queue may still do it
//	500 on a read                                  Transient    no   Permanent where the fault is the request's
//	502, 504, other 5xx                            Transient    yes
//	503                                            Unavailable  yes  some proxies say it after they passed the request on
//	refused, no such host, no TLS, no connection   Unavailable  no
//	the caller's context ends before sending       Transient    no
//	kept back by Config.Enter                      Transient    no   Unavailable if the circuit is open
//	reset, time-out, cut once a connection stands  Transient    yes
//	truncated, too long, not JSON, another object  Transient    yes  another id than the one chosen: Permanent
//
// A read is never "may be done": its row then holds for the class alone.
var Service = upstream.Service{ID: "billingstack", Name: "BillingStack"}

// ForeignSubscriptionsError says that a customer was not removed because it has subscriptions that the
// caller did not call its own. It comes inside a Permanent Error; an operator must decide.
type ForeignSubscriptionsError struct {
	CustomerID      string
	SubscriptionIDs []string
}

// Error names the customer and its subscriptions.
func (e *ForeignSubscriptionsError) Error() string {
	return fmt.Sprintf("customer %s has other subscriptions: %s", e.CustomerID, strings.Join(e.SubscriptionIDs, ", "))
}
