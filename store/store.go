// Package store stores runs and merchants in PostgreSQL or SQLite, through gorm.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/glebarez/sqlite"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/orchestrator/groupcommit"
	"github.com/tenantry/tenantry/store/billingstack"
)

// Store is a Tenantry database. Store implements saga.Store and saga.Queue. Store also gives access to the tables of merchants, of
// audits and of the embedded BillingStack. A Store is safe for concurrent use.
type Store struct {
	db     *gorm.DB
	url    string // PostgreSQL only: the database URL
	direct string // PostgreSQL only: the URL for connections that keep their sessions; equal to url if url names no pooler
	file   string // SQLite only: the path of the file
	seal   *sealer

	creations groupcommit.Group[newRunRows, error] // PostgreSQL only
}

// Open opens the database at postgres://... or sqlite:PATH. If an SQLite file or its directory does not exist, Open creates them.
// Open does not migrate the database. The parameter `secret` is the 32-byte key that seals users' tokens. If the URL names a
// connection pooler that does not keep sessions, Open returns a *WrongURLError.
func Open(ctx context.Context, url string, secret []byte) (*Store, error) {
	return OpenPooled(ctx, url, "", secret)
}

// OpenPooled opens a PostgreSQL database through a connection pooler that does not keep sessions, such as PgBouncer in transaction
// mode. The parameter `direct` is the URL of the same database on PostgreSQL itself. If this URL leads to another database,
// OpenPooled returns a *WrongURLError. If `direct` is empty, OpenPooled is the same as Open.
func OpenPooled(ctx context.Context, url, direct string, secret []byte) (*Store, error) {
	seal, err := newSealer(secret)
	if err != nil {
		return nil, err
	}
	s := &Store{seal: seal}
	if err := s.connect(ctx, url, direct, newFile); err != nil {
		return nil, err
	}
	return s, nil
}

// The method `connect` opens the database; see OpenPooled for the URLs. The function `file` returns the gorm dialect for the SQLite
// file at a path.
func (s *Store) connect(ctx context.Context, url, direct string, file func(path string) (gorm.Dialector, error)) (err error) {
	s.creations.Commit, s.creations.Max = s.createPostgres, maxCreations
	var dialect gorm.Dialector
	switch path, isFile := strings.CutPrefix(url, "sqlite:"); {
	case isFile:
		s.file = path
		if dialect, err = file(path); err != nil {
			return err
		}
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		s.url, s.direct = url, cmp.Or(direct, url)
		pool, err := openServer(url, s.pooled())
		if err != nil {
			return fmt.Errorf("reading the database URL: %w", redact(err, url))
		}
		dialect = postgres.New(postgres.Config{Conn: pool})
	default:
		return errors.New("the database URL must be postgres://... or sqlite:PATH")
	}
	s.db, err = gorm.Open(dialect, &gorm.Config{
		SkipDefaultTransaction: true, // methods with several writes begin a transaction themselves: they call tx
		// The gorm option PrepareStmt is off, because it could cause a deadlock. With PrepareStmt, one goroutine prepares a statement for
		// all goroutines. This goroutine could wait for a connection, while all connections have transactions that wait for the
		// statement. Instead, pgx prepares the statements for each connection.
		DisableAutomaticPing: true,
		Logger:               logger.New(log.New(os.Stderr, "", 0), logger.Config{LogLevel: logger.Silent}),
	})
	if err != nil {
		return fmt.Errorf("opening the database: %w", redact(s.explain(err), url))
	}
	if err := s.explainAll(); err != nil {
		return err
	}
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	if s.postgres() {
		pool.SetMaxOpenConns(poolSize)
		pool.SetMaxIdleConns(poolSize)
		pool.SetConnMaxIdleTime(5 * time.Minute)
	} else {
		pool.SetMaxOpenConns(1) // SQLite has only one writer
	}
	if err := s.reach(ctx, pool); err != nil {
		_ = pool.Close()
		return fmt.Errorf("reaching the database: %w", s.explain(err))
	}
	return nil
}

// The method `reach` returns an error if the database cannot be reached.
func (s *Store) reach(ctx context.Context, pool *sql.DB) error {
	if s.postgres() {
		if err := s.checkSessions(ctx); err != nil {
			return err
		}
	}
	if err := pool.PingContext(ctx); err != nil {
		return redact(err, s.url)
	}
	return nil
}

// newFile returns the gorm dialect for an SQLite file, and creates the file if it is missing.
func newFile(path string) (gorm.Dialector, error) {
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the directory of the database: %w", err)
		}
	}
	if err := private(path); err != nil {
		return nil, err
	}
	return openFile(path, "mode=rwc&_pragma=journal_mode(WAL)"), nil
}

// openFile returns the gorm dialect for an SQLite file. The parameter `options` is part of a URI's query. openFile adds more
// options, such as synchronous(FULL). With this option, a commit returns only after the data is on disk.
func openFile(path, options string) gorm.Dialector {
	return sqlite.Open("file:" + uriPath.Replace(filepath.Clean(path)) + "?_pragma=busy_timeout(5000)&" + options +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate")
}

// uriPath escapes the characters of a path that have a special meaning in SQLite's URIs: https://www.sqlite.org/uri.html
var uriPath = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")

// The function `private` creates a database file that only the user of this process may read and write. If the file exists,
// `private` removes the permissions of all other users from the file, and from the files that SQLite keeps beside it. SQLite creates these
// files with the permissions of the database file. If a file belongs to another user, `private` does not change it.
func private(path string) error {
	// Do not open an existing file. Another Store in this process may hold locks on the file, and closing the file would release
	// these locks.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = f.Close()
	}
	// Ignore a permission error, because SQLite then returns the same error. The method Store.explain adds the remedy to SQLite's
	// error.
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("creating the database: %w", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil || !info.Mode().IsRegular() || info.Mode()&0o077 == 0 {
			continue
		}
		if err := os.Chmod(path+suffix, info.Mode()&^0o077); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("protecting the database: %w", err)
		}
	}
	return nil
}

// Billing returns the tables of the embedded BillingStack.
func (s *Store) Billing() server.Records { return billingstack.Records(s.db, s.tx) }

func (s *Store) postgres() bool { return s.url != "" }

// Close closes all connections.
func (s *Store) Close() error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}

// The method `tx` runs f in a transaction.
func (s *Store) tx(ctx context.Context, f func(tx *gorm.DB) error) error {
	return s.explain(s.db.WithContext(ctx).Transaction(f, &sql.TxOptions{}))
}

// The function `columns` returns db with an option: queries select columns by name instead of using SELECT *.
func columns(db *gorm.DB) *gorm.DB { return db.Session(&gorm.Session{QueryFields: true}) }
