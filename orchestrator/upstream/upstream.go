// Package upstream has the types that all calls to other services share: the caller for whom a call is made, the class of an error,
// and the error of a request that was not sent.
package upstream

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// Class is the class of an error: whether the caller should retry, wait, or give up.
type Class int

// The error classes. The zero value of Class is not an error class. The class does not say whether the call may have taken effect:
// see Error.MaybeDone.
const (
	Transient   Class = iota + 1 // retry soon
	Unavailable                  // the service is down, or it refuses our credential: wait
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
	ID   string // such as "billingstack"; stored with failures, and the prefix of failure codes
	Name string // the name for people, such as "BillingStack"
}

// Error is the failure of a call. An Error contains no secret.
type Error struct {
	Service Service
	Class   Class
	// MaybeDone reports that the call may have taken effect, or may still take effect. Look for the effect before you repeat the call.
	MaybeDone bool
	// Op is the operation of the call, as a gerund with its object, such as `creating project "x"`.
	Op string
	// Status is the HTTP status of the answer; 0 if there was no answer.
	Status int
	// RequestID is the id that the service gave the request; empty if the service sent no id.
	RequestID string
	// RetryAfter is the time to wait before the next call, as demanded by the service or by its open circuit. RetryAfter is at most 1 h,
	// and zero if there is no such demand.
	RetryAfter time.Duration
	// Message is the service's error message, cut and cleaned by [Clean].
	Message string
	// OwnCredential reports that the service refused Tenantry's own credential. Only an operator can fix this failure.
	OwnCredential bool
	// Err is a sentinel of the client's package, or the error of the network.
	Err error
}

// Error returns one line with the operation, the cause, and the answer of the service.
func (e *Error) Error() string {
	parts := []string{e.Op}
	if e.OwnCredential && RefusedLogin(e.Err) == nil {
		parts = append(parts, e.Service.Name+" refuses Tenantry's credential")
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

// Circuit returns the name of the upstream whose open circuit prevented the request. If no circuit was open, the result is empty.
func (e *Error) Circuit() string {
	if kept, ok := asNotSent(e.Err); ok {
		return kept.Circuit
	}
	return ""
}

// Clean returns a text from outside in a form that is safe to store, log and show. The result is valid UTF-8 without NUL, at most 1
// KiB long, and without white space at its ends.
func Clean(s string) string {
	const limit = 1 << 10
	if len(s) > 4*limit { // the rest of a very long text is ignored
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

// Caller identifies the merchant and the run for which a call is made.
type Caller struct {
	Merchant string
	// RequestID is the global request id that is sent with the call: "req-" and a UUID. If RequestID is empty, no id is sent.
	RequestID string
	// MayWrite is called just before a request is written. If MayWrite returns an error, the request is not sent. If MayWrite is nil,
	// every request is sent.
	MayWrite func() error
	// If ReadOnly is true, requests that may change something are not sent. Only GET, HEAD and logins are sent.
	ReadOnly bool
	// Answered is called after each answer, with the id that the service gave to the request: see [RequestID]. If Answered is nil,
	// these ids are dropped.
	Answered func(requestID string)
}

type callerKey struct{}

// WithCaller returns a context for calls on behalf of c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller in ctx, or the zero value if ctx has no caller.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
