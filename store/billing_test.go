package store_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/store"
)

// onBoth runs a test of the embedded BillingStack on SQLite and on PostgreSQL. base ends in the version.
func onBoth(t *testing.T, test func(t *testing.T, base string)) {
	t.Run("SQLite", func(t *testing.T) {
		test(t, embedded(t, "sqlite:"+filepath.Join(t.TempDir(), "billing.db")))
	})
	t.Run("PostgreSQL", func(t *testing.T) { test(t, embedded(t, ownDatabase(t))) })
}

// embedded serves a BillingStack on the database.
func embedded(t *testing.T, database string) string {
	t.Helper()
	s, err := store.Open(t.Context(), database, secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := s.Billing()
	srv := httptest.NewServer(server.New(server.Records{
		Merchants: b.Merchants, Products: b.Products, Plans: b.Plans, Customers: b.Customers,
		Subscriptions: b.Subscriptions, Usage: b.Usage,
	}, func(r *http.Request, err error) { t.Errorf("%s %s: %v", r.Method, r.URL, err) }))
	t.Cleanup(srv.Close)
	return srv.URL + "/v2"
}

// ownDatabase makes a database that is gone after the test.
func ownDatabase(t *testing.T) string {
	t.Helper()
	raw := os.Getenv("TENANTRY_TEST_POSTGRES_URL")
	if raw == "" {
		t.Fatal("TENANTRY_TEST_POSTGRES_URL is not set: run it with `make test`, which starts PostgreSQL")
	}
	admin, err := pgx.Connect(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	name := "billing_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if _, err := admin.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		_ = admin.Close(ctx)
	})
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func TestEmbeddedBillingStackConforms(t *testing.T) {
	onBoth(t, func(t *testing.T, base string) {
		billingtest.Conformance(t, billingtest.Target{URL: base, Connections: 8})
	})
}
