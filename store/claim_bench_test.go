package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

// BenchmarkClaim claims one run at a time, as replicas under full load do. Up to 10,000 other runs are due at the same time. These
// runs belong to one merchant or to a hundred merchants. The database also contains 100,000 ended runs, which must not make Claim slower.
func BenchmarkClaim(b *testing.B) {
	for name, waiting := range map[string]struct{ runs, merchants int }{
		"waiting=100": {100, 1}, "waiting=10000": {10_000, 1}, "waiting=10000,merchants=100": {10_000, 100},
	} {
		b.Run(name, func(b *testing.B) {
			url := storetest.PostgreSQL(b)
			s, now := open(b, url, secret), time.Now()
			if _, err := s.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			if _, err := s.Join(b.Context(), "r1", now.Add(time.Hour)); err != nil {
				b.Fatal(err)
			}
			fill(b, url, 100_000, 1, "succeeded", "0", "NULL")
			fill(b, url, waiting.runs, waiting.merchants, "pending", "NULL", "0")
			for b.Loop() {
				if _, err := s.Claim(b.Context(), saga.Claim{Due: saga.Due{Now: now}, Replica: "r1", Limit: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The function `fill` inserts runs without steps.
func fill(b *testing.B, url string, runs, merchants int, state, endedAt, dueAt string) {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close(ctx)
	_, err = db.Exec(ctx, `INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, doubles,
		on_failure, input, idempotency_key, fingerprint, pinned_steps, created_at, state, updated_at, ended_at, due_at, worked, budget_from,
		rechecks, take_overs, holds_subject, epoch, version, last_seq)
	SELECT gen_random_uuid(), 'w', 1, 'm' || i % $2, '', i, 'u', 'p', 'compensate', repeat('x', 500), i, '', '[]', 0, $3, 0,
		`+endedAt+`, `+dueAt+`, 0, 0, 0, 0, FALSE, 0, 1, 0 FROM generate_series(1, $1::int) i`, runs, merchants, state)
	if err == nil {
		_, err = db.Exec(ctx, "ANALYZE runs")
	}
	if err != nil {
		b.Fatal(err)
	}
}
