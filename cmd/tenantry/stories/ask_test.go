package stories_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// oneStepUnderWay is a query. The result of the query is true if exactly one step in the database is running or undoing. The
// query ignores runs that have ended.
const oneStepUnderWay = `SELECT count(*) = 1 FROM steps s JOIN runs r ON r.id = s.run_id
	WHERE r.ended_at IS NULL AND s.state IN ('running', 'undoing')`

// The function `ask` reads one value from a PostgreSQL database.
func ask(ctx context.Context, database string, into any, query string, args ...any) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return conn.QueryRow(ctx, query, args...).Scan(into)
}

// awaitTrue repeats a query on one connection until its result is true.
func awaitTrue(ctx context.Context, database, query string, args ...any) error {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var yes bool
		if err := conn.QueryRow(ctx, query, args...).Scan(&yes); err != nil || yes {
			return err
		}
	}
	return fmt.Errorf("the result stays false: %s", query)
}
