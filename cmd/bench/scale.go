package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenantry/tenantry/store"
)

// The type `scale` measures whether finished runs make the service slower. The benchmark measures the same operations on several
// databases, each with a different number of finished runs.
type scale struct {
	passes int
	calls  int   // number of calls of each operation in a pass
	sizes  []int // numbers of finished runs, in ascending order
}

var defaultSizes = []int{1_000, 100_000, 1_000_000}

// parseSizes returns the numbers in the text. A number below atLeast is an error. For an empty text, parseSizes returns a copy of the
// list `otherwise`.
func parseSizes(text string, otherwise []int, atLeast int) (sizes []int, err error) {
	if text == "" {
		return slices.Clone(otherwise), nil
	}
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < atLeast {
			return nil, fmt.Errorf("-sizes: %q must be a number of at least %d", field, atLeast)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// The type `filled` is a database with finished runs, and the data that the measurements need.
type filled struct {
	*store.Store

	runs     int
	targets  targets
	original *original
}

// The method `measure` fills the databases, measures the operations, and drops the databases. `measure` also drops the databases if
// ctx is canceled.
func (s scale) measure(ctx context.Context) (_ *scaleResult, err error) {
	server, err := connect(ctx, os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	if err != nil {
		return nil, fmt.Errorf("connecting to the PostgreSQL server at TENANTRY_TEST_POSTGRES_URL: %w", err)
	}
	defer func() { err = errors.Join(err, server.close(context.WithoutCancel(ctx))) }()
	result := newScaleResult()
	template, first, err := newTemplate(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("creating the template database: %w", err)
	}
	var databases []*filled
	defer func() {
		for _, f := range databases {
			err = errors.Join(err, f.Close())
		}
	}()
	var space spaceNeeded
	for _, n := range s.sizes {
		if err := space.check(ctx, server, n); err != nil {
			return nil, err
		}
		began := time.Now()
		f, bytes, err := fill(ctx, server, template, n)
		if err != nil {
			return nil, fmt.Errorf("inserting %d finished runs: %w", n, err)
		}
		f.original = first
		databases = append(databases, f)
		space.learn(n, bytes)
		result.Sizes = append(result.Sizes, scaleSize{Runs: n, MiB: float64(bytes) / (1 << 20), Seconds: time.Since(began).Seconds()})
		note("database with %d finished runs: %d MiB, filled in %.0f s", n, bytes>>20, time.Since(began).Seconds())
	}
	if _, err := server.conn.Exec(ctx, "CHECKPOINT"); err != nil {
		return nil, err
	}
	for _, phase := range phases {
		if err := s.phase(ctx, phase, databases, result); err != nil {
			return nil, err
		}
	}
	result.finish()
	return result, nil
}

// The method `phase` measures the operations of one phase. `phase` makes each call on all databases before it makes the next call.
// The database that comes first changes from call to call. Other load on the machine therefore affects all databases equally.
func (s scale) phase(ctx context.Context, p phase, databases []*filled, result *scaleResult) error {
	for _, f := range databases {
		if err := p.prepare(ctx, f); err != nil {
			return err
		}
	}
	for pass := range s.passes {
		for _, op := range p.operations {
			took := make([][]time.Duration, len(databases))
			for call := range s.calls {
				for i := range databases {
					at := (i + call) % len(databases)
					d, err := op.measure(ctx, databases[at], pass*s.calls+call)
					if err != nil {
						return fmt.Errorf("%s with %d finished runs: %w", op.name, databases[at].runs, err)
					}
					took[at] = append(took[at], d)
				}
			}
			result.add(op, took)
		}
	}
	return nil
}

// The function `note` prints a progress message to standard error.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
