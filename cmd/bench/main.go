// Command bench measures what Tenantry costs compared with the bare calls of a subscribe, and with the least that one would write
// by hand to be able to resume them. It prints tables, and writes the result as JSON with a plot. `bench scale` measures whether
// finished runs make it slower.
//
// It needs Linux, and a PostgreSQL on the same machine at TENANTRY_TEST_POSTGRES_URL: see `make bench` and `make bench-scale`.
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

// The defaults, with which the published numbers are measured.
const (
	defaultPasses = 3
	defaultLength = 2500 * time.Millisecond
	defaultCalls  = 200
)

func run() error {
	p := plan{delays: []time.Duration{0, 20 * time.Millisecond}, inFlight: []int{1, 16, 64}}
	flag.IntVar(&p.passes, "passes", defaultPasses, "`number` of passes over all contenders; with another number nothing is written")
	flag.DurationVar(&p.length, "length", defaultLength, "`duration` of a contender in a pass; with another duration nothing is written")
	flag.StringVar(&p.binary, "binary", "bin/tenantry", "the `file` that make build writes")
	only := flag.String("only", strings.Join(contenders, ","), "the `contenders`; with fewer nothing is written")
	out := flag.String("out", "bench", "`directory` of the result and its plot")
	sizes := flag.String("sizes", "1000,100000,1000000", "with scale: `numbers` of finished runs; with other numbers nothing is written")
	calls := flag.Int("calls", defaultCalls, "with scale: `number` of calls of each operation in a pass; with another number nothing is written")
	docs := flag.String("docs", "docs/benchmarks.md", "the `file` with the tables")
	flag.Parse()
	if flag.NArg() > 1 {
		return fmt.Errorf("%q: put flags before %s", flag.Args()[1:], flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch flag.Arg(0) {
	case "scale":
		return runScale(ctx, scale{passes: p.passes, calls: *calls}, *sizes, *out, *docs)
	case "upstreams":
		return serveUpstreams()
	case "":
	default:
		return contend(flag.Arg(0))
	}
	p.contenders = strings.Split(*only, ",")
	result, err := p.measure(ctx)
	if err != nil {
		return err
	}
	tables := result.tables()
	if _, err := fmt.Fprint(os.Stdout, tables); err != nil {
		return err
	}
	if !slices.Equal(p.contenders, contenders) || p.passes != defaultPasses || p.length != defaultLength {
		return nil
	}
	return errors.Join(result.write(*out), show(*docs, "bench", tables))
}

func runScale(ctx context.Context, s scale, sizes, out, docs string) (err error) {
	if s.sizes, err = parseSizes(sizes); err != nil {
		return err
	}
	result, err := s.measure(ctx)
	if err != nil {
		return err
	}
	table := result.table()
	if _, err := fmt.Fprint(os.Stdout, table); err != nil || !slices.Equal(s.sizes, defaultSizes) || s.passes != defaultPasses || s.calls != defaultCalls {
		return err
	}
	return errors.Join(result.write(out), show(docs, "bench-scale", table))
}
