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

// openServer returns a pool of connections to PostgreSQL. It connects when a connection is needed.
func openServer(url string) (gorm.Dialector, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	pgxs := stdlib.GetConnector(*config, stdlib.OptionAfterConnect(planByIndex), stdlib.OptionShouldPing(longIdle))
	return postgres.New(postgres.Config{Conn: sql.OpenDB(connector{pgxs})}), nil
}

// connector opens connections to PostgreSQL. Each of its errors is a saga.ErrUnavailable, because the codes of refused connections
// come from many classes: on a full disk, PostgreSQL answers XX000, "could not write init file".
type connector struct{ driver.Connector }

// Connect opens a connection and sets it up.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, unavailableError{err}
	}
	return conn, nil
}

// planByIndex makes PostgreSQL use the indexes that the statements were written for.
//
// The planner relies on statistics, which lag minutes behind tables that grow from nothing by thousands of rows a second: it would
// read whole tables. If it underestimates how many rows match a list's conditions, it would read them all with a bitmap scan and
// sort them for one page.
//
// Each statement is planned once per connection, not for each set of values. With large tables, PostgreSQL would plan the claim
// each time. The plan would be no better, and planning takes longer than the claim itself.
func planByIndex(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "+
		"SET jit = off; SET plan_cache_mode = force_generic_plan", pgx.QueryExecModeSimpleProtocol)
	return err
}

// longIdle reports whether a connection is pinged before it is used. The heartbeat uses one connection more often than that, so
// that an idle replica sends no extra pings.
func longIdle(_ context.Context, p stdlib.ShouldPingParams) bool {
	return p.IdleDuration > 5*time.Second
}
