package store_test

import (
	"testing"

	"github.com/tenantry/tenantry/store/storetest"
)

func TestBothDatabasesConform(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{
		"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL,
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Conformance(t, func(t testing.TB) storetest.Store { return migrated(t, database(t)) })
		})
	}
}

func TestReplicasHearOneAnotherThroughPostgreSQL(t *testing.T) {
	url := storetest.PostgreSQL(t)
	storetest.Wakes(t, migrated(t, url), open(t, url, secret))
}
