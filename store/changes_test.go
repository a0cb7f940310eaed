package store_test

import (
	"testing"

	"github.com/tenantry/tenantry/store/storetest"
)

func TestFollowingRuns(t *testing.T) {
	for name, database := range map[string]func(testing.TB) string{"SQLite": template.SQLite, "PostgreSQL": template.PostgreSQL} {
		t.Run(name, func(t *testing.T) {
			storetest.FollowerConformance(t, func(t testing.TB) storetest.Followed { return migrated(t, database(t)) })
		})
	}
}
