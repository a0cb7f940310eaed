// Package store keeps runs and merchants in PostgreSQL or SQLite, through gorm.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

// Store is a database of Tenantry. It is a saga.Store and a saga.Queue, and holds the tables of merchants and of the
// embedded BillingStack as well. It is safe for concurrent use.
type Store struct {
	db   *gorm.DB
	url  string // postgres only: for the connection that listens
	file string // SQLite only: its path
	seal *sealer

	creations groupcommit.Group[newRunRows, error] // PostgreSQL only
}

// Open connects to postgres://... or to sqlite:PATH, whose file and directory are made if they are missing. It does not
// migrate. secret is the key of 32 bytes that users' tokens are sealed with.
func Open(ctx context.Context, url string, secret []byte) (*Store, error) {
	seal, err := newSealer(secret)
	if err != nil {
		return nil, err
	}
	s := &Store{seal: seal}
	s.creations.Commit, s.creations.Max = s.createPostgres, maxCreations
	var dialect gorm.Dialector
	switch path, isFile := strings.CutPrefix(url, "sqlite:"); {
	case isFile:
		s.file = path
		if dialect, err = openFile(path); err != nil {
			return nil, err
		}
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		s.url = url
		dialect = postgres.New(postgres.Config{DSN: url, OptionOpenDB: connectionOptions})
	default:
		return nil, errors.New("the database is neither postgres://... nor sqlite:PATH")
	}
	s.db, err = gorm.Open(dialect, &gorm.Config{
		SkipDefaultTransaction: true, // each write below is one statement or opens its own
		// No PrepareStmt: gorm lets one goroutine prepare a statement for all, and where that one waits for a connection
		// whose holders, in transactions, wait for the statement, nobody goes on. pgx prepares on each connection by itself.
		DisableAutomaticPing: true,
		Logger:               logger.New(log.New(os.Stderr, "", 0), logger.Config{LogLevel: logger.Silent}),
	})
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", redact(s.explain(err), url))
	}
	pool, err := s.db.DB()
	if err != nil {
		return nil, err
	}
	if s.postgres() {
		pool.SetMaxOpenConns(16)
		pool.SetMaxIdleConns(16)
		pool.SetConnMaxIdleTime(5 * time.Minute)
	} else {
		pool.SetMaxOpenConns(1) // one writer
	}
	if err := pool.PingContext(ctx); err != nil {
		_ = pool.Close()
		return nil, fmt.Errorf("reaching the database: %w", redact(s.explain(err), url))
	}
	return s, nil
}

// openFile names the options of an SQLite file: a commit is on the disk when it returns.
func openFile(path string) (gorm.Dialector, error) {
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the directory of the database: %w", err)
		}
	}
	return sqlite.Open("file:" + path + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"), nil
}

// Billing returns the tables of the embedded BillingStack.
func (s *Store) Billing() server.Records { return billingstack.Records(s.db, s.tx) }

func (s *Store) postgres() bool { return s.url != "" }

// Close ends all connections.
func (s *Store) Close() error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	return pool.Close()
}

// Ping returns an error if the database does not answer.
func (s *Store) Ping(ctx context.Context) error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	return pool.PingContext(ctx)
}

// tx runs f in a transaction.
func (s *Store) tx(ctx context.Context, f func(tx *gorm.DB) error) error {
	return s.explain(s.db.WithContext(ctx).Transaction(f, &sql.TxOptions{}))
}

// columns has queries name every column that they read.
func columns(db *gorm.DB) *gorm.DB { return db.Session(&gorm.Session{QueryFields: true}) }
