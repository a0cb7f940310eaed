package upstream

import (
	"errors"
	"time"
)

// NotSentError reports that no part of a request was sent.
type NotSentError struct {
	// Circuit is the name of the upstream whose circuit is open. If the request was not sent for another reason, Circuit is empty.
	Circuit string
	// RetryAfter is the time to wait before a repetition. RetryAfter is not longer than the time until the next trial of the
	// upstream. If Circuit is empty, RetryAfter is 0.
	RetryAfter time.Duration
	// Err is the reason why the request was not sent.
	Err error
}

func (e *NotSentError) Error() string { return e.Err.Error() }

// Unwrap returns the reason why the request was not sent.
func (e *NotSentError) Unwrap() error { return e.Err }

// Class returns Unavailable if a circuit was open, and Transient otherwise.
func (e *NotSentError) Class() Class {
	if e.Circuit != "" {
		return Unavailable
	}
	return Transient
}

// NotSent reports whether err is or wraps a NotSentError.
func NotSent(err error) bool {
	kept, ok := asNotSent(err)
	return ok && kept != nil
}

func asNotSent(err error) (*NotSentError, bool) { return errors.AsType[*NotSentError](err) }
