package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/tenantry/tenantry/store"
)

// The finished runs belong to ten merchants. The last merchant has exactly the oldest tenth of all runs. Each user has two runs.
// One run was accepted every hundred seconds. The last run was accepted a minute ago. One run in twenty is compensated. The first
// merchant has no compensated runs.
const (
	finishedMerchants = 10
	secondsApart      = 100
	compensated       = "i / 10 % 20 = 7 AND m <> 0"
)

// freshRuns creates the table `fresh`. Each row has the values that are unique to one new run. Most values are hashes. A run's id
// begins with the time at which the run was accepted.
const freshRuns = `
CREATE UNLOGGED TABLE fresh AS
SELECT i, (` + compensated + `)::int AS original, ms * 1000 - o.created_at AS shift,
	lpad(to_hex(ms >> 16), 8, '0') || '-' || lpad(to_hex(ms & 65535), 4, '0') || '-7' || substr(h, 1, 3) || '-8' || substr(h, 4, 3)
		|| '-' || substr(h, 7, 12) AS run,
	md5('merchant' || m)::uuid::text AS merchant, md5('user' || i / 2) AS "user",
	md5('customer' || i)::uuid::text AS customer, md5('subscription' || i)::uuid::text AS subscription,
	md5('customer tenant' || i) AS customer_tenant, md5('subscription tenant' || i) AS subscription_tenant,
	md5('key' || i)::uuid::text AS key
FROM (
	SELECT i, CASE WHEN i < $1 / 10 THEN $2 - 1 ELSE i % ($2 - 1) END AS m, md5(i::text) AS h,
		(extract(epoch FROM now())::bigint - 60 - ($1 - 1 - i) * $3) * 1000 AS ms
	FROM generate_series(0, $1::bigint - 1) i
) n, (SELECT created_at FROM original_runs WHERE original = 0) o
ORDER BY i`

// The function `fill` creates a database with the given number of finished runs, and returns the database and its size in bytes.
// `fill` vacuums and analyzes each table, as autovacuum would do in production.
func fill(ctx context.Context, server *database, like *template, runs int) (*filled, int64, error) {
	url, err := server.copyOf(ctx, like.name)
	if err != nil {
		return nil, 0, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, freshRuns, runs, finishedMerchants, secondsApart); err != nil {
		return nil, 0, err
	}
	if _, err := conn.Exec(ctx, "ANALYZE fresh"); err != nil {
		return nil, 0, err
	}
	tables, working := errgroup.WithContext(ctx)
	tables.SetLimit(2)
	for _, t := range growing {
		tables.Go(func() error {
			if err := t.fill(working, url); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
			return nil
		})
	}
	if err := tables.Wait(); err != nil {
		return nil, 0, err
	}
	f := &filled{runs: runs}
	if f.targets, err = findTargets(ctx, conn); err != nil {
		return nil, 0, err
	}
	if _, err := conn.Exec(ctx, "DROP TABLE fresh"); err != nil {
		return nil, 0, err
	}
	var bytes int64
	if err := conn.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&bytes); err != nil {
		return nil, 0, err
	}
	f.Store, err = store.Open(ctx, url, make([]byte, store.KeySize))
	return f, bytes, err
}

// The method `fill` inserts the rows of all runs into the table, from the oldest run to the youngest. Then `fill` builds the
// table's indexes.
func (t table) fill(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "SET synchronous_commit = off; SET maintenance_work_mem = '512MB'; SET synchronize_seqscans = off"); err != nil {
		return err
	}
	rebuild, err := t.dropIndexes(ctx, conn)
	if err != nil {
		return err
	}
	columns, err := t.columns(ctx, conn)
	if err != nil {
		return err
	}
	var values []string
	for _, c := range columns {
		value, err := t.freshValue(ctx, conn, c)
		if err != nil {
			return err
		}
		values = append(values, value)
	}
	// OFFSET 0 makes PostgreSQL read the few original rows once for each row of the table `fresh`. The new rows are then in the same
	// sequence as the rows of `fresh`, and PostgreSQL does not need to sort them.
	statements := append([]string{fmt.Sprintf(
		"INSERT INTO %s SELECT %s FROM fresh n, LATERAL (SELECT * FROM original_%[1]s o WHERE o.original = n.original OFFSET 0) o",
		t.name, strings.Join(values, ", "),
	)}, rebuild...)
	for _, statement := range append(statements, "VACUUM (ANALYZE) "+t.name) {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// freshValue returns the SQL expression that computes a column of a new run.
func (t table) freshValue(ctx context.Context, conn *pgx.Conn, c column) (string, error) {
	switch {
	case c.isKey():
		return "n.key", nil
	case c.isTime():
		return "o." + c.name + " + n.shift", nil
	case c.kind != "text":
		return "o." + c.name, nil
	}
	value := "o." + c.name
	for _, m := range marks {
		var has, is bool
		err := conn.QueryRow(ctx, fmt.Sprintf("SELECT COALESCE(bool_or(strpos(%[1]s, $1) > 0), FALSE), COALESCE(bool_and(%[1]s = $1), FALSE) FROM original_%[2]s",
			c.name, t.name), mark(m)).Scan(&has, &is)
		switch {
		case err != nil:
			return "", err
		case is:
			return "n." + m, nil
		case has:
			value = fmt.Sprintf("replace(%s, '%s', n.%s)", value, mark(m), m)
		}
	}
	return value, nil
}

// dropIndexes drops a table's indexes and returns the statements that create them again.
func (t table) dropIndexes(ctx context.Context, conn *pgx.Conn) (rebuild []string, err error) {
	rows, err := conn.Query(ctx, `
SELECT 'ALTER TABLE ' || $1 || ' DROP CONSTRAINT ' || conname, 'ALTER TABLE ' || $1 || ' ADD CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid)
FROM pg_constraint WHERE conrelid = $1::regclass AND contype IN ('p', 'u')
UNION ALL
SELECT 'DROP INDEX ' || indexrelid::regclass, pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = $1::regclass AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)`, t.name)
	if err != nil {
		return nil, err
	}
	var drop, each string
	var drops []string
	_, err = pgx.ForEachRow(rows, []any{&drop, &each}, func() error {
		drops, rebuild = append(drops, drop), append(rebuild, each)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, statement := range drops {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	return rebuild, nil
}

// The type `targets` has the runs that the operations read, and the values that the operations search for.
type targets struct {
	any   []target // runs of any age, in random order
	young []target
	since int64 // Unix time in microseconds; the twenty youngest runs were created at or after this time
}

type target struct{ run, merchant, user, customer, key string }

// findTargets chooses at most a thousand random runs, and at most a thousand of the youngest runs. All chosen runs have
// succeeded.
func findTargets(ctx context.Context, conn *pgx.Conn) (t targets, err error) {
	for order, into := range map[string]*[]target{"md5(i::text)": &t.any, "i DESC": &t.young} {
		rows, err := conn.Query(ctx, `SELECT run, merchant, "user", customer, key FROM fresh WHERE original = 0 ORDER BY `+order+" LIMIT 1000")
		if err != nil {
			return t, err
		}
		*into, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t target, err error) {
			err = row.Scan(&t.run, &t.merchant, &t.user, &t.customer, &t.key)
			return t, err
		})
		if err != nil {
			return t, err
		}
	}
	err = conn.QueryRow(ctx, "SELECT created_at FROM runs ORDER BY id DESC LIMIT 1 OFFSET 19").Scan(&t.since)
	return t, err
}
