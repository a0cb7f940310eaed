package store_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

var secret = bytes.Repeat([]byte{7}, store.KeySize)

func TestMigratingTwiceAndWithAnotherKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "tenantry.db")
	first := open(t, "sqlite:"+path, secret)
	n, err := first.Migrate(t.Context())
	if err != nil || n == 0 {
		t.Fatalf("first migration: ran %d, %v", n, err)
	}
	if n, err = first.Migrate(t.Context()); err != nil || n != 0 {
		t.Fatalf("second migration: ran %d, %v; want none", n, err)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the created directory: %v, %v; want no permissions for other users", info.Mode(), err)
	}
	other := open(t, "sqlite:"+path, bytes.Repeat([]byte{8}, store.KeySize))
	if _, err := other.Migrate(t.Context()); !errors.Is(err, store.ErrOtherKey) {
		t.Errorf("another secret key: got %v, want ErrOtherKey", err)
	}
}

func TestThreeReplicasMigrateAtOnce(t *testing.T) {
	url := storetest.PostgreSQL(t)
	var all sync.WaitGroup
	ran := make(chan int, 3)
	for range 3 {
		s := open(t, url, secret)
		all.Go(func() {
			n, err := s.Migrate(context.Background())
			if err != nil {
				t.Error(err)
			}
			ran <- n
		})
	}
	all.Wait()
	close(ran)
	var counts []int
	for n := range ran {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	if counts[0] != 0 || counts[1] != 0 || counts[2] == 0 {
		t.Errorf("numbers of migrations that the replicas ran: %v; want one replica to run all migrations", counts)
	}
}

func TestOpeningNonsense(t *testing.T) {
	for name, url := range map[string]string{"no scheme": "tenantry.db", "mysql": "mysql://localhost/x", "empty": ""} {
		if s, err := store.Open(t.Context(), url, secret); err == nil {
			t.Errorf("%s: opened %v", name, s)
		}
	}
	if _, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), []byte("short")); err == nil {
		t.Error("a short secret key was accepted")
	}
}

func TestOpeningWhatIsNoFileTellsThePath(t *testing.T) {
	path := t.TempDir() // a directory: even root cannot open it as a database file
	_, err := store.Open(t.Context(), "sqlite:"+path, secret)
	if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "memory") {
		t.Errorf("got %v, want an error with %s and without the word memory", err, path)
	}
}

func TestAPathIsNotReadAsAURI(t *testing.T) {
	for _, name := range []string{"a b.db", "100%.db", "a%20b.db", "what?.db", "c.db?mode=memory", "d#1.db", "ü&=.db"} {
		dir := t.TempDir()
		migrated(t, "sqlite:"+dir+"//"+name)
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), name) {
				t.Errorf("the database %s has the file %s", name, e.Name())
			}
		}
		if len(entries) == 0 {
			t.Errorf("the database %s has no file", name)
		}
	}
}

// Other users cannot read a database file, even if they can read the file's directory. If an older release created the file,
// opening the database removes the permissions of the other users.
func TestOnlyItsUserCanReadADatabase(t *testing.T) {
	for _, existed := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "t.db")
		must(t, os.Chmod(filepath.Dir(path), 0o755))
		if existed {
			must(t, os.WriteFile(path, nil, 0o644)) // as an older release created the file
			must(t, os.Chmod(path, 0o644))
		}
		migrated(t, "sqlite:"+path)
		entries, err := os.ReadDir(filepath.Dir(path))
		must(t, err)
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			if mode := info.Mode().Perm(); mode != 0o600 {
				t.Errorf("%s has mode %o, want 600 (the file existed: %v)", e.Name(), mode, existed)
			}
		}
		same(t, "files of the database", len(entries) >= 1, true)
	}
}

func TestAnEmptyPasswordLeavesTheErrorReadable(t *testing.T) {
	_, err := store.Open(t.Context(), "postgres://ann:@127.0.0.1:1/x?sslmode=disable", secret)
	if err == nil || strings.Contains(err.Error(), "***") {
		t.Errorf("got %v", err)
	}
}

// PostgreSQL refuses connections with error codes of many classes, for example XX000 if the disk is full. In this test, PostgreSQL
// refuses connections with the error code 55000.
func TestADatabaseThatTakesNoConnectionsIsUnavailable(t *testing.T) {
	url := storetest.PostgreSQL(t)
	s := migrated(t, url)
	config, err := pgx.ParseConfig(url)
	must(t, err)
	server, err := pgx.Connect(t.Context(), os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	must(t, err)
	defer func() { must(t, server.Close(context.WithoutCancel(t.Context()))) }()
	_, err = server.Exec(t.Context(), "ALTER DATABASE "+config.Database+" WITH ALLOW_CONNECTIONS false")
	must(t, err)
	_, err = server.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", config.Database)
	must(t, err)
	for range 16 + 1 { // the first calls fail, because PostgreSQL has closed the connections of the pool
		if _, err = s.Run(t.Context(), "01J00000000000000000000000"); errors.Is(err, saga.ErrUnavailable) {
			break
		}
	}
	if !errors.Is(err, saga.ErrUnavailable) || !strings.Contains(err.Error(), "55000") {
		t.Errorf("got %v, want saga.ErrUnavailable with PostgreSQL's error code 55000", err)
	}
}

func open(t testing.TB, url string, secret []byte) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The variable `template` creates databases that need no migrations.
var template = storetest.Template{Migrate: func(ctx context.Context, url string) error {
	s, err := store.Open(ctx, url, secret)
	if err != nil {
		return err
	}
	_, err = s.Migrate(ctx)
	return errors.Join(err, s.Close())
}}

// The function `migrated` opens a database, and runs the migrations that it needs.
func migrated(t testing.TB, url string) *store.Store {
	t.Helper()
	s := open(t, url, secret)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
