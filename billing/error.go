package billing

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kind says what can be done about an Error.
type Kind int

const (
	// Permanent is a refusal of the request itself: sent again, it is refused again.
	Permanent Kind = iota + 1
	// Transient may be tried again: nothing happened.
	Transient
	// Unavailable means that BillingStack is not there, or something else answers at its address.
	Unavailable
	// Unknown means that the request may have been carried out.
	Unknown
)

// String names the kind as it is stored and shown.
func (k Kind) String() string {
	switch k {
	case Permanent:
		return "permanent"
	case Transient:
		return "transient"
	case Unavailable:
		return "unavailable"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("kind %d", int(k))
}

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

// Error is what every call of Client returns when it does not succeed. What came back decides it:
//
//	answer                                         kind         may be done (a write)
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
//	500, and the look-up fails                     Unknown      yes
//	500 that tells of a time-out behind the API    Unknown      yes  the service behind the queue may still do it
//	500 on a read                                  Transient    no   Permanent where the fault is the request's
//	502, 504, other 5xx                            Unknown      yes
//	503                                            Unavailable  yes  some proxies say it after they passed the request on
//	refused, no such host, no TLS, no connection   Unavailable  no
//	the caller's context ends before sending       Transient    no
//	turned away by Config.Enter                    Transient    no   Unavailable, and kept, where it says how long
//	reset, time-out, cut once a connection stands  Unknown      yes
//	truncated, too long, not JSON, another object  Unknown      yes  another id than the one chosen: Permanent
//
// A read is never "may be done": its row then holds for the kind alone.
type Error struct {
	Kind       Kind
	Op         string        // what was being done, as a gerund with its object
	Status     int           // the HTTP status, 0 without an answer
	RetryAfter time.Duration // what the server asked for, 0 when it did not
	Message    string        // the first line of the fault: at most 1 KiB, valid UTF-8 without NUL
	MaybeDone  bool          // the effect may have taken place, or may yet: look first next time
	Err        error         // a sentinel of this package or the transport's error
}

// Error reads as a sentence: what was being done, what came back, why.
func (e *Error) Error() string {
	parts := []string{e.Op}
	if e.Status != 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("BillingStack answered %d %s", e.Status, http.StatusText(e.Status))))
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

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
