// Package upstream has what the calls to all other services share: the caller on whose behalf a call is made, the class of an
// error, and the error of a request that was not sent.
package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Class says what to do about an error.
type Class int

// The error classes; the zero value is none of them. An error also says whether the call may have taken effect.
const (
	Transient   Class = iota + 1 // retry soon
	Unavailable                  // the service, or our credential there, is down: wait
	Permanent                    // retrying cannot help
	Blocked                      // an operator must decide
)

// String returns the class in lower case.
func (c Class) String() string {
	if c < Transient || c > Blocked {
		return fmt.Sprintf("class %d", int(c))
	}
	return [...]string{"transient", "unavailable", "permanent", "blocked"}[c-Transient]
}

// Service is a service that Tenantry calls.
type Service struct {
	ID   string // "billingstack": stored with failures, and the prefix of their codes
	Name string // "BillingStack": for people
}

// Error is the failure of a call. It holds no secret.
type Error struct {
	Service Service
	Class   Class
	// MaybeDone reports that the call may have taken effect, or may still do so: look before you repeat it.
	MaybeDone bool
	// Op is what the call was doing, as a gerund with its object: `creating project "x"`.
	Op string
	// Status is the HTTP status of the answer; 0 if there was none.
	Status int
	// RequestID is the service's id of the request; empty if it sent none.
	RequestID string
	// RetryAfter is how long the service, or its open circuit, asks to wait; 0 if neither does.
	RetryAfter time.Duration
	// Message is the service's error message, cut and cleaned by [Clean].
	Message string
	// OwnCredential reports that the service refused Tenantry's own credential. Only an operator can fix that.
	OwnCredential bool
	// Err is a sentinel of the client's package, or the error of the network.
	Err error
}

// Error returns a sentence: what was being done, what the service answered, and why.
func (e *Error) Error() string {
	parts := []string{e.Op}
	if e.OwnCredential {
		parts = append(parts, "the service's own credential is refused")
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	if e.Status != 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s answered %d %s", e.Service.Name, e.Status, http.StatusText(e.Status))))
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	text := strings.Join(parts, ": ")
	if e.RequestID != "" {
		text += " (" + e.RequestID + ")"
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Code returns a stable word for the failure, such as "keystone-unavailable".
func (e *Error) Code() string {
	what := "busy"
	switch {
	case e.Class == Blocked:
		what = "blocked"
	case e.Class == Permanent:
		what = "refused"
	case e.OwnCredential:
		what = "credential-refused"
	case e.Class == Unavailable:
		what = "unavailable"
	case e.MaybeDone || e.Status == 0 && !NotSent(e.Err):
		what = "no-answer"
	}
	return e.Service.ID + "-" + what
}

// Circuit returns the upstream whose circuit was open, so that nothing was sent; empty if no circuit was open.
func (e *Error) Circuit() string {
	if kept, ok := asNotSent(e.Err); ok {
		return kept.Circuit
	}
	return ""
}

// Clean makes text from outside safe to store, log and show: valid UTF-8 without NUL, at most 1 KiB, without white space at its
// ends.
func Clean(s string) string {
	const limit = 1 << 10
	if len(s) > 4*limit { // the rest of a large page cannot matter
		s = s[:4*limit]
	}
	s = strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD"))
	if len(s) <= limit {
		return s
	}
	cut := limit
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// Caller says on whose behalf a call is made.
type Caller struct {
	Merchant string
	// RequestID is the global request id sent with the call, "req-" and a UUID; empty: none.
	RequestID string
	// MayWrite is called just before a request is written. If it returns an error, the request is not sent. nil: every request is
	// sent.
	MayWrite func() error
	// Answered receives the service's id of each answered request. nil: the ids are dropped.
	Answered func(requestID string)
}

type callerKey struct{}

// WithCaller returns a context for calls on behalf of c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller in ctx; the zero value if there is none.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
