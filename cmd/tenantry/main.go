// Command tenantry is the orchestrator: its server, and the command-line tools for portals and operators.
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
	signal.Ignore(syscall.SIGPIPE) // otherwise a reader that has closed the pipe would end the process before it cleans up
	p := program{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is one execution of the command, with its input, output and environment.
type program struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
}
