package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// openServer returns a pool of connections to PostgreSQL. The pool opens a connection only when a caller needs one.
func openServer(url string) (gorm.Dialector, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	pgxs := stdlib.GetConnector(*config, stdlib.OptionAfterConnect(planByIndex), stdlib.OptionShouldPing(longIdle))
	return postgres.New(postgres.Config{Conn: sql.OpenDB(connector{pgxs})}), nil
}

// connector opens connections to PostgreSQL. Every error of Connect is a saga.ErrUnavailable, whatever the error code of PostgreSQL
// is. PostgreSQL refuses connections with error codes of many classes. For example, if the disk is full, PostgreSQL answers XX000,
// "could not write init file".
type connector struct{ driver.Connector }

// Connect opens a connection and configures it.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, unavailableError{err}
	}
	return conn, nil
}

// planByIndex makes PostgreSQL use the indexes that the statements were written for.
//
// Without these settings, the planner would rely on statistics that can be minutes old. With such old statistics, the planner would
// treat a table that has grown as small, and read the whole table. The planner would also underestimate how many runs match a
// filter. PostgreSQL would then read and sort all matching runs, instead of one page of runs.
//
// With these settings, PostgreSQL plans a statement only once per connection. Otherwise, with large tables, PostgreSQL would plan
// the claim statement again for each claim. The new plan would be no better than the first plan, and planning takes longer than the
// claim itself.
func planByIndex(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "+
		"SET jit = off; SET plan_cache_mode = force_generic_plan", pgx.QueryExecModeSimpleProtocol)
	return err
}

// longIdle reports whether a connection has been idle for over 5 s and must therefore be pinged before it is used. With the default
// lease, the heartbeat of an idle replica uses a connection every 3 s, so an idle replica does not ping the database.
func longIdle(_ context.Context, p stdlib.ShouldPingParams) bool {
	return p.IdleDuration > 5*time.Second
}
