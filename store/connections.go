package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// connectionOptions are the options of every connection to PostgreSQL.
var connectionOptions = []stdlib.OptionOpenDB{
	stdlib.OptionAfterConnect(planByIndex),
	stdlib.OptionShouldPing(longIdle),
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
