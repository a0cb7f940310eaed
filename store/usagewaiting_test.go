package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
)

func TestAuditsReadUsageThatWaits(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		day := 24 * time.Hour
		check := func(what string, at time.Time, want audit.WaitingUsage) {
			t.Helper()
			got, err := s.Audits().WaitingUsage(t.Context(), "m", at.Add(-day))
			must(t, err)
			same(t, what, got, want)
		}
		check("no usage", noon, audit.WaitingUsage{})
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1"))
		finish(t, s, noon.Add(time.Hour), "q", "s2", 0, measured(0, time.Hour, "cpu", "1"))
		must(t, s.Usage().Failed(t.Context(), noon, "m", errors.New("first")))
		must(t, s.Usage().Failed(t.Context(), noon.Add(time.Minute), "m", errors.New("second")))
		must(t, s.Usage().Failed(t.Context(), noon, "m2", errors.New("of another merchant")))
		check("a day", noon.Add(day), audit.WaitingUsage{})
		failed := audit.WaitingUsage{Since: noon, Hours: 1, Failure: "second", FailedAt: noon.Add(time.Minute)}
		check("more than a day", noon.Add(day+time.Microsecond), failed)
		failed.Hours = 2
		check("two hours", noon.Add(2*day), failed)
		if other, err := s.Audits().WaitingUsage(t.Context(), "m2", noon.Add(day)); err != nil || !other.Since.IsZero() {
			t.Errorf("another merchant: %+v, %v", other, err)
		}

		// The usage of an hour becomes a row. The plan of the other one is gone, and is looked for again later.
		later := noon.Add(3 * day)
		_, err := s.Usage().Bill(t.Context(), later, "m", 10, func(r usage.Reading) (usage.Bill, []saga.FollowUp) {
			made, _ := billed(r)
			return usage.Bill{Rows: made.Rows[:1], Later: map[string]bool{"s2": true}}, nil
		})
		must(t, err)
		check("after the billing", later.Add(day), audit.WaitingUsage{})
		check("a row waits for more than a day, and the plan was looked for an hour later", later.Add(day+time.Minute), audit.WaitingUsage{Since: later, Rows: 1})
		check("the plan was not looked for", later.Add(3*day), audit.WaitingUsage{Since: later, Hours: 1, Rows: 1})
		must(t, s.Usage().Posted(t.Context(), later, "m", "run", []usage.Posted{{Row: usage.RowID("s", "id-cpu", usage.Hour(noon), 0)}}))
		check("the row was posted", later.Add(3*day), audit.WaitingUsage{Since: later.Add(time.Hour), Hours: 1})
		billAll(t, s, later.Add(3*day))
		check("all usage was billed", later.Add(3*day), audit.WaitingUsage{})
	})
}

func TestAFailureIsStoredSafely(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		finish(t, s, noon, "p", "s", 0, measured(0, time.Hour, "cpu", "1"))
		must(t, s.Usage().Failed(t.Context(), noon, "m", errors.New("bad \xff\x00 "+strings.Repeat("ü", 100_000))))
		got, err := s.Audits().WaitingUsage(t.Context(), "m", noon.Add(time.Hour))
		must(t, err)
		if len(got.Failure) > 1024 || !utf8.ValidString(got.Failure) || !strings.HasPrefix(got.Failure, "bad \uFFFD\uFFFD ü") {
			t.Errorf("the failure has %d bytes: %q", len(got.Failure), got.Failure)
		}
	})
}

// The number of hours and rows that are counted is limited.
func TestManyHoursThatWait(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		const numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
		must(t, s.DB().Exec(fmt.Sprintf("INSERT INTO usage_unbilled (cloud, project_id, hour, merchant_id, subscription_id, due_at) "+numbers+
			"SELECT 'default', 'p', i, 'm', 's', 5 FROM n", audit.MaxWaiting+1)).Error)
		must(t, s.DB().Exec(fmt.Sprintf(`INSERT INTO usage_rows (id, merchant_id, subscription_id, product_id, product, plan_id, hour, from_at, to_at,
			revision, value, made_at) `+numbers+"SELECT CAST(i AS TEXT), 'm', 's', 'p', 'p', 'plan', 0, 0, 0, 0, '1', 7 FROM n", audit.MaxWaiting+1)).Error)
		got, err := s.Audits().WaitingUsage(t.Context(), "m", noon)
		must(t, err)
		same(t, "the usage that waits", got, audit.WaitingUsage{Since: time.UnixMicro(5).UTC(), Hours: audit.MaxWaiting, Rows: audit.MaxWaiting})
	})
}

// The samples of an hour are deleted, and the hour is due again, as in a database that was restored. Its usage stays, and nothing is taken back.
func TestAnHourWithoutItsSamplesKeepsItsUsage(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1", point(usage.Delta, 0, 7)))
		due, _ := take(t, s, noon.Add(2*time.Hour), 1)
		f := usage.Finished{Merchant: "m", Subscription: "s", Usage: []usage.Measured{measured(0, time.Hour, "cpu", "7")}}
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], f))
		billAll(t, s, noon)
		now := noon.Add(39 * 24 * time.Hour)
		must(t, s.Usage().DeleteOld(t.Context(), now.Add(-37*24*time.Hour), now))
		must(t, s.DB().Exec("INSERT INTO usage_due (cloud, project_id, hour) VALUES ('default', 'p', ?)", noon.UnixMicro()).Error)
		c := usage.Closer{Hours: s.Usage(), Tenants: nobody{}, Hold: usage.DefaultHold, Now: func() time.Time { return now }}
		if taken, err := c.Close(t.Context()); taken != 1 || err == nil || !strings.Contains(err.Error(), "the hour ended more than 36 days ago") {
			t.Errorf("%d hours were taken, %v", taken, err)
		}
		sameTexts(t, "the hours that are due, being computed, or waiting",
			rowsOf(t, s, "SELECT hour FROM usage_due UNION ALL SELECT hour FROM usage_taken UNION ALL SELECT hour FROM usage_unbilled"))
		sameTexts(t, "the usage", rowsOf(t, s, "SELECT amount FROM usage_amounts"), "7 ")
	})
}

// The type `nobody` knows one subscription, without plans.
type nobody struct{}

// Tenant implements [usage.Tenants].
func (nobody) Tenant(context.Context, string, string) (usage.Tenant, error) {
	return usage.Tenant{Merchant: "m", Subscription: "s"}, nil
}

// An hour that was taken again is not dropped.
func TestOnlyTheLastTakeDropsAnHour(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		first, err := takeHour(s, "p", 0)
		must(t, err)
		second, err := takeHour(s, "p", 0)
		must(t, err)
		must(t, s.Usage().DropHour(t.Context(), first))
		sameTexts(t, "after the first take", rowsOf(t, s, "SELECT project_id FROM usage_taken"), "p ")
		must(t, s.Usage().DropHour(t.Context(), second))
		sameTexts(t, "after the last take", rowsOf(t, s, "SELECT project_id FROM usage_taken"))
	})
}
