package store_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// The connections of a pool have become read-only, because the server has become a standby. After one refused write, the pool
// connects again, and finds a server that accepts writes.
func TestAConnectionThatTurnedReadOnlyIsDropped(t *testing.T) {
	s := migrated(t, template.PostgreSQL(t))
	must(t, s.TurnReadOnly(t.Context(), 5))
	if err := s.CheckWrite(t.Context(), time.Now()); !errors.Is(err, saga.ErrUnavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a write to a server that is read-only: got %v, want saga.ErrUnavailable", err)
	}
	for range 6 {
		must(t, s.CheckWrite(t.Context(), time.Now()))
	}

	must(t, s.TurnReadOnly(t.Context(), 2))
	_, err := s.Join(t.Context(), "replica", time.Now()) // a statement that returns rows
	if err == nil {
		t.Error("a write to a server that is read-only succeeded")
	}
	_, err = s.Join(t.Context(), "replica", time.Now())
	must(t, err)
}

func TestAReadOnlyServerIsNotConnectedTo(t *testing.T) {
	address := storetest.PostgreSQL(t)
	migrated(t, address)
	config, err := pgx.ParseConfig(address)
	must(t, err)
	server, err := pgx.Connect(t.Context(), os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	must(t, err)
	defer func() { must(t, server.Close(context.WithoutCancel(t.Context()))) }()
	_, err = server.Exec(t.Context(), "ALTER DATABASE "+config.Database+" SET default_transaction_read_only = on")
	must(t, err)

	if _, err = store.Open(t.Context(), address, secret); !errors.Is(err, saga.ErrUnavailable) || !strings.Contains(err.Error(), "read only") {
		t.Errorf("got %v, want saga.ErrUnavailable, because the server is read-only", err)
	}
	u, err := url.Parse(address)
	must(t, err)
	query := u.Query()
	query.Set("target_session_attrs", "any")
	u.RawQuery = query.Encode()
	s := open(t, u.String(), secret)
	if err := s.CheckWrite(t.Context(), time.Now()); !errors.Is(err, saga.ErrUnavailable) {
		t.Errorf("with target_session_attrs=any: got %v, want a connection that refuses writes", err)
	}
	_, err = server.Exec(t.Context(), "ALTER DATABASE "+config.Database+" RESET default_transaction_read_only")
	must(t, err)
	must(t, s.CheckWrite(t.Context(), time.Now()))
	must(t, open(t, address, secret).CheckWrite(t.Context(), time.Now()))
}

func TestCheckWriteOnSQLite(t *testing.T) {
	s := migrated(t, template.SQLite(t))
	for range 2 {
		must(t, s.CheckWrite(t.Context(), time.Now()))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CheckWrite(ended, time.Now()); err == nil {
		t.Error("nothing was written, but there is no error")
	}
}

func TestAddressesHaveNoUserAndNoPassword(t *testing.T) {
	directory, err := os.Getwd()
	must(t, err)
	for given, want := range map[string]string{
		"postgres://ann:canary@db.example.org/tenantry?sslmode=disable":             "postgres://db.example.org:5432/tenantry",
		"postgres://db1,db2:5433/tenantry?password=canary&target_session_attrs=any": "postgres://db1:5432,db2:5433/tenantry",
		"postgres:///tenantry?host=/run/postgresql&user=ann&password=canary":        "postgres:///run/postgresql:5432/tenantry",
		"postgresql://ann:canary@[::1]:6000/x":                                      "postgres://[::1]:6000/x",
		"sqlite:/var/lib/t.db":                                                      "sqlite:/var/lib/t.db",
		"sqlite:a/../t.db":                                                          "sqlite:" + filepath.Join(directory, "t.db"),
		"postgres://ann:canary@db.example.org:notaport/":                            "",
	} {
		if got := store.Address(given); got != want {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
}
