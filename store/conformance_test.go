package store_test

import (
	"testing"

	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestBothDatabasesConform(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{
		"SQLite": template.SQLite, "PostgreSQL": template.PostgreSQL,
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Conformance(t, func(t testing.TB) storetest.Store { return migrated(t, database(t)) }, disable)
		})
	}
}

// The pool of PgBouncer is smaller than the pool of a store. The statements of a store are therefore executed in different sessions.
func TestPostgreSQLBehindPgBouncerConforms(t *testing.T) {
	storetest.Conformance(t, func(t testing.TB) storetest.Store { return migratedPooled(t, template.PostgreSQL(t)) }, disable)
}

func disable(t testing.TB, s storetest.Store, merchant string, disabled bool) {
	t.Helper()
	storetest.DisableMerchant(t, s.(*store.Store).Merchants(), merchant, disabled)
}

func TestReplicasHearOneAnother(t *testing.T) {
	for name, opened := range map[string]func(testing.TB, string) *store.Store{
		"through PostgreSQL": migrated, "through PgBouncer": migratedPooled,
	} {
		t.Run(name, func(t *testing.T) {
			url := storetest.PostgreSQL(t)
			storetest.Wakes(t, opened(t, url), opened(t, url))
		})
	}
}
