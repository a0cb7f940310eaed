// Package storetest contains the conformance suite for stores, and creates empty databases for tests.
package storetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
)

// SQLite returns the URL of a new database file for the test.
func SQLite(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "tenantry.db")
}

// PostgreSQL creates a database on the server that `make test` starts. When the test ends, the database is dropped.
func PostgreSQL(tb testing.TB) string {
	tb.Helper()
	name, url := create(tb, "")
	tb.Cleanup(func() { drop(tb, name) })
	return url
}

// The function `create` creates a database, and returns its name and URL. If `template` is not empty, the new database is a copy of the
// database with this name. The template must have no connections.
func create(tb testing.TB, template string) (name, address string) {
	tb.Helper()
	tb.Log("real: postgres")
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		tb.Fatal(err)
	}
	name = "test_" + hex.EncodeToString(random)
	statement := "CREATE DATABASE " + name
	if template != "" {
		statement += " TEMPLATE " + template
	}
	execute(tb, server(tb), statement)
	u, err := url.Parse(server(tb))
	if err != nil {
		tb.Fatal("TENANTRY_TEST_POSTGRES_URL must be the URL of a PostgreSQL server")
	}
	u.Path = "/" + name
	return name, u.String()
}

func drop(tb testing.TB, name string) {
	tb.Helper()
	execute(tb, server(tb), "DROP DATABASE "+name+" WITH (FORCE)")
}

// The function `server` returns the URL of the server that `make test` starts.
func server(tb testing.TB) string {
	tb.Helper()
	server := os.Getenv("TENANTRY_TEST_POSTGRES_URL")
	if server == "" {
		tb.Fatal("TENANTRY_TEST_POSTGRES_URL is not set: run the tests with `make test`, which starts PostgreSQL")
	}
	return server
}

// PgBouncer returns a URL that leads to a database through the PgBouncer that `make test` starts. The function PostgreSQL must have
// created the database. PgBouncer pools transactions, so a connection to this URL does not keep its session.
func PgBouncer(tb testing.TB, database string) string {
	tb.Helper()
	pooler := os.Getenv("TENANTRY_TEST_PGBOUNCER_URL")
	if pooler == "" {
		tb.Fatal("TENANTRY_TEST_PGBOUNCER_URL is not set: run the tests with `make test`, which starts PgBouncer")
	}
	tb.Log("real: pgbouncer")
	u, err := url.Parse(pooler)
	if err != nil {
		tb.Fatal("TENANTRY_TEST_PGBOUNCER_URL must be the URL of a PgBouncer")
	}
	direct, err := url.Parse(database)
	if err != nil {
		tb.Fatal(err)
	}
	u.Path = direct.Path
	return u.String()
}

func execute(tb testing.TB, server, statement string) {
	tb.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		tb.Fatalf("connecting to the PostgreSQL server for tests: %v", err)
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		tb.Errorf("%s: %v", statement, err)
	}
	if err := conn.Close(ctx); err != nil {
		tb.Error(err)
	}
}
