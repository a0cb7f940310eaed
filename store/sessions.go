package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// WrongURLError reports that a database can be reached, but not used, at the configured URLs. The text names the setting to change.
type WrongURLError struct{ problem string }

func (e *WrongURLError) Error() string { return e.problem }

// The method `pooled` reports whether the database URL names a connection pooler. With a pooler, each transaction may use a
// different session of PostgreSQL. Listen and the lock of Migrate need one session, and therefore use the URL s.direct instead.
func (s *Store) pooled() bool { return s.direct != s.url }

// The method `session` opens a connection that keeps its session. The caller must close the connection.
func (s *Store) session(ctx context.Context) (*pgx.Conn, error) { return connect(ctx, s.direct) }

// The function `connect` opens a connection to a database URL. An error is a saga.ErrUnavailable, and does not contain the
// password.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := serverConfig(url)
	if err != nil {
		return nil, redact(err, url)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, unavailableError{saga.ErrUnavailable, fmt.Errorf("connecting to %s: %w", Address(url), redact(err, url))}
	}
	return conn, nil
}

// checkSessions returns a *WrongURLError if the connections of s.direct do not keep their sessions, or if s.direct and the database
// URL name different databases. checkSessions does not use the pool, because a connection of the pool changes the settings of its
// session.
func (s *Store) checkSessions(ctx context.Context) (err error) {
	listener, err := s.session(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, listener.Close(context.WithoutCancel(ctx))) }()
	direct, err := isDirect(ctx, listener)
	if err != nil || direct && !s.pooled() {
		return err
	}
	notifier, err := connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, notifier.Close(context.WithoutCancel(ctx))) }()
	received, err := receives(ctx, listener, notifier)
	switch {
	case err != nil || received:
		return err
	case !s.pooled():
		return &WrongURLError{fmt.Sprintf("database_url: %s is a connection pooler that does not keep sessions, such as PgBouncer with"+
			" pool_mode=transaction: set database_listen_url (TENANTRY_DATABASE_LISTEN_URL) to the URL of the same database on PostgreSQL"+
			" itself", Address(s.url))}
	case !direct:
		return &WrongURLError{fmt.Sprintf("database_listen_url: %s is a connection pooler that does not keep sessions, or is not the"+
			" database of database_url: set database_listen_url to the URL of the same database on PostgreSQL itself", Address(s.direct))}
	}
	return &WrongURLError{fmt.Sprintf("database_listen_url: %s is not the database of database_url, %s: both URLs must lead to the same"+
		" database of the same server", Address(s.direct), Address(s.url))}
}

// isDirect reports whether a connection goes to PostgreSQL itself. When a session begins, PostgreSQL sends the number of its server
// process to the client. A connection pooler sends a different number, because the pooler's clients share the sessions of
// PostgreSQL.
func isDirect(ctx context.Context, c *pgx.Conn) (bool, error) {
	var process uint32
	err := c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&process)
	return process == c.PgConn().PID(), err
}

// checkChannel is the name of the PostgreSQL channel that checkSessions uses. checkTime is the maximum time for which checkSessions
// waits for a notification.
const (
	checkChannel = "tenantry_check"
	checkTime    = 5 * time.Second
)

// The function `receives` reports whether the listener receives a notification from the notifier. A connection pooler that does not keep
// sessions passes no notification to an idle client. PostgreSQL passes no notification to another database. The notification is sent in a
// transaction, so that `receives` returns an error if a pooler refuses transactions.
func receives(ctx context.Context, listener, notifier *pgx.Conn) (bool, error) {
	if _, err := listener.Exec(ctx, "LISTEN "+checkChannel); err != nil {
		return false, err
	}
	word := uuid.NewString()
	err := pgx.BeginFunc(ctx, notifier, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT pg_notify($1, $2)", pgx.QueryExecModeExec, checkChannel, word)
		return err
	})
	if err != nil {
		return false, err
	}
	waiting, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for {
		n, err := listener.WaitForNotification(waiting)
		switch {
		case err == nil && n.Payload == word:
			return true, nil
		case err == nil: // another replica, which starts at the same time, has sent this notification
		case waiting.Err() != nil && ctx.Err() == nil:
			return false, nil
		default:
			return false, err
		}
	}
}

// sessionPool returns a pool of connections that keep their sessions. If sessionPool opens a new pool, closePool closes this pool.
// Otherwise closePool does nothing.
func (s *Store) sessionPool() (_ *sql.DB, closePool func() error, err error) {
	if s.pooled() {
		pool, err := openServer(s.direct, false)
		if err != nil {
			return nil, nil, redact(err, s.direct)
		}
		return pool, pool.Close, nil
	}
	pool, err := s.db.DB()
	return pool, func() error { return nil }, err
}
