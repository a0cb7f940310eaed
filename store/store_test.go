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
		t.Errorf("the made directory: %v, %v; want it closed to others", info.Mode(), err)
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
		t.Errorf("migrations run by each: %v, want all by one", counts)
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
	path := t.TempDir() // a directory: not even root can write it as a file
	_, err := store.Open(t.Context(), "sqlite:"+path, secret)
	if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "memory") {
		t.Errorf("got %v, want %s and no word of memory", err, path)
	}
}

func TestAnEmptyPasswordLeavesTheErrorReadable(t *testing.T) {
	_, err := store.Open(t.Context(), "postgres://ann:@127.0.0.1:1/x?sslmode=disable", secret)
	if err == nil || strings.Contains(err.Error(), "***") {
		t.Errorf("got %v", err)
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

// migrated opens a database and makes its tables.
func migrated(t testing.TB, url string) *store.Store {
	t.Helper()
	s := open(t, url, secret)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
