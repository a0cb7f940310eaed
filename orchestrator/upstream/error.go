package upstream

import (
	"fmt"
	"time"
)

// OpenError says that a call was not made: its upstream is out of order and left alone for a while.
type OpenError struct {
	name       string
	retryAfter time.Duration
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("%s is out of order and left alone for %s", e.name, e.retryAfter.Round(time.Second))
}

// NotSent is true.
func (e *OpenError) NotSent() bool { return true }

// RetryAfter is how long it is until the upstream is tried again; more than 0.
func (e *OpenError) RetryAfter() time.Duration { return e.retryAfter }

// Upstream names it, as Gates.Open does.
func (e *OpenError) Upstream() string { return e.name }

// waitError says that a call was given up while it waited for its turn.
type waitError struct {
	name string
	err  error
}

func (e *waitError) Error() string {
	return "waiting for a connection to " + e.name + ": " + e.err.Error()
}

func (e *waitError) Unwrap() error { return e.err }

// NotSent is true.
func (e *waitError) NotSent() bool { return true }
