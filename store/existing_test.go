package store

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/store/storetest"
)

// The function `migrated` returns a Store on a database that is migrated to a version of the schema; zero means this release's
// version.
func migrated(t *testing.T, url string, version int64) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if version == 0 {
		_, err = s.Migrate(t.Context())
	} else if pool, e := s.db.DB(); e == nil {
		provider, e := s.migrations(pool)
		if e != nil {
			t.Fatal(e)
		}
		_, err = provider.UpTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The function `versions` returns the number of rows in the table of versions, and the highest version.
func versions(t *testing.T, s *Store) (rows struct{ N, Max int64 }) {
	t.Helper()
	if err := s.db.Raw("SELECT count(*) AS n, max(version_id) AS max FROM " + versionTable).Scan(&rows).Error; err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestOpeningAnExistingDatabase(t *testing.T) {
	for name, newURL := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			url := newURL(t)
			first := migrated(t, url, 0)
			before := versions(t, first)
			s, err := OpenExisting(t.Context(), url, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.CheckWrite(t.Context(), time.Unix(1, 0)); err != nil {
				t.Error("a second writer: ", err)
			}
			if now, err := s.Time(t.Context()); err != nil || now.IsZero() != (name == "SQLite") {
				t.Errorf("the time: got %v, %v", now, err)
			}
			if _, err := s.seal.close("run", "token"); err == nil {
				t.Error("a token was sealed without a key")
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if after := versions(t, first); after != before {
				t.Errorf("the versions were %v and are %v", before, after)
			}
		})
	}
}

func TestADatabaseWithAnotherSchemaIsNotOpened(t *testing.T) {
	for name, newURL := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		for what, c := range map[string]struct {
			version   int64
			statement string
			says      string
		}{
			"older": {11, "", "has version 11 of the schema, and this release needs version "},
			"newer": {
				0, "INSERT INTO " + versionTable + " (version_id, is_applied) VALUES (9999, true)",
				"has version 9999 of the schema, and this release knows only",
			},
			"not Tenantry": {0, "ALTER TABLE " + versionTable + " RENAME TO other", "has no tables of Tenantry"},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				url := newURL(t)
				first := migrated(t, url, c.version)
				if c.statement != "" {
					if err := first.db.Exec(c.statement).Error; err != nil {
						t.Fatal(err)
					}
				}
				_, err := OpenExisting(t.Context(), url, "")
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want %q", err, c.says)
				}
				if what == "older" && versions(t, first).Max != c.version {
					t.Errorf("the database was migrated: %v", versions(t, first))
				}
			})
		}
	}
}

// OpenExisting creates no file, and changes neither the content nor the mode of a file that is not a database of Tenantry.
func TestAFileThatIsNoDatabaseIsNotOpened(t *testing.T) {
	for what, c := range map[string]struct {
		make func(path string) error
		says string
	}{
		"missing":             {func(string) error { return nil }, "t.db does not exist"},
		"in a missing folder": {func(path string) error { return os.Remove(filepath.Dir(path)) }, "t.db does not exist"},
		"a directory":         {func(path string) error { return os.Mkdir(path, 0o755) }, "t.db is not a regular file"},
		"empty":               {func(path string) error { return os.WriteFile(path, nil, 0o644) }, "has no tables of Tenantry"},
		"some text": {func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("text ", 999)), 0o644)
		}, "not a database"},
		"a link without target": {func(path string) error { return os.Symlink("nowhere", path) }, "t.db does not exist"},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sub", "t.db")
			if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), c.make(path)); err != nil {
				t.Fatal(err)
			}
			before := tree(t, path)
			if _, err := OpenExisting(t.Context(), "sqlite:"+path, ""); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if after := tree(t, path); after != before {
				t.Errorf("got the files\n%swant\n%s", after, before)
			}
		})
	}
}

// The function `tree` describes the parent of the file's folder: all files and folders in it, with their modes and contents.
func tree(t *testing.T, path string) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(filepath.Dir(filepath.Dir(path)), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		}
		fmt.Fprintf(&text, "%s %s %d bytes %.20q\n", path, info.Mode(), len(content), content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// If the user of PostgreSQL may not read the tables, or if the server cannot be reached, the error does not contain the password.
func TestAServerThatRefusesTheUserIsNotOpened(t *testing.T) {
	database := storetest.PostgreSQL(t)
	migrated(t, database, 0)
	stranger, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := stranger.Query()
	query.Set("options", "-c role=pg_monitor") // may connect, but has no rights on the tables
	stranger.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	for what, c := range map[string]struct{ url, says string }{
		"no rights on the tables": {stranger.String(), "permission denied"},
		"no server":               {"postgres://ann:canary-password@127.0.0.1:1/none?connect_timeout=1", "127.0.0.1"},
	} {
		s, err := OpenExisting(t.Context(), c.url, "")
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canary-password") {
			t.Errorf("%s: got %v, want %q", what, err, c.says)
		}
	}
}
