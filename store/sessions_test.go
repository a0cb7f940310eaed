package store_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestAPoolerWithoutSessionsIsFoundWhenTheDatabaseIsOpened(t *testing.T) {
	direct := storetest.PostgreSQL(t)
	pooled, another := storetest.PgBouncer(t, direct), storetest.PostgreSQL(t)
	for _, c := range []struct {
		name             string
		database, listen string
		want             string // a part of the error; empty if the database can be opened
	}{
		{"PostgreSQL", direct, "", ""},
		{"PgBouncer, no listen URL", pooled, "", "set database_listen_url (TENANTRY_DATABASE_LISTEN_URL)"},
		{"PgBouncer, listen URL of PostgreSQL", pooled, direct, ""},
		{"PgBouncer, listen URL of PgBouncer", pooled, pooled + "&application_name=x", "database_listen_url: "},
		{"PgBouncer, listen URL of another database", pooled, another, "is not the database of database_url"},
		{"PostgreSQL, listen URL of PostgreSQL", direct, direct + "&application_name=x", ""},
		{"PostgreSQL, listen URL of another database", direct, another, "is not the database of database_url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // each refusal takes some seconds
			s, err := store.OpenPooled(t.Context(), c.database, c.listen, secret)
			if err == nil {
				must(t, s.Close())
			}
			_, wrong := errors.AsType[*store.WrongURLError](err)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want an open database", err)
			case c.want != "" && (!wrong || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want a WrongURLError with %q", err, c.want)
			}
		})
	}
}

// The lock of the migrations belongs to a session, so the migrations must not go through PgBouncer. A trigger in PostgreSQL records
// the application name of the connection for each statement of the migrations.
func TestMigrationsDoNotGoThroughPgBouncer(t *testing.T) {
	url := storetest.PostgreSQL(t)
	execute(t, url, `CREATE TABLE seen (name text);
		CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
			INSERT INTO public.seen VALUES (current_setting('application_name'));
		END $$;
		CREATE EVENT TRIGGER see ON ddl_command_end EXECUTE FUNCTION see()`)
	s, err := store.OpenPooled(t.Context(), storetest.PgBouncer(t, url), url+"&application_name=direct", secret)
	must(t, err)
	_, err = s.Migrate(t.Context())
	must(t, err)
	must(t, s.Close())
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	var direct, all int
	must(t, conn.QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE name = 'direct'), count(*) FROM seen").Scan(&direct, &all))
	must(t, conn.Close(t.Context()))
	if direct != all || all == 0 {
		t.Errorf("%d of %d statements were executed on PostgreSQL itself, want all", direct, all)
	}
}

// A store changes no settings in the sessions of PgBouncer, because other clients share these sessions. The store reports the
// missing settings.
func TestThePlannerSettingsOfAPooler(t *testing.T) {
	url := storetest.PostgreSQL(t)
	s := migratedPooled(t, url)
	for range 5 {
		missing, err := s.MissingPlannerSettings(t.Context())
		must(t, err)
		same(t, "settings that are missing", strings.Join(missing, "; "), "enable_seqscan = off; enable_bitmapscan = off;"+
			" enable_hashjoin = off; enable_mergejoin = off; jit = off; plan_cache_mode = force_generic_plan")
	}

	set := storetest.PostgreSQL(t)
	operations, err := os.ReadFile("../docs/operations.md")
	must(t, err)
	_, statements, found := strings.Cut(string(operations), "```sql\n")
	statements, _, ended := strings.Cut(statements, "```")
	if !found || !ended || !strings.Contains(statements, "ALTER ROLE tenantry IN DATABASE tenantry ") {
		t.Fatalf("docs/operations.md does not say how to set the planner: %q", statements)
	}
	config, err := pgx.ParseConfig(set)
	must(t, err)
	statements = strings.ReplaceAll(statements, "ROLE tenantry IN DATABASE tenantry ", "ROLE postgres IN DATABASE "+config.Database+" ")
	execute(t, set, statements)
	missing, err := migratedPooled(t, set).MissingPlannerSettings(t.Context())
	must(t, err)
	same(t, "settings that are missing after the statements of docs/operations.md", len(missing), 0)
	missing, err = migrated(t, set).MissingPlannerSettings(t.Context())
	must(t, err)
	same(t, "settings that are missing without a pooler", len(missing), 0)
}

// The server behind PgBouncer turns read-only, and then accepts writes again. PgBouncer keeps the connections of its clients.
func TestAServerBehindPgBouncerTurnsReadOnlyAndBack(t *testing.T) {
	url := storetest.PostgreSQL(t)
	s := migratedPooled(t, url)
	config, err := pgx.ParseConfig(url)
	must(t, err)
	for _, step := range []struct {
		setting  string
		readOnly bool
	}{{"SET default_transaction_read_only = on", true}, {"RESET default_transaction_read_only", false}} {
		server := os.Getenv("TENANTRY_TEST_POSTGRES_URL") // the URL of another database, which is not read-only
		execute(t, server, "ALTER DATABASE "+config.Database+" "+step.setting)
		execute(t, server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+config.Database+"'")
		for range 40 { // the first calls fail, because PostgreSQL has closed the sessions of PgBouncer
			err = s.CheckWrite(t.Context(), time.Now())
			if errors.Is(err, saga.ErrUnavailable) == step.readOnly && (err == nil) != step.readOnly {
				break
			}
		}
		switch {
		case step.readOnly && !errors.Is(err, saga.ErrUnavailable):
			t.Errorf("after %s: got %v, want saga.ErrUnavailable", step.setting, err)
		case !step.readOnly && err != nil:
			t.Errorf("after %s: got %v, want a successful write", step.setting, err)
		}
	}
}

func TestNoErrorHasThePasswordOfAURL(t *testing.T) {
	direct := storetest.PostgreSQL(t)
	for _, wrong := range []string{
		"postgres://ann:c%61nary%25@127.0.0.1:1/x?sslmode=disable",
		"postgres://ann@127.0.0.1:1/x?sslmode=disable&password=canary%25",
		"postgres://ann:c%61nary%25@127.0.0.1:port/x",
		"postgres://ann@127.0.0.1:1/x?sslmode=nonsense&password=canary%25",
	} {
		for _, urls := range [][2]string{{wrong, ""}, {wrong, direct}, {direct, wrong}} {
			_, err := store.OpenPooled(t.Context(), urls[0], urls[1], secret)
			if err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "c%61nary") {
				t.Errorf("%v: got %v, want an error without the password", urls, err)
			}
		}
	}
}

// The function `execute` executes a statement on PostgreSQL itself.
func execute(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	_, err = conn.Exec(t.Context(), statement)
	must(t, err)
	must(t, conn.Close(t.Context()))
}

// openPooled opens the database at a URL of PostgreSQL through PgBouncer.
func openPooled(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.OpenPooled(t.Context(), storetest.PgBouncer(t, url), url, secret)
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

// migratedPooled opens a database through PgBouncer and runs the migrations.
func migratedPooled(t testing.TB, url string) *store.Store {
	t.Helper()
	s := openPooled(t, url)
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}
