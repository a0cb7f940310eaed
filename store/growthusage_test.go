package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
)

// postedUsage are SQL statements that insert usage of the merchants m0 to m9 that was billed and posted. The placeholder FINISHED is the number
// of hours. Each hour has the usage of one project with a subscription. In the first three hours, there are also so many projects without a
// subscription. The unmatched usage of the merchant m20 is about these hours. So many hours of the merchants many0 to many2
// wait to be billed. So many hours of two clouds wait to be computed, and so many are being computed. A third cloud has no such hours.
var postedUsage = []string{
	`ALTER TABLE usage_amounts SET (autovacuum_enabled = off)`, `ALTER TABLE usage_rows SET (autovacuum_enabled = off)`,
	`ALTER TABLE usage_unbilled SET (autovacuum_enabled = off)`, `ALTER TABLE usage_unmatched SET (autovacuum_enabled = off)`,
	`INSERT INTO usage_amounts (cloud, project_id, hour, from_at, to_at, meter, kind, unit, amount, plan_id, state, merchant_id, subscription_id)
	SELECT 'default', 'p' || i % 20, i * 3600000000, i * 3600000000, (i + 1) * 3600000000, 'meter' || m, 'delta', 'B', '1', '', '', 'm' || i % 10, 's' || i % 20
	FROM generate_series(1, FINISHED::bigint) i, generate_series(1, 10) m`,
	`INSERT INTO usage_amounts (cloud, project_id, hour, from_at, to_at, meter, kind, unit, amount, plan_id, state, merchant_id, subscription_id)
	SELECT 'default', 'lone' || i, hour * 3600000000, hour * 3600000000, (hour + 1) * 3600000000, 'cpu', 'delta', 'B', '1', '', '', 'm' || i % 10, ''
	FROM generate_series(1, FINISHED) i, generate_series(0, 2::bigint) hour`,
	`INSERT INTO usage_rows (id, merchant_id, subscription_id, product_id, product, plan_id, hour, from_at, to_at, revision, value, made_at, run_id, posted_at)
	SELECT md5(i::text), 'm' || i % 10, 's' || i % 20, 'id', 'cpu', 'plan', i * 3600000000, i * 3600000000, (i + 1) * 3600000000, 0, '1', 0, 'run', 0
	FROM generate_series(1, FINISHED::bigint) i`,
	`INSERT INTO usage_unbilled (cloud, project_id, hour, merchant_id, subscription_id, due_at)
	SELECT 'default', 'many' || i, i * 3600000000, 'many' || i % 3, 's', 0 FROM generate_series(1, FINISHED::bigint) i`,
	`ALTER TABLE usage_due SET (autovacuum_enabled = off)`, `ALTER TABLE usage_taken SET (autovacuum_enabled = off)`,
	`INSERT INTO usage_due (cloud, project_id, hour) SELECT 'cloud' || i % 2, 'p' || i, i * 3600000000 FROM generate_series(1, FINISHED::bigint) i`,
	`INSERT INTO usage_taken (cloud, project_id, hour, spreads, taken_at, take)
	SELECT 'cloud' || i % 2, 'p' || i, i * 3600000000, TRUE, 0, 'x' FROM generate_series(1, FINISHED::bigint) i`,
	`INSERT INTO sample_times (cloud, received_at) VALUES ('cloud0', 0), ('cloud1', 0), ('cloud2', 0)`,
	`INSERT INTO usage_unmatched (merchant_id, cloud, project_id, subscription_id, meter, kind, unit, state, reason, first_hour, last_hour)
	SELECT 'm' || i % 10, 'default', '', 's' || i, 'meter', 'delta', 'B', '', 'no-product', 0, 0 FROM generate_series(1, FINISHED) i`,
	`INSERT INTO usage_unmatched (merchant_id, cloud, project_id, subscription_id, meter, kind, unit, state, reason, first_hour, last_hour)
	SELECT 'm20', 'default', CASE reason WHEN 'no-subscription' THEN 'lone7' ELSE '' END, CASE reason WHEN 'no-subscription' THEN '' ELSE 's7' END,
		'cpu', 'delta', 'B', '', reason, 0, 7200000000
	FROM unnest(ARRAY['no-subscription', 'unpriced', 'differs']) reason`,
}

