// Command tenantry is the orchestrator: its server, and the tools of those who run it.
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
	signal.Ignore(syscall.SIGPIPE) // or who reads no further would keep us from cleaning up
	p := program{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}
	os.Exit(p.run(ctx, os.Args[1:]))
}

// program is one call of the command, with what it reads and writes.
type program struct {
	in       io.Reader
	out, err io.Writer
	environ  []string
}
