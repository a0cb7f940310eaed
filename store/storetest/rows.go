package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	_ "github.com/glebarez/go-sqlite" // the driver "sqlite"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// Rows returns the number of rows in each table. The parameter `database` is a URL that the function SQLite or PostgreSQL has
// returned.
func Rows(tb testing.TB, database string) map[string]int {
	tb.Helper()
	driver, source, list := "pgx", database, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
	if file, isFile := strings.CutPrefix(database, "sqlite:"); isFile {
		driver, source, list = "sqlite", "file:"+file+"?_pragma=busy_timeout(5000)", "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	names, err := textsOf(tb.Context(), db, list)
	if err != nil || len(names) == 0 {
		tb.Fatalf("listing the tables: %d tables, %v", len(names), err)
	}
	rows := map[string]int{}
	for _, name := range names {
		var n int
		if err := db.QueryRowContext(tb.Context(), fmt.Sprintf("SELECT count(*) FROM %q", name)).Scan(&n); err != nil {
			tb.Fatalf("counting the rows of %s: %v", name, err)
		}
		rows[name] = n
	}
	return rows
}

// textsOf returns the result of a query with one column of texts.
func textsOf(ctx context.Context, db *sql.DB, query string) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}
