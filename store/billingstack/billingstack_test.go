package billingstack_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// onBoth runs a test of the embedded BillingStack on SQLite and on PostgreSQL. The function `test` gets the URL of the
// BillingStack, including the API version.
func onBoth(t *testing.T, test func(t *testing.T, base string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, embedded(t, storetest.SQLite(t))) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, embedded(t, storetest.PostgreSQL(t))) })
}

// The function `embedded` starts an embedded BillingStack that uses the database, and returns the URL of the BillingStack.
func embedded(t *testing.T, database string) string {
	t.Helper()
	s, err := store.Open(t.Context(), database, make([]byte, store.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(server.New(s.Billing(), func(r *http.Request, err error) { t.Errorf("%s %s: %v", r.Method, r.URL, err) }))
	t.Cleanup(srv.Close)
	return srv.URL + "/v2"
}

func TestEmbeddedBillingStackConforms(t *testing.T) {
	onBoth(t, func(t *testing.T, base string) {
		billingtest.Conformance(t, billingtest.Target{URL: base, Connections: 8, UsageTimes: true})
	})
}
