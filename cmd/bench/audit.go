package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"
)

// The type `audits` has the parameters of `bench audit`, which compares the cost of an audit with the cost of bare reads of the same lists.
type audits struct {
	passes int
	binary string
	sizes  []int // two numbers of subscriptions: with the real Keystone, and with the in-memory Keystone; 0 skips that Keystone
}

var defaultAudits = []int{5_000, 50_000}

// leastAudited is the minimum number of subscriptions. With fewer subscriptions, the damages would remove a large part of a list, and the
// audit would report suspect-absence.
const leastAudited = 200

// Limits of an audit of the default sizes.
const (
	maxRatio     = 2.0 // with the real Keystone: the time of an audit, divided by the time of the bare reads
	maxRealMiB   = 150
	maxSeconds   = 60.0 // with the in-memory Keystone
	maxMemoryMiB = 500
)

func runAudits(ctx context.Context, a audits, sizes, out, docs string) (err error) {
	if a.sizes, err = parseSizes(sizes, defaultAudits, 0); err != nil {
		return err
	}
	if len(a.sizes) > len(defaultAudits) || slices.ContainsFunc(a.sizes, func(n int) bool { return n > 0 && n < leastAudited }) {
		return fmt.Errorf("-sizes: %q must be one or two numbers, each 0 or at least %d", sizes, leastAudited)
	}
	result, err := a.measure(ctx)
	if err != nil {
		return err
	}
	table := result.table()
	if _, err := fmt.Fprint(os.Stdout, table); err != nil || !slices.Equal(a.sizes, defaultAudits) || a.passes != defaultPasses {
		return err
	}
	return errors.Join(result.write(out), show(docs, "bench-audit", table), result.missed())
}

// The method `measure` makes a world for each kind of Keystone, and measures audits of these worlds.
func (a audits) measure(ctx context.Context) (_ *auditResult, err error) {
	server, err := connect(ctx, os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	if err != nil {
		return nil, fmt.Errorf("connecting to the PostgreSQL server at TENANTRY_TEST_POSTGRES_URL: %w", err)
	}
	defer func() { err = errors.Join(err, server.close(context.WithoutCancel(ctx))) }()
	result := newAuditResult()
	for i, n := range a.sizes {
		if n == 0 {
			continue
		}
		start, roles := realCloud, []string{"member", "bs-admin"}
		if i == 1 {
			start, roles = memoryCloud, []string{"member", "bs-admin", "bs-operator"}
		}
		if err := a.world(ctx, server, start, roles, n, result); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// The method `world` makes a world, measures audits of the world, and stops the world's Keystone.
func (a audits) world(
	ctx context.Context, server *database, start func(context.Context) (*cloud, error), roles []string, n int, result *auditResult,
) (err error) {
	c, err := start(ctx)
	if err != nil {
		return fmt.Errorf("starting Keystone: %w", err)
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	began := time.Now()
	w, err := newWorld(ctx, server, c, a.binary, roles, n)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.conn.Close(context.WithoutCancel(ctx))) }()
	note("%d subscriptions: filled in %.0f s", n, time.Since(began).Seconds())
	m, err := a.passesOf(ctx, w)
	if err != nil {
		return err
	}
	result.Worlds = append(result.Worlds, m)
	if c.file == "" {
		return nil
	}
	result.Cut, err = w.compareCut(ctx)
	return err
}

// passesOf measures audits. In each pass, the bare reads are measured before and after the audit.
func (a audits) passesOf(ctx context.Context, w *world) (m *auditedWorld, err error) {
	m = &auditedWorld{Real: w.file != ""}
	v, err := serve(ctx, w.binary, w.environment(""))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	if m.IdleMiB, err = memory(v.process.Pid, "VmRSS"); err != nil {
		return nil, err
	}
	for range a.passes {
		before, bytes, err := w.bareReads(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the lists: %w", err)
		}
		idle, err := processTime(v.process.Pid, false)
		if err != nil {
			return nil, err
		}
		one, err := w.audit(ctx, v.url)
		if err != nil {
			return nil, fmt.Errorf("auditing: %w", err)
		}
		busy, err := processTime(v.process.Pid, false)
		if err != nil {
			return nil, err
		}
		after, _, err := w.bareReads(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the lists: %w", err)
		}
		if err := w.clean(one); err != nil {
			return nil, err
		}
		m.add(before, after, one, busy-idle)
		m.Read, m.MiB = one.Read, float64(bytes)/(1<<20)
		note("bare reads %.2f s and %.2f s, audit %.2f s", before.Seconds(), after.Seconds(), one.took.Seconds())
	}
	m.PeakMiB, err = memory(v.process.Pid, "VmHWM")
	m.finish()
	return m, err
}

// The type `ended` is an audit that has ended.
type ended struct {
	ID, State, Failure string
	Gaps               json.RawMessage
	Found, Read        map[string]int

	took time.Duration // from the request until the audit had ended
}

// The method `audit` requests an audit of everything, and waits until the audit has ended. Meanwhile, it polls the database instead of
// the API, so that Keystone need not check tokens.
func (w *world) audit(ctx context.Context, api string) (one ended, err error) {
	began := time.Now()
	if _, err := call(ctx, http.MethodPost, api+"/v1/audits", w.token, "{}", &one); err != nil {
		return one, err
	}
	for {
		var over bool
		if err := w.conn.QueryRow(ctx, "SELECT ended_at IS NOT NULL FROM audits WHERE id = $1", one.ID).Scan(&over); err != nil {
			return one, err
		}
		if over {
			break
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return one, err
		}
	}
	one.took = time.Since(began)
	_, err = call(ctx, http.MethodGet, api+"/v1/audits/"+one.ID, w.token, "", &one)
	return one, err
}

// The method `clean` returns an error if the audit has not read everything, or has findings.
func (w *world) clean(a ended) error {
	n := len(w.copies) + 1
	want := map[string]int{"run": n, "customer": n, "subscription": n, "project": 2 * n, "user": n}
	for kind, n := range want {
		if a.Read[kind] != n {
			return fmt.Errorf("the audit has read %d of %d objects of kind %s", a.Read[kind], n, kind)
		}
	}
	if least := 2 * n * len(w.roles); a.Read["role-assignment"] < least {
		return fmt.Errorf("the audit has read %d of %d role assignments", a.Read["role-assignment"], least)
	}
	if a.State != "complete" || len(a.Found) > 0 {
		return fmt.Errorf("the audit is %s, and has found %v: %s %s", a.State, a.Found, a.Gaps, a.Failure)
	}
	return nil
}
