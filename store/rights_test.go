package store

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/store/storetest"
)

func TestRightsOfTheDatabasesUser(t *testing.T) {
	address := storetest.PostgreSQL(t)
	migrated(t, address, 0)
	super, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(statement string) {
		t.Helper()
		if _, err := super.Exec(context.Background(), statement); err != nil {
			t.Fatal(err)
		}
	}
	name := "Rights " + uuid.NewString()[:8]
	quoted := pgx.Identifier{name}.Sanitize()
	exec("CREATE ROLE " + quoted + " LOGIN PASSWORD 'pw'")
	t.Cleanup(func() {
		exec("DROP OWNED BY " + quoted + "; DROP ROLE " + quoted)
		_ = super.Close(context.Background())
	})
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "pw")
	rights := func() Rights {
		t.Helper()
		s, err := OpenAny(t.Context(), u.String(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r, err := s.Rights(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	got := rights()
	if got.User != quoted || got.Schema != `"public"` || got.MayCreate || got.MayWrite || got.Needed != 17 || got.Limit != "max_connections" ||
		got.Capacity < 17 || got.Free >= got.Capacity || got.Free < 1 {
		t.Errorf("without rights: got %+v", got)
	}
	exec("GRANT CREATE ON SCHEMA public TO " + quoted + "; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO " + quoted +
		"; ALTER ROLE " + quoted + " CONNECTION LIMIT 5")
	if got = rights(); !got.MayCreate || !got.MayWrite || got.Capacity != 5 || got.Free != 5 || got.Limit != "role" {
		t.Errorf("with a limit of the role: got %+v", got)
	}
	exec("ALTER DATABASE " + strings.TrimPrefix(u.Path, "/") + " CONNECTION LIMIT 4")
	if got = rights(); got.Capacity != 4 || got.Free >= 4 || got.Limit != "database" {
		t.Errorf("with a limit of the database: got %+v", got)
	}
	pooled, err := OpenPooled(t.Context(), storetest.PgBouncer(t, address), address, make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	defer pooled.Close()
	if got, err := pooled.Rights(t.Context()); err != nil || got.Needed != 1 {
		t.Errorf("with a pooler: got %+v, %v", got, err)
	}
}

// A command that only reads a database can see its schema and its key, whatever the schema is.
func TestADatabaseIsExamined(t *testing.T) {
	for name, newURL := range map[string]func(testing.TB) string{"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			address := newURL(t)
			first, err := Open(t.Context(), address, make([]byte, KeySize))
			if err != nil {
				t.Fatal(err)
			}
			if name == "SQLite" { // the file is created by the first statement that needs it
				if err := first.db.Exec("CREATE TABLE other (id INTEGER)").Error; err != nil {
					t.Fatal(err)
				}
			}
			s, err := OpenAny(t.Context(), address, "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _, _ = s.Close(), first.Close() })
			if got, err := s.Schema(t.Context()); err != nil || got.Version != 0 || got.Release < 20 {
				t.Errorf("without tables: got %+v, %v", got, err)
			}
			if got, err := s.Rights(t.Context()); err != nil || !got.MayCreate || !got.MayWrite {
				t.Errorf("without tables: got %+v, %v", got, err)
			}
			if _, err := first.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Schema(t.Context()); err != nil || got.Version != got.Release {
				t.Errorf("migrated: got %+v, %v", got, err)
			}
			other := make([]byte, KeySize)
			other[0] = 1
			for _, c := range []struct {
				key  []byte
				same bool
			}{{make([]byte, KeySize), true}, {other, false}, {nil, false}} {
				if known, same, err := s.HasKey(t.Context(), c.key); err != nil || !known || same != c.same {
					t.Errorf("key %v: got %t, %t, %v", c.key, known, same, err)
				}
			}
		})
	}
}
