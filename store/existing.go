package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"gorm.io/gorm"
)

// OpenExisting opens the database at postgres://... or sqlite:PATH, which another process may use at the same time. OpenExisting
// creates no file, runs no migration, and does not change the permissions of a file. OpenExisting returns an error if the database
// does not exist, or if its schema is not the schema of this release. The parameter `direct` has the same meaning as in
// OpenPooled. Because the Store has no secret key, it can neither store nor read users' tokens.
func OpenExisting(ctx context.Context, url, direct string) (*Store, error) {
	s := &Store{seal: &sealer{}}
	if err := s.connect(ctx, url, direct, existingFile); err != nil {
		return nil, err
	}
	if err := s.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// existingFile returns the gorm dialect for an SQLite file, which must exist.
func existingFile(path string) (gorm.Dialector, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the database %s does not exist: use the path that the server uses", path)
	case err != nil:
		return nil, fmt.Errorf("the database cannot be opened: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("the database %s is not a regular file: use the path that the server uses", path)
	}
	return openFile(path, "mode=rw"), nil
}

// versionTable is the table in which goose records the migrations that ran.
const versionTable = "goose_db_version"

// checkSchema returns an error if the database does not have the schema of this release.
func (s *Store) checkSchema(ctx context.Context) error {
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	provider, err := s.migrations(pool)
	if err != nil {
		return err
	}
	sources := provider.ListSources()
	release := sources[len(sources)-1].Version
	db := s.db.WithContext(ctx)
	var tables int64
	find := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	if s.postgres() {
		find = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?"
	}
	if err := db.Raw(find, versionTable).Scan(&tables).Error; err != nil {
		return fmt.Errorf("reading the version of the schema: %w", s.explain(err))
	}
	if tables == 0 {
		return errors.New("the database has no tables of Tenantry: use the URL that the server uses")
	}
	var version int64
	if err := db.Raw("SELECT COALESCE(MAX(version_id), 0) FROM " + versionTable + " WHERE is_applied").Scan(&version).Error; err != nil {
		return fmt.Errorf("reading the version of the schema: %w", s.explain(err))
	}
	switch {
	case version < release:
		return fmt.Errorf("the database has version %d of the schema, and this release needs version %d: use the server's release, or upgrade"+
			" the server", version, release)
	case version > release:
		return fmt.Errorf("the database has version %d of the schema, and this release knows only version %d: use the server's release",
			version, release)
	}
	return nil
}

// Time returns the database's time. With SQLite, Time returns the zero time, because all processes share one clock.
func (s *Store) Time(ctx context.Context) (now time.Time, err error) {
	if s.postgres() {
		err = s.db.WithContext(ctx).Raw("SELECT clock_timestamp()").Scan(&now).Error
	}
	return now, err
}
