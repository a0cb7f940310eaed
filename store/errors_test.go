package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The method `explain` is also applied to the errors of statements outside of the Store's transactions.
func TestEveryStatementTellsThatTheDiskIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.db")
	s := migrated(t, "sqlite:"+path, 0)
	if err := s.db.Exec("PRAGMA max_page_count = 1").Error; err != nil { // SQLite raises this limit to the present number of pages
		t.Fatal(err)
	}
	var err error
	for i := 0; i < 10000 && err == nil; i++ {
		_, err = s.Join(t.Context(), fmt.Sprint("replica-", i), time.Now())
	}
	want := path + " cannot be written because its disk is full: free some space on the disk (SQLite error 13)"
	if !errors.Is(err, saga.ErrDiskFull) || !errors.Is(err, saga.ErrUnavailable) || !strings.HasSuffix(err.Error(), ": "+want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestErrorsAreExplainedOnce(t *testing.T) {
	s := &Store{url: "postgres://h/d"}
	for code, want := range map[string]error{"53100": saga.ErrDiskFull, "25006": saga.ErrReadOnly} {
		err := s.explain(&pgconn.PgError{Code: code})
		if again := s.explain(err); !errors.Is(err, want) || !errors.Is(err, saga.ErrUnavailable) || again.Error() != err.Error() {
			t.Errorf("%s: got %v, then %v", code, err, again)
		}
	}
}
