package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// The type `meteredWorld` is a world whose subscriptions are metered, with a running `tenantry serve`.
type meteredWorld struct {
	*world
	*load

	stored      int
	posted      int // the samples that were posted so far
	key, secret string
	v           *server
	spool       string
	lanes       []*pgx.Conn // of the floor
	measured    *measuredUsage
}

// The method `world` makes a world with a number of stored samples.
func (u usages) world(ctx context.Context, server *database, stored int) (_ *meteredWorld, err error) {
	c, err := memoryCloud(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting Keystone: %w", err)
	}
	w := &meteredWorld{stored: stored, measured: &measuredUsage{Stored: stored}, world: &world{cloud: c}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(context.WithoutCancel(ctx)))
		}
	}()
	made, err := newWorld(ctx, server, c, u.binary, []string{"member", "bs-admin"}, projectsOfLoad)
	if err != nil {
		return nil, err
	}
	w.world = made
	projects := []string{w.like.SubscriptionTenant}
	for _, n := range w.copies {
		projects = append(projects, n.SubscriptionTenant)
	}
	w.load = newLoad(projects, samplesToWarm+u.passes*samplesOfPass)
	if err := w.newKey(ctx); err != nil {
		return nil, err
	}
	if err := w.fillSamples(ctx); err != nil {
		return nil, err
	}
	if err := w.newFloor(ctx); err != nil {
		return nil, err
	}
	if w.spool, err = os.MkdirTemp("", "tenantry-bench-spool-"); err != nil {
		return nil, err
	}
	if w.v, err = serve(ctx, w.binary, append(w.environment(""), "TENANTRY_USAGE_SPOOL="+filepath.Join(w.spool, "spool"))); err != nil {
		return nil, err
	}
	w.measured.IdleMiB, err = memory(w.v.process.Pid, "VmRSS")
	return w, err
}

func (w *meteredWorld) close(ctx context.Context) error {
	var faults []error
	if w.v != nil {
		faults = append(faults, w.v.stop())
	}
	for _, lane := range w.lanes {
		faults = append(faults, lane.Close(ctx))
	}
	if w.conn != nil {
		faults = append(faults, w.conn.Close(ctx))
	}
	if w.spool != "" {
		faults = append(faults, os.RemoveAll(w.spool))
	}
	return errors.Join(append(faults, w.stop())...)
}

// newKey creates a meter key.
func (w *meteredWorld) newKey(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, w.binary, "meter-key", "create", "-f", "json") //nolint:gosec // built by us
	cmd.Env = w.environment("")
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("creating the meter key: %w: %s", err, &faults)
	}
	var made struct{ Key, Secret string }
	err = json.Unmarshal(out, &made)
	w.key, w.secret = made.Key, made.Secret
	return err
}

// fillSamples stores the samples with negative numbers, their series, and the usage of their hours.
func (w *meteredWorld) fillSamples(ctx context.Context) error {
	if _, err := w.conn.Exec(ctx, "SET synchronous_commit = off; SET maintenance_work_mem = '512MB'"); err != nil {
		return err
	}
	for _, f := range []struct {
		table string
		fill  func(context.Context, pgx.Identifier) error
	}{{"samples", w.copySamples}, {"series", w.copySeries}, {"usage_amounts", w.copyAmounts}} {
		rebuild, err := table{name: f.table}.dropIndexes(ctx, w.conn)
		if err != nil {
			return err
		}
		if err := f.fill(ctx, pgx.Identifier{f.table}); err != nil {
			return fmt.Errorf("table %s: %w", f.table, err)
		}
		for _, statement := range append(rebuild, "VACUUM (ANALYZE) "+f.table) {
			if _, err := w.conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%s: %w", statement, err)
			}
		}
	}
	return w.conn.QueryRow(ctx, "SELECT pg_database_size(current_database()) / 1048576.0").Scan(&w.measured.MiB)
}

func (w *meteredWorld) copySamples(ctx context.Context, into pgx.Identifier) error {
	n := -w.stored - 1
	_, err := w.conn.CopyFrom(ctx, into, columnsOfSamples, pgx.CopyFromFunc(func() ([]any, error) {
		if n++; n == 0 {
			return nil, nil
		}
		return w.sampleRow(n), nil
	}))
	return err
}

// copySeries stores the series of the stored samples.
func (w *meteredWorld) copySeries(ctx context.Context, into pgx.Identifier) error {
	var rows [][]any
	for of, stored := range w.series {
		s := w.usageSeries(of)
		rows = append(rows, []any{
			stored.id, s.Cloud, s.Source, s.Project, s.Resource, s.Meter, string(s.Kind), metersOfLoad[of.meter].unit, stored.lastDay,
		})
	}
	_, err := w.conn.CopyFrom(ctx, into,
		[]string{"id", "cloud", "source", "project_id", "resource_id", "meter", "kind", "unit", "last_day"}, pgx.CopyFromRows(rows))
	return err
}

// copyAmounts stores a row for each project, meter, and hour with stored samples. Nothing reads these rows, so the amounts may be wrong.
func (w *meteredWorld) copyAmounts(ctx context.Context, into pgx.Identifier) error {
	if w.stored == 0 {
		return nil
	}
	var rows [][]any
	for hour := w.sample(-w.stored).at.Truncate(time.Hour); hour.Before(w.base); hour = hour.Add(time.Hour) {
		for p, project := range w.projects {
			for _, m := range metersOfLoad {
				rows = append(rows, []any{
					merchants.DefaultCloud, project, hour.UnixMicro(), hour.UnixMicro(), hour.Add(time.Hour).UnixMicro(), m.name, string(m.kind), m.unit,
					fmt.Sprint(6 * step(p)), w.Plan, "active",
				})
			}
		}
	}
	_, err := w.conn.CopyFrom(ctx, into,
		[]string{"cloud", "project_id", "hour", "from_at", "to_at", "meter", "kind", "unit", "amount", "plan_id", "state"}, pgx.CopyFromRows(rows))
	return err
}

// The method `count` returns the number of posted samples that are stored.
func (w *meteredWorld) count(ctx context.Context) (n int, err error) {
	err = w.conn.QueryRow(ctx, "SELECT count(*) FROM samples WHERE cloud = $1 AND day >= $2 AND at >= $3", merchants.DefaultCloud,
		w.base.Unix()/(24*60*60), w.base.UnixMicro()).Scan(&n)
	return n, err
}

// The method `check` returns an error unless all posted samples are stored once, and the usage is exact.
func (w *meteredWorld) check(ctx context.Context) error {
	count, err := w.count(ctx)
	if err != nil {
		return err
	}
	if count != w.posted {
		return fmt.Errorf("%d samples are stored, but %d were posted", count, w.posted)
	}
	for kind, want := range w.expected(w.posted, w.stored > 0) {
		var text string
		err := w.conn.QueryRow(ctx, "SELECT sum(amount::numeric)::text FROM usage_amounts WHERE hour >= $1 AND kind = $2", w.base.UnixMicro(), string(kind)).
			Scan(&text)
		if err != nil {
			return err
		}
		got, ok := new(big.Rat).SetString(text)
		if !ok {
			return fmt.Errorf("the usage of the %s series is %s", kind, text)
		}
		allowed := new(big.Rat)
		if kind == usage.Gauge {
			allowed.SetString("0.0001") // the amounts of gauges are rounded
		}
		if difference := new(big.Rat).Sub(got, want); difference.Abs(difference).Cmp(allowed) > 0 {
			return fmt.Errorf("the usage of the %s series is %s, want %s", kind, strings.TrimRight(text, "0"), want.FloatString(6))
		}
	}
	return nil
}
