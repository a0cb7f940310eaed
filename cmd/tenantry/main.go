// Command tenantry is the server of the orchestrator, and the command-line tool for portals and operators.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)   // a second signal ends the process at once
	signal.Ignore(syscall.SIGPIPE) // a closed pipe must not end the process before its cleanup
	p := program{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// The type `program` has the input, output and environment of one execution of the command.
type program struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
}
