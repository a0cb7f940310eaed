package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Exit codes, besides 0 for success and 1 for all other errors.
const (
	exitUsage       = 2
	exitRefused     = 3
	exitFailed      = 4
	exitUnreachable = 5
)

const exitHelp = `Exit codes:
  0  success
  1  any other error, or interrupted
  2  wrong command line or configuration
  3  refused by the server, or because of the data in the database
  4  the run failed: it was compensated, is stuck, or waits for an operator
  5  server or database unreachable or failing`

// exitError is an error with an exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exit returns err with the exit code. If err already has an exit code, exit keeps that code.
func exit(code int, err error) error {
	if _, has := errors.AsType[*exitError](err); err == nil || has {
		return err
	}
	return &exitError{code, err}
}

func usage(format string, args ...any) error { return exit(exitUsage, fmt.Errorf(format, args...)) }

// run executes a command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		p.say("tenantry: %s", line)
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 1
}

// say writes a message to standard error.
func (p *program) say(format string, args ...any) { _, _ = fmt.Fprintf(p.err, format+"\n", args...) }
