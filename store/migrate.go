package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate migrates the database to the schema of this release, and returns the number of executed migrations. Migrate may be
// repeated. If several replicas start at the same time, one replica migrates the database while the other replicas wait. Migrate
// returns ErrOtherKey if the database was created with another secret key.
func (s *Store) Migrate(ctx context.Context) (_ int, err error) {
	pool, closePool, err := s.sessionPool()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closePool()) }()
	provider, err := s.migrations(pool)
	if err != nil {
		return 0, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return 0, fmt.Errorf("migrating the database: %w", s.explain(err))
	}
	if err := s.checkKey(ctx); err != nil {
		return len(results), s.explain(err)
	}
	_, err = s.InstallationID(ctx)
	return len(results), s.explain(err)
}

// The method `migrations` returns all migrations: the migrations in SQL files, and migration 5, whose statements differ between
// PostgreSQL and SQLite. On PostgreSQL, the migrations are executed while a session holds an advisory lock.
func (s *Store) migrations(pool *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	dialect, pinSteps, options := goose.DialectSQLite3, pinStepsSQLite, []goose.ProviderOption{}
	if s.postgres() {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return nil, err
		}
		dialect, pinSteps, options = goose.DialectPostgres, pinStepsPostgres, append(options, goose.WithSessionLocker(locker))
	}
	options = append(options, goose.WithGoMigrations(statements(5, pinSteps)))
	return goose.NewProvider(dialect, pool, files, options...)
}

// The function `statements` builds a migration from a list of SQL statements.
func statements(version int64, sqls []string) *goose.Migration {
	up := func(ctx context.Context, tx *sql.Tx) error {
		for _, one := range sqls {
			if _, err := tx.ExecContext(ctx, one); err != nil {
				return err
			}
		}
		return nil
	}
	return goose.NewGoMigration(version, &goose.GoFunc{RunTx: up}, nil)
}

// Migration 5 moves the immutable columns of the table steps into the column pinned_steps of the table runs. After this migration,
// a step gets its own row only when the step begins. The fill factors leave free space on each page of a table. PostgreSQL stores
// the new version of an updated row in this space, and then needs no new index entries. The row of a run is written about nine
// times, and the row of a step twice.
var (
	pinStepsPostgres = []string{
		`ALTER TABLE runs ADD COLUMN pinned_steps TEXT`,
		`UPDATE runs SET pinned_steps = (
			SELECT COALESCE(json_agg(json_build_object('name', name, 'after', after::json, 'optional', optional) ORDER BY position), '[]')
			FROM steps WHERE run_id = runs.id)::text`,
		`ALTER TABLE runs ALTER COLUMN pinned_steps SET NOT NULL`,
		`DELETE FROM steps WHERE state = 'pending' AND attempts = 0`,
		`ALTER TABLE steps DROP COLUMN position, DROP COLUMN after, DROP COLUMN optional`,
		`ALTER TABLE runs SET (fillfactor = 50)`,
		`ALTER TABLE steps SET (fillfactor = 60)`,
	}
	pinStepsSQLite = []string{
		`ALTER TABLE runs ADD COLUMN pinned_steps TEXT NOT NULL DEFAULT '[]'`,
		`UPDATE runs SET pinned_steps = (
			SELECT json_group_array(json_object('name', name, 'after', json(after), 'optional', json(iif(optional, 'true', 'false'))))
			FROM (SELECT * FROM steps WHERE run_id = runs.id ORDER BY position))`,
		`DELETE FROM steps WHERE state = 'pending' AND attempts = 0`,
		`ALTER TABLE steps DROP COLUMN position`,
		`ALTER TABLE steps DROP COLUMN after`,
		`ALTER TABLE steps DROP COLUMN optional`,
	}
)
