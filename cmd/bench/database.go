package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// The type `database` is the PostgreSQL server that all contenders share. Each contender has its own database on that server.
type database struct {
	server  string
	conn    *pgx.Conn
	parent  int // process id of the server
	created []string
}

// The constant `inMemory` is the type of the file system tmpfs: see statfs(2).
const inMemory = 0x01021994

func connect(ctx context.Context, server string) (*database, error) {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return nil, err
	}
	var fsync, commit, directory string
	const settings = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('data_directory')"
	if err := conn.QueryRow(ctx, settings).Scan(&fsync, &commit, &directory); err != nil {
		return nil, err
	}
	if fsync != "on" || commit != "on" {
		return nil, errors.New("PostgreSQL does not sync its commits to disk: set fsync and synchronous_commit to on")
	}
	var files syscall.Statfs_t
	if err := syscall.Statfs(directory, &files); err != nil {
		return nil, fmt.Errorf("finding the file system of %s: %w", directory, err)
	}
	if files.Type == inMemory {
		return nil, fmt.Errorf("PostgreSQL's files in %s are in memory: set TMPDIR to a directory on a disk", directory)
	}
	fields, err := stat(int(conn.PgConn().PID()))
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL must run on this machine: %w", err)
	}
	parent, err := strconv.Atoi(fields[1])
	return &database{server: server, conn: conn, parent: parent}, err
}

// The method `create` creates a database and returns its URL.
func (d *database) create(ctx context.Context) (string, error) { return d.copyOf(ctx, "template1") }

// copyOf copies the database that the parameter `template` names, and returns the URL of the copy. No client may be connected to
// the copied database.
func (d *database) copyOf(ctx context.Context, template string) (string, error) {
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	name := "bench_" + hex.EncodeToString(random)
	if _, err := d.conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		return "", err
	}
	d.created = append(d.created, name)
	u, err := url.Parse(d.server)
	if err != nil {
		return "", errors.New("TENANTRY_TEST_POSTGRES_URL is not a valid URL")
	}
	u.Path = "/" + name
	return u.String(), nil
}

// The method `close` drops every database that the methods `create` and copyOf have created, and closes the connection.
func (d *database) close(ctx context.Context) error {
	var faults []error
	for _, name := range d.created {
		_, err := d.conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		faults = append(faults, err)
	}
	return errors.Join(append(faults, d.conn.Close(ctx))...)
}

// The method `wal` returns the position of the write-ahead log, in bytes.
func (d *database) wal(ctx context.Context) (n int64, err error) {
	err = d.conn.QueryRow(ctx, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").Scan(&n)
	return n, err
}

// The method `transactions` returns the number of transactions that were committed in a database. The parameter `of` is the database's URL.
// `transactions` first waits until all backends of that database have ended, because a running backend may not have reported all its
// transactions.
func (d *database) transactions(ctx context.Context, of string) (int64, error) {
	u, err := url.Parse(of)
	if err != nil {
		return 0, err
	}
	for {
		var backends int
		const live = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'"
		if err := d.conn.QueryRow(ctx, live, u.Path[1:]).Scan(&backends); err != nil {
			return 0, err
		}
		if backends == 0 {
			return d.tally(ctx, of)
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// The method `tally` reads the number of transactions that backends have reported. A busy backend reports its transactions once a
// second. An idle backend may report its last transactions with a delay of several seconds.
func (d *database) tally(ctx context.Context, of string) (n int64, err error) {
	u, err := url.Parse(of)
	if err != nil {
		return 0, err
	}
	err = d.conn.QueryRow(ctx, "SELECT xact_commit FROM pg_stat_database WHERE datname = $1", u.Path[1:]).Scan(&n)
	return n, err
}

// The constant `told` is a delay after which an idle backend has reported all its transactions.
const told = 11 * time.Second

// The method `commits` measures the number of tiny INSERTs that one client commits in a second.
func (d *database) commits(ctx context.Context) (float64, error) {
	if _, err := d.conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS bench_commits (n BIGINT)"); err != nil {
		return 0, err
	}
	n, began := 0, time.Now()
	for ; time.Since(began) < time.Second; n++ {
		if _, err := d.conn.Exec(ctx, "INSERT INTO bench_commits VALUES ($1)", n); err != nil {
			return 0, err
		}
	}
	_, err := d.conn.Exec(ctx, "DROP TABLE bench_commits")
	return float64(n) / time.Since(began).Seconds(), err
}
