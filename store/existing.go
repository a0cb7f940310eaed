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

// OpenExisting is like OpenAny, but returns an error if the schema of the database is not the schema of this release.
func OpenExisting(ctx context.Context, url, direct string) (*Store, error) {
	s, err := OpenAny(ctx, url, direct)
	if err != nil {
		return nil, err
	}
	if err := s.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OpenAny opens the database at postgres://... or sqlite:PATH, which another process may use at the same time. OpenAny creates no file, runs
// no migration, and does not change the permissions of a file. The schema can be of any release: see Schema. OpenAny returns an error if the
// database does not exist. The parameter `direct` has the same meaning as in OpenPooled. Because the Store has no secret key, it can neither
// store nor read users' tokens.
func OpenAny(ctx context.Context, url, direct string) (*Store, error) {
	s := &Store{seal: &sealer{}}
	if err := s.connect(ctx, url, direct, existingFile); err != nil {
		return nil, err
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

// Schema is the version of a database's schema. A database without Tenantry's tables has version 0.
type Schema struct {
	Version int64
	Release int64 // the version that this release needs
}

// Schema reads the version of the database's schema.
func (s *Store) Schema(ctx context.Context) (Schema, error) {
	pool, err := s.db.DB()
	if err != nil {
		return Schema{}, err
	}
	provider, err := s.migrations(pool)
	if err != nil {
		return Schema{}, err
	}
	sources := provider.ListSources()
	schema := Schema{Release: sources[len(sources)-1].Version}
	db := s.db.WithContext(ctx)
	var tables int64
	find := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	if s.postgres() {
		find = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = ?"
	}
	if err := db.Raw(find, versionTable).Scan(&tables).Error; err != nil {
		return Schema{}, fmt.Errorf("reading the version of the schema: %w", s.explain(err))
	}
	if tables == 0 {
		return schema, nil
	}
	if err := db.Raw("SELECT COALESCE(MAX(version_id), 0) FROM " + versionTable + " WHERE is_applied").Scan(&schema.Version).Error; err != nil {
		return Schema{}, fmt.Errorf("reading the version of the schema: %w", s.explain(err))
	}
	return schema, nil
}

// checkSchema returns an error if the database does not have the schema of this release.
func (s *Store) checkSchema(ctx context.Context) error {
	schema, err := s.Schema(ctx)
	switch {
	case err != nil:
		return err
	case schema.Version == 0:
		return errors.New("the database has no tables of Tenantry: use the URL that the server uses")
	case schema.Version < schema.Release:
		return fmt.Errorf("the database has version %d of the schema, and this release needs version %d: use the server's release, or upgrade"+
			" the server", schema.Version, schema.Release)
	case schema.Version > schema.Release:
		return fmt.Errorf("the database has version %d of the schema, and this release knows only version %d: use the server's release",
			schema.Version, schema.Release)
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
