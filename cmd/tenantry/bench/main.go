// Command bench measures what Tenantry costs beside the bare calls of a subscribe, and beside the least that one would
// write by hand to be able to resume them. It prints tables, and writes the result as JSON, and a plot of it.
//
// It needs Linux, and a PostgreSQL on the same machine at TENANTRY_TEST_POSTGRES_URL: see `make bench`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	p := plan{delays: []time.Duration{0, 20 * time.Millisecond}, inFlight: []int{1, 16, 64}}
	flag.IntVar(&p.passes, "passes", 3, "how often everything is measured, by turns")
	flag.DurationVar(&p.length, "length", 2500*time.Millisecond, "how long each contender works in a pass")
	flag.StringVar(&p.binary, "binary", "bin/tenantry", "what `make build` built")
	only := flag.String("only", strings.Join(contenders, ","), "the contenders; with fewer than all nothing is written")
	out := flag.String("out", "bench", "the directory of the result and its plot")
	docs := flag.String("docs", "docs/benchmarks.md", "the page that shows the tables")
	flag.Parse()
	switch flag.Arg(0) {
	case "upstreams":
		return serveUpstreams()
	case "":
	default:
		return contend(flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p.contenders = strings.Split(*only, ",")
	result, err := p.measure(ctx)
	if err != nil {
		return err
	}
	tables := result.tables()
	if _, err := fmt.Fprint(os.Stdout, tables); err != nil {
		return err
	}
	if !slices.Equal(p.contenders, contenders) {
		return nil
	}
	return errors.Join(result.write(*out), show(*docs, tables))
}
