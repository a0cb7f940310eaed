// Package upstream is what every call to another service shares: on whose behalf it is made, how its failure is
// classified, and how an error says that nothing was sent.
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

// The error classes; zero is none. An error also says whether the effect may have happened.
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

// Service is one of the services that are called.
type Service struct {
	ID   string // "billingstack": stored with failures, and the beginning of their codes
	Name string // "BillingStack": for people
}

// Error is a call that did not do what was asked. It holds no secret.
type Error struct {
	Service Service
	Class   Class
	// MaybeDone says that the effect may have taken place, or may still: look before repeating the call.
	MaybeDone bool
	// Op is what was being done, a gerund and the thing: `creating project "x"`.
	Op string
	// Status is the HTTP status of the answer; 0 if there was none.
	Status int
	// RequestID is the service's own id of the request; empty if it sent none.
	RequestID string
	// RetryAfter is what the service, or its open circuit, asked for; 0 if neither did.
	RetryAfter time.Duration
	// Message is what the service said, as [Clean] leaves it.
	Message string
	// OwnCredential says that the service's own credential was refused: only an operator can mend that.
	OwnCredential bool
	// Err is a sentinel of the client's package, or what the network said.
	Err error
}

// Error reads as a sentence: what was being done, what came back, and why.
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

// Code is a stable word for the failure: "keystone-unavailable".
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

// Circuit names the upstream whose circuit was open, so that nothing was sent; empty if it was not.
func (e *Error) Circuit() string {
	if kept, ok := asNotSent(e.Err); ok {
		return kept.Circuit
	}
	return ""
}

// Clean makes text from outside fit for a database, a log and a person: valid UTF-8 without NUL, at most 1 KiB, without
// white space at its ends.
func Clean(s string) string {
	const limit = 1 << 10
	if len(s) > 4*limit { // no need to look at the whole of a large page
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

// Caller is on whose behalf a call is made.
type Caller struct {
	Merchant string
	// RequestID is the global request id that goes with the call, "req-" and a UUID; empty: none.
	RequestID string
	// MayWrite is asked just before a request is written; its error keeps the request back. nil: it may.
	MayWrite func() error
	// Answered is told the service's own id of each request that was answered. nil: nobody wants it.
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
