package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// connectionOptions are those of every connection to PostgreSQL.
var connectionOptions = []stdlib.OptionOpenDB{
	stdlib.OptionAfterConnect(planByIndex),
	stdlib.OptionShouldPing(longIdle),
}

// planByIndex has statements planned for the indexes that they were written for. The planner believes its statistics,
// which lag minutes behind tables that grow from nothing by thousands of rows a second: it would read whole tables. Where it
// takes a list's conditions for rarer than they are, it would read all that meets them, as a bitmap, and sort it for a page.
// And a statement is planned once on each connection, not for each value anew: where tables are large, PostgreSQL does that
// with the claim, for no better plan, and that takes longer than the claim itself.
func planByIndex(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "+
		"SET jit = off; SET plan_cache_mode = force_generic_plan", pgx.QueryExecModeSimpleProtocol)
	return err
}

// longIdle tells which connections are asked whether they are still there before they are used. The heartbeat keeps one
// busier than that, so that an idle replica asks for nothing but its work.
func longIdle(_ context.Context, p stdlib.ShouldPingParams) bool {
	return p.IdleDuration > 5*time.Second
}
