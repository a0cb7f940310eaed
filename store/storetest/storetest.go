// Package storetest has the conformance suite of stores, and creates empty databases for tests.
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

// PostgreSQL creates a database for the test on the server that `make test` starts, and drops it at the end.
func PostgreSQL(tb testing.TB) string {
	tb.Helper()
	server := os.Getenv("TENANTRY_TEST_POSTGRES_URL")
	if server == "" {
		tb.Fatal("there is no PostgreSQL: run it with `make test`, which starts one")
	}
	tb.Log("real: postgres")
	random := make([]byte, 6)
	if _, err := rand.Read(random); err != nil {
		tb.Fatal(err)
	}
	name := "test_" + hex.EncodeToString(random)
	execute(tb, server, "CREATE DATABASE "+name)
	tb.Cleanup(func() { execute(tb, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatal("TENANTRY_TEST_POSTGRES_URL is not a URL")
	}
	u.Path = "/" + name
	return u.String()
}

func execute(tb testing.TB, server, statement string) {
	tb.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		tb.Fatalf("reaching the PostgreSQL of the tests: %v", err)
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		tb.Errorf("%s: %v", statement, err)
	}
	if err := conn.Close(ctx); err != nil {
		tb.Error(err)
	}
}
