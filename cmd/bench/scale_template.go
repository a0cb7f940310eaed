package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/store"
)

// The type `template` is the database that the function `fill` copies. The tables of this database are empty. Additional tables
// named original_NAME have the rows of the originals, with marks in place of the values that differ between runs.
type template struct {
	name string // of the database
}

// The type `table` is a database table that gets rows for each run.
type table struct{ name, run string } // run is the column with the run's id

var growing = []table{
	{"events", "run_id"}, {"steps", "run_id"}, {"objects", "run_id"}, {"runs", "id"}, {"idempotency_keys", "run_id"},
}

// The variable `marks` contains names of columns of the table `fresh`. In the rows of an original, the mark {NAME} stands for the
// value of column NAME. The idempotency key is marked separately, because an original's key equals its run id.
var marks = []string{"run", "merchant", "user", "customer", "subscription", "customer_tenant", "subscription_tenant"}

func mark(column string) string { return "{" + column + "}" }

// The method `values` returns the ids in the order of the variable `marks`.
func (n ids) values() []string {
	return []string{n.Run, n.Merchant, n.User, n.Customer, n.Subscription, n.CustomerTenant, n.SubscriptionTenant}
}

// The method `in` returns the text with the ids in place of the marks.
func (n ids) in(text string) string {
	for i, value := range n.values() {
		text = strings.ReplaceAll(text, mark(marks[i]), value)
	}
	return text
}

// newTemplate creates the template and the originals. The results are the template, and the original whose run succeeded.
func newTemplate(ctx context.Context, server *database) (*template, *original, error) {
	url, err := server.create(ctx)
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, url, make([]byte, store.KeySize))
	if err != nil {
		return nil, nil, err
	}
	if _, err := db.Migrate(ctx); err != nil {
		return nil, nil, err
	}
	originals, err := makeOriginals(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	if err := db.Close(); err != nil {
		return nil, nil, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range growing {
		if err := t.setAside(ctx, conn, originals); err != nil {
			return nil, nil, fmt.Errorf("moving the original rows of table %s: %w", t.name, err)
		}
	}
	return &template{conn.Config().Database}, originals[0], conn.Close(ctx)
}

// setAside moves the rows of the table t to the table original_NAME. In the moved rows, a mark replaces each id.
func (t table) setAside(ctx context.Context, conn *pgx.Conn, originals []*original) error {
	aside := "original_" + t.name
	_, err := conn.Exec(ctx, fmt.Sprintf("CREATE TABLE %s AS SELECT 0 AS original, t.* FROM %s t WHERE FALSE", aside, t.name))
	if err != nil {
		return err
	}
	columns, err := t.columns(ctx, conn)
	if err != nil {
		return err
	}
	for i, o := range originals {
		args := []any{i}
		for _, value := range o.values() {
			args = append(args, value)
		}
		var values []string
		for _, c := range columns {
			value := c.name
			if c.kind == "text" {
				for n, m := range marks {
					value = fmt.Sprintf("replace(%s, $%d, '%s')", value, n+2, mark(m))
				}
			}
			if c.isKey() {
				value = "'" + mark("key") + "'"
			}
			values = append(values, value)
		}
		_, err := conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s SELECT $1, %s FROM %s WHERE %s = $2", aside, strings.Join(values, ", "),
			t.name, t.run), args...)
		if err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("TRUNCATE %s; ANALYZE %s", t.name, aside))
	return err
}

type column struct{ name, kind string }

func (c column) isKey() bool { return c.name == "idempotency_key" || c.name == "key" }

// isTime reports whether a column contains times.
func (c column) isTime() bool {
	return c.kind == "bigint" && (c.name == "at" || c.name == "budget_from" || strings.HasSuffix(c.name, "_at"))
}

func (t table) columns(ctx context.Context, conn *pgx.Conn) ([]column, error) {
	rows, err := conn.Query(ctx, "SELECT column_name::text, data_type::text FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", t.name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		err = row.Scan(&c.name, &c.kind)
		return c, err
	})
}
