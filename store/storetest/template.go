package storetest

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Template creates databases that are already migrated. It migrates one database, and copies it for each test. A copy has no installation
// id, so that each copy becomes an installation of its own. The zero value is not valid: Migrate must be set.
type Template struct {
	// Migrate migrates a new database, and closes its connections.
	Migrate func(ctx context.Context, url string) error

	mu       sync.Mutex
	file     []byte // the migrated SQLite database
	database string // name of the migrated PostgreSQL database
}

// The statement withoutID removes the installation's id, which a store makes again.
const withoutID = "DELETE FROM settings WHERE name = 'installation-id'"

// SQLite is like the function SQLite, but the database is migrated.
func (t *Template) SQLite(tb testing.TB) string {
	tb.Helper()
	url := SQLite(tb)
	t.Fill(tb, url)
	return url
}

// Fill copies the template into a new SQLite database. If the database exists or is a PostgreSQL database, Fill does nothing.
func (t *Template) Fill(tb testing.TB, url string) {
	tb.Helper()
	path, is := strings.CutPrefix(url, "sqlite:")
	if _, err := os.Stat(path); !is || !errors.Is(err, fs.ErrNotExist) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		var err error
		if t.file, err = t.migrated(tb); err != nil {
			tb.Fatalf("migrating the template: %v", err)
		}
	}
	if err := os.WriteFile(path, t.file, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// The method `migrated` returns the file of a migrated SQLite database.
func (t *Template) migrated(tb testing.TB) (_ []byte, err error) {
	path := filepath.Join(tb.TempDir(), "template.db")
	if err := t.Migrate(tb.Context(), "sqlite:"+path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(tb.Context(), withoutID)
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// PostgreSQL is like the function PostgreSQL, but the database is migrated. The template itself stays on the server, which ends after the tests.
func (t *Template) PostgreSQL(tb testing.TB) string {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.database == "" {
		name, url := create(tb, "")
		if err := t.Migrate(tb.Context(), url); err != nil {
			tb.Fatalf("migrating the template: %v", err)
		}
		execute(tb, url, withoutID)
		t.database = name
	}
	name, url := create(tb, t.database)
	tb.Cleanup(func() { drop(tb, name) })
	return url
}
