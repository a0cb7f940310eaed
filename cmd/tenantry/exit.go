package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// These are the exit codes for some kinds of errors. A command exits with 0 after success, and with 1 after any other error.
const (
	exitUsage       = 2
	exitRefused     = 3
	exitFailed      = 4
	exitUnreachable = 5
	exitFindings    = 6
	exitIncomplete  = 7
)

const exitHelp = `Exit codes:
  0  success
  1  any other error occurred, the command was interrupted, or the reader of the output is gone
  2  wrong command line or configuration
  3  the server or Keystone refused the request, or the data in the database does not allow the command
  4  the run failed: it was compensated, is stuck, or waits for an operator; with --dry-run: it would fail; audit apply: a
     repair failed in this way, or was refused
  5  the server or the database is unreachable, or fails
  6  audit run: there are open findings of the severity of --severity or worse; bootstrap: an object exists but differs;
     doctor: a check fails
  7  audit run: the audit is incomplete or has failed`

// exitError is an error with an exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// The function `exit` returns err with the exit code. If err already has an exit code, `exit` keeps that code.
func exit(code int, err error) error {
	if _, has := errors.AsType[*exitError](err); err == nil || has {
		return err
	}
	return &exitError{code, err}
}

func usage(format string, args ...any) error { return exit(exitUsage, fmt.Errorf(format, args...)) }

// The method `run` executes a command line and returns the exit code. If the reader of the output is gone, `run` ends the command
// and prints no error.
func (p *program) run(ctx context.Context, args []string) int {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.out = &screen{to: p.out, broken: func() { stop(errOutputClosed) }}
	p.err = &screen{to: p.err}
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if errors.Is(context.Cause(ctx), errOutputClosed) {
		return 1
	}
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		p.say("tenantry: interrupted")
		return 1
	}
	for _, line := range linesOf(err) {
		p.say("tenantry: %s", line)
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 1
}

// errOutputClosed is the cause of a context that is canceled because the reader of the command's output is gone.
var errOutputClosed = errors.New("the reader of the output is gone")

// linesOf returns the text of an error, with one line for each error that was joined with errors.Join.
func linesOf(err error) []string {
	if e, ok := err.(*exitError); ok { //nolint:errorlint // only the outermost error is split into lines
		return linesOf(e.err)
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var lines, texts []string
		for _, one := range joined.Unwrap() {
			lines, texts = append(lines, linesOf(one)...), append(texts, one.Error())
		}
		if strings.Join(texts, "\n") == err.Error() {
			return lines
		}
	}
	return []string{err.Error()}
}

// The method `say` writes a message of one line to standard error.
func (p *program) say(format string, args ...any) {
	_, _ = fmt.Fprintln(p.err, visible(fmt.Sprintf(format, args...)))
}
