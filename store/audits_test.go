package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestAudits(t *testing.T) {
	for name, opened := range map[string]func(testing.TB) *store.Store{
		"SQLite":     func(t testing.TB) *store.Store { return migrated(t, template.SQLite(t)) },
		"PostgreSQL": func(t testing.TB) *store.Store { return migrated(t, template.PostgreSQL(t)) },
		"PgBouncer":  func(t testing.TB) *store.Store { return migratedPooled(t, template.PostgreSQL(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.AuditConformance(t, func(t testing.TB) (storetest.Store, audit.Store) {
				s := opened(t)
				return s, s.Audits().InPagesOf(2)
			})
		})
	}
}

// One replica takes audit b. Before the replica's transaction ends, the older audit a is stored, and a second replica tries to take
// audit a. The second replica must not get an audit.
func TestTwoAuditsAreNeverTaken(t *testing.T) {
	url := storetest.PostgreSQL(t)
	s, ctx, now := migrated(t, url), t.Context(), time.Now()
	must(t, s.Audits().Create(ctx, audit.Audit{ID: "b", CreatedAt: now}))
	first, err := pgx.Connect(ctx, url)
	must(t, err)
	defer func() { must(t, first.Close(context.WithoutCancel(ctx))) }()
	_, err = first.Exec(ctx, "BEGIN; UPDATE audits SET state = 'running', replica = 'r1', beat_at = 1 WHERE id = 'b'")
	must(t, err)
	must(t, s.Audits().Create(ctx, audit.Audit{ID: "a", CreatedAt: now}))

	second := make(chan error, 1)
	go func() {
		_, err := s.Audits().Take(ctx, "r2", now, time.UnixMicro(1))
		second <- err
	}()
	const waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
	for waits := 0; waits == 0 && len(second) == 0; {
		must(t, first.QueryRow(ctx, waiting).Scan(&waits))
	}
	_, err = first.Exec(ctx, "COMMIT")
	must(t, err)
	if err := <-second; !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("the second replica: got the error %v, want %v", err, audit.ErrNotFound)
	}
}
