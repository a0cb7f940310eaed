// Command bench measures the cost of a subscribe through Tenantry. The benchmark compares Tenantry with the bare calls of a
// subscribe, and with a minimal program that stores the progress of these calls. bench prints tables, and writes the result as
// JSON and as a plot. `bench scale` measures whether finished runs make Tenantry slower. `bench audit` measures the cost of an audit.
// `bench usage` measures the cost of Ceilometer's samples.
//
// The command needs Linux and a PostgreSQL server on the same machine. TENANTRY_TEST_POSTGRES_URL is the server's URL. `make
// bench`, `make bench-scale`, `make bench-audit` and `make bench-usage` start such a server.
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

// Defaults of the flags. The numbers in docs/benchmarks.md are measured with these defaults.
const (
	defaultPasses = 3
	defaultLength = 2500 * time.Millisecond
	defaultCalls  = 200
)

func run() error {
	p := plan{delays: []time.Duration{0, 20 * time.Millisecond}, inFlight: []int{1, 16, 64}}
	flag.IntVar(&p.passes, "passes", defaultPasses, "`number` of passes over all contenders; with a number other than the default, bench writes no files")
	flag.DurationVar(&p.length, "length", defaultLength, "`duration` of each measurement; with a duration other than the default, bench writes no files")
	flag.StringVar(&p.binary, "binary", "bin/tenantry", "path of the tenantry binary, the `file` that make build writes")
	only := flag.String("only", strings.Join(contenders, ","), "comma-separated `contenders` to measure; with a list other than the default, bench writes no files")
	out := flag.String("out", "bench", "`directory` to write the result and its plot to")
	sizes := flag.String("sizes", "", "with scale: comma-separated `numbers` of finished runs (default 1000,100000,1000000); with audit: the numbers of subscriptions "+
		"with the real Keystone and with the in-memory Keystone (default 5000,50000); with usage: the numbers of stored samples (default 0,10000000); "+
		"with numbers other than the default, bench writes no files")
	calls := flag.Int("calls", defaultCalls, "with scale: `number` of calls of each operation in a pass; with a number other than the default, bench writes no files")
	docs := flag.String("docs", "docs/benchmarks.md", "the Markdown `file` whose tables are replaced")
	flag.Parse()
	if flag.NArg() > 1 {
		return fmt.Errorf("unexpected arguments %q: put all flags before %q", flag.Args()[1:], flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch flag.Arg(0) {
	case "scale":
		return runScale(ctx, scale{passes: p.passes, calls: *calls}, *sizes, *out, *docs)
	case "audit":
		return runAudits(ctx, audits{passes: p.passes, binary: p.binary}, *sizes, *out, *docs)
	case "usage":
		return runUsages(ctx, usages{passes: p.passes, binary: p.binary}, *sizes, *out, *docs)
	case memoryKeystone:
		return serveKeystone()
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
	if s.sizes, err = parseSizes(sizes, defaultSizes, 1000); err != nil {
		return err
	}
	slices.Sort(s.sizes)
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