// measureUsage measures the calls that compute and bill usage, and the calls that show what was billed.
func (g *growth) measureUsage(ctx context.Context) {
	g.t.Helper()
	u, n := g.Usage(), 0
	none := func(usage.Reading) (b usage.Bill, f []saga.FollowUp) { return b, f }
	now, hour := at(100), at(3_600_000_000)
	g.measure("usage of nobody to bill", func() error { return expect(0)(u.Bill(ctx, now, "m3", 10, none)) })
	g.measure("merchants with usage of many hours to bill", func() error {
		found, err := u.Billable(ctx, now, 10)
		return expect(3)(len(found), err)
	})
	finish := func() error {
		n++
		for project, subscription := range map[string]string{fmt.Sprint("new", n): "s3", fmt.Sprint("alone", n): ""} {
			d := usage.Due{Cloud: "default", Project: project, Hour: hour, Take: "take"}
			err := g.db.Exec("INSERT INTO usage_taken (cloud, project_id, hour, spreads, taken_at, take) VALUES (?, ?, ?, FALSE, 0, 'take')",
				d.Cloud, d.Project, hour.UnixMicro()).Error
			if err == nil {
				err = u.FinishHour(ctx, now, d, usage.Finished{
					Usage: []usage.Measured{{Range: usage.Hour(hour), Meter: "cpu", Kind: usage.Delta}}, Merchant: "m3", Subscription: subscription,
				})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	ids := []string{}
	g.measure("bill", func() error {
		if err := finish(); err != nil {
			return err
		}
		return expect(2)(u.Bill(ctx, now, "m3", 10, func(r usage.Reading) (b usage.Bill, f []saga.FollowUp) {
			ids = append(ids, uuid.NewString())
			b.Rows = []usage.Row{{ID: ids[len(ids)-1], Subscription: "s", Product: "id", From: hour, To: hour.Add(time.Hour)}}
			b.Unmatched = []usage.Unmatched{{Metered: r.Measured[0], Reason: usage.NoProduct}}
			return b, f
		}))
	})
	g.measure("posted rows", func() error {
		id := ids[0]
		ids = ids[1:]
		return u.Posted(ctx, now, "m3", "run", []usage.Posted{{Row: id, Differs: "x"}, {Row: "none"}})
	})
	if err := finish(); err != nil {
		g.t.Fatal(err)
	}
	g.measure("merchants with usage to bill", func() error {
		found, err := u.Billable(ctx, now, 10)
		return expect(4)(len(found), err)
	})
	g.measure("rows of a subscription", func() error {
		found, err := u.Rows(ctx, "m3", "s3", usage.Range{From: hour.Add(2 * time.Hour), To: hour.Add(3 * time.Hour)})
		return expect(1)(len(found), err)
	})
	g.measure("usage of a subscription", func() error {
		found, _, err := u.Measured(ctx, "m3", "s3", usage.Range{From: hour.Add(2 * time.Hour), To: hour.Add(3 * time.Hour)}, 100)
		return expect(10)(len(found), err)
	})
	g.measure("unmatched usage", func() error {
		found, err := u.Troubles(ctx, "m3", 0, 2)
		return expect(2)(len(found), err)
	})
	g.measure("unmatched usage with amounts", func() error {
		found, err := u.Troubles(ctx, "m20", 0, 10)
		return expect(3)(len(found), err)
	})
	g.measure("usage that waits", func() error {
		found, err := g.Audits().WaitingUsage(ctx, "m3", now)
		return expect(0)(found.Rows, err)
	})
	g.measure("clouds that send samples", func() error {
		found, err := u.Clouds(ctx, 10)
		return expect(3)(len(found), err)
	})
	g.measure("failure of billing", func() error { return u.Failed(ctx, now, "m3", errors.New("no answer")) })
	again := usage.Selection{Merchant: "m3", Range: usage.Range{From: hour.Add(2 * time.Hour), To: hour.Add(3 * time.Hour)}}
	g.measure("hours of a merchant", func() error { // without the unmatched usage of the merchant, which BillAgain reads
		rows, _, err := selectHours(u.store.db.WithContext(ctx), again, again.From.UnixMicro(), again.To.UnixMicro(), 100)
		return expect(1)(len(rows), err)
	})
	again.Subscription = "s3"
	g.measure("usage of a subscription to bill again", func() error {
		done, err := u.BillAgain(ctx, now, again, 100)
		return expect(1)(done.Hours, err)
	})
	g.measure("deletion of no unmatched usage", func() error { return u.deleteUnmatched(ctx, at(0)) })
}

// The function `expect` returns a function that returns an error if a call has not returned the number.
func expect(want int) func(got int, err error) error {
	return func(got int, err error) error {
		if err == nil && got != want {
			err = fmt.Errorf("got %d, want %d", got, want)
		}
		return err
	}
}

// On SQLite, the search for merchants reads usage that waits only at single places of an index.
func TestTheSearchForUsageToBillOnSQLite(t *testing.T) {
	read := planOnSQLite(t, billableMerchants, map[string]any{"now": 0, "most": 0, "young": 0, "limit": 0})
	read = slices.DeleteFunc(read, func(line string) bool { return !strings.Contains(line, " u ") && !strings.Contains(line, "usage_") })
	want := []string{
		"SEARCH u USING COVERING INDEX usage_unbilled_due (merchant_id>?)", "SEARCH u USING COVERING INDEX usage_unbilled_due (merchant_id=?)",
		"SEARCH r USING INDEX usage_rows_unposted (merchant_id=? AND made_at>?)",
	}
	if !slices.Equal(read, want) {
		t.Errorf("SQLite reads\n%q\nwant\n%q", read, want)
	}
}
