package upstream

import (
	"errors"
	"time"
)

// NotSentError says that a request was kept back: nothing of it left this process.
type NotSentError struct {
	// Circuit names the upstream whose circuit is open; empty if the request was kept back for another reason.
	Circuit string
	// RetryAfter is how long it is until the circuit is tried again; 0 where Circuit is empty.
	RetryAfter time.Duration
	// Err is why.
	Err error
}

func (e *NotSentError) Error() string { return e.Err.Error() }

// Unwrap returns why the request was kept back.
func (e *NotSentError) Unwrap() error { return e.Err }

// Class is Unavailable for an open circuit, else Transient.
func (e *NotSentError) Class() Class {
	if e.Circuit != "" {
		return Unavailable
	}
	return Transient
}

// NotSent reports whether err says that nothing was sent.
func NotSent(err error) bool {
	kept, ok := asNotSent(err)
	return ok && kept != nil
}

func asNotSent(err error) (*NotSentError, bool) { return errors.AsType[*NotSentError](err) }
