package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// poolSize is the maximum number of connections of a Store to PostgreSQL, without the connection of Listen.
const poolSize = 16

// openServer returns a pool of connections to PostgreSQL. The pool opens a connection only when a caller needs one. If `pooled` is
// true, the statements of one connection can be executed in different sessions of PostgreSQL. In this case, the store changes no settings
// of a session. It also uses no prepared statements, unless the URL parameter default_query_exec_mode is set.
func openServer(url string, pooled bool) (*sql.DB, error) {
	config, err := serverConfig(url)
	if err != nil {
		return nil, err
	}
	if pooled && !strings.Contains(url, "default_query_exec_mode=") {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	w := &writer{pooled: pooled}
	config.Tracer = w
	pgxs := stdlib.GetConnector(*config, stdlib.OptionAfterConnect(w.opened), stdlib.OptionResetSession(w.reused), stdlib.OptionShouldPing(longIdle))
	return sql.OpenDB(connector{pgxs}), nil
}

// serverConfig parses the URL of a PostgreSQL database. By default, the store connects only to a server that accepts writes. The
// URL and PGTARGETSESSIONATTRS override this default. If the URL names several hosts, the store connects to the first host that
// accepts writes.
func serverConfig(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(url, "target_session_attrs=") && os.Getenv("PGTARGETSESSIONATTRS") == "" {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	return config, nil
}

// The type `writer` makes a pool close its connections to a server that refuses writes. For example, a primary server can become a
// standby server without closing its connections. After a refused write, the pool closes every connection that it opened before the
// refusal. A writer is a pgx.QueryTracer.
type writer struct {
	refused atomic.Int64
	pooled  bool // whether a connection may use another session after each transaction
}

// refusedBefore is a key in the custom data of a connection. Its value is the number of writes that were refused before the
// connection was opened.
const refusedBefore = "refused writes"

func (w *writer) opened(ctx context.Context, c *pgx.Conn) error {
	c.PgConn().CustomData()[refusedBefore] = w.refused.Load()
	if w.pooled {
		return nil
	}
	return planByIndex(ctx, c)
}

// The method `reused` is called before a connection of the pool is used again. If `reused` returns an error, the pool closes the
// connection and takes another connection.
func (w *writer) reused(_ context.Context, c *pgx.Conn) error {
	if c.PgConn().CustomData()[refusedBefore] != w.refused.Load() {
		return driver.ErrBadConn
	}
	return nil
}

// TraceQueryStart implements [pgx.QueryTracer].
func (w *writer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd counts the refused writes.
func (w *writer) TraceQueryEnd(_ context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if readOnly(data.Err) {
		w.refused.Add(1)
	}
}

// readOnly reports whether PostgreSQL refused a write because the server or the session is read-only.
func readOnly(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "25006" // read_only_sql_transaction
}

// The type `connector` opens connections to PostgreSQL. Every error of Connect is a saga.ErrUnavailable, with any error code of PostgreSQL.
// PostgreSQL refuses connections with error codes of many classes. For example, if the disk is full, PostgreSQL
// answers XX000, "could not write init file".
type connector struct{ driver.Connector }

// Connect opens a connection and configures it.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, unavailableError{saga.ErrUnavailable, err}
	}
	return conn, nil
}

// plannerSettings make PostgreSQL use the indexes that the statements were written for.
//
// Without these settings, the planner would rely on statistics that can be minutes old. If a table has grown since then, the
// planner would still treat the table as small, and read the whole table. The planner would also underestimate the number of runs
// that match a filter. PostgreSQL would then read and sort all matching runs, instead of one page of runs.
//
// With these settings, PostgreSQL plans a statement only once per connection. Otherwise, with large tables, PostgreSQL would plan the
// statement of Claim again for each call. The new plan would be no better than the first plan, and planning takes longer than executing the
// statement.
var plannerSettings = []struct{ name, value string }{
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"jit", "off"},
	{"plan_cache_mode", "force_generic_plan"},
}

// planByIndex sets plannerSettings in the session of a connection.
func planByIndex(ctx context.Context, c *pgx.Conn) error {
	var statements strings.Builder
	for _, setting := range plannerSettings {
		fmt.Fprintf(&statements, "SET %s = %s;", setting.name, setting.value)
	}
	_, err := c.Exec(ctx, statements.String(), pgx.QueryExecModeSimpleProtocol)
	return err
}

// MissingPlannerSettings returns the settings of the planner that the database lacks, such as "enable_seqscan = off". Without these
// settings, statements can become slow when the tables grow. The store makes these settings in its own sessions, but not in the
// sessions of a connection pooler, because other clients share those sessions.
func (s *Store) MissingPlannerSettings(ctx context.Context) ([]string, error) {
	if !s.postgres() || !s.pooled() {
		return nil, nil
	}
	var missing []string
	for _, setting := range plannerSettings {
		var value string
		if err := s.db.WithContext(ctx).Raw("SELECT current_setting(?)", setting.name).Scan(&value).Error; err != nil {
			return nil, fmt.Errorf("reading the settings of the planner: %w", s.explain(err))
		}
		if value != setting.value {
			missing = append(missing, setting.name+" = "+setting.value)
		}
	}
	return missing, nil
}

// longIdle reports whether a connection has been idle for over 5 s and must therefore be pinged before it is used. With the default
// lease, the heartbeat of an idle replica uses a connection every 3 s, so an idle replica does not ping the database.
func longIdle(_ context.Context, p stdlib.ShouldPingParams) bool {
	return p.IdleDuration > 5*time.Second
}
