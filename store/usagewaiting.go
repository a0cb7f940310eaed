package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// billableMerchants chooses @limit merchants. The order is random, so that merchants whose usage cannot be billed do not keep all other merchants
// out.
//
// The recursive part jumps from one merchant to the next in the index usage_unbilled_due. The cost therefore depends on the number of merchants with
// usage that waits, and not on the number of hours that wait. For each merchant, the statement reads one entry of the index, and counts the unposted
// rows.
const billableMerchants = `
WITH RECURSIVE waiting (merchant_id) AS (
	SELECT CAST('' AS TEXT)
	UNION ALL
	SELECT (SELECT u.merchant_id FROM usage_unbilled u WHERE u.merchant_id > w.merchant_id ORDER BY u.merchant_id LIMIT 1)
	FROM waiting w WHERE w.merchant_id IS NOT NULL
)
SELECT w.merchant_id FROM waiting w
WHERE w.merchant_id <> ''
	AND (SELECT u.due_at FROM usage_unbilled u WHERE u.merchant_id = w.merchant_id ORDER BY u.due_at LIMIT 1) <= @now
	AND (
		SELECT COUNT(*) FROM (
			SELECT 1 FROM usage_rows r WHERE r.merchant_id = w.merchant_id AND r.posted_at IS NULL AND r.made_at > @young LIMIT @most
		) unposted
	) < @most
ORDER BY RANDOM() LIMIT @limit`

// Billable returns merchants with usage to bill, as usage.Books specifies.
func (u *Usage) Billable(ctx context.Context, now time.Time, limit int) (found []string, err error) {
	args := map[string]any{"now": now.UnixMicro(), "most": maxUnposted, "young": now.Add(-unpostedFor).UnixMicro(), "limit": limit}
	err = u.store.db.WithContext(ctx).Raw(billableMerchants, args).Scan(&found).Error
	if err != nil {
		return nil, fmt.Errorf("searching for usage to bill: %w", err)
	}
	return found, nil
}

// Failed stores why the usage of a merchant could not be billed, as usage.Books specifies.
func (u *Usage) Failed(ctx context.Context, now time.Time, merchant string, failure error) error {
	row := failureRow{merchant, upstream.Clean(upstream.ForOperator(failure)), now.UnixMicro()}
	if err := u.store.db.WithContext(ctx).Clauses(clause.OnConflict{UpdateAll: true}).Create(&row).Error; err != nil {
		return fmt.Errorf("storing why usage could not be billed: %w", err)
	}
	return nil
}

// waitingUsage reads the time since which the oldest usage of a merchant has waited. It also counts the hours that became due before @before and
// wait to be billed, and the rows that were made before @before and wait to be posted. The due_at of an hour is the time at which its usage could be
// billed for the first time. If BillingStack does not have the plan, due_at is the time at which Tenantry looks for the plan again.
const waitingUsage = `
SELECT
	(SELECT due_at FROM usage_unbilled WHERE merchant_id = @merchant ORDER BY due_at LIMIT 1) AS due_at,
	(SELECT made_at FROM usage_rows WHERE merchant_id = @merchant AND posted_at IS NULL ORDER BY made_at LIMIT 1) AS made_at,
	(SELECT COUNT(*) FROM (
		SELECT 1 FROM usage_unbilled WHERE merchant_id = @merchant AND due_at < @before LIMIT @most
	) h) AS hours,
	(SELECT COUNT(*) FROM (
		SELECT 1 FROM usage_rows WHERE merchant_id = @merchant AND posted_at IS NULL AND made_at < @before LIMIT @most
	) r) AS unposted,
	(SELECT failure FROM usage_failures WHERE merchant_id = @merchant) AS failure,
	(SELECT failed_at FROM usage_failures WHERE merchant_id = @merchant) AS failed_at`

// WaitingUsage reads usage that has waited to be billed, as audit.Store specifies.
func (t *Audits) WaitingUsage(ctx context.Context, merchantID string, before time.Time) (w audit.WaitingUsage, err error) {
	var row struct {
		DueAt, MadeAt, FailedAt *int64
		Hours, Unposted         int
		Failure                 *string
	}
	args := map[string]any{"merchant": upstream.Clean(merchantID), "before": before.UnixMicro(), "most": audit.MaxWaiting}
	if err := t.store.db.WithContext(ctx).Raw(waitingUsage, args).Scan(&row).Error; err != nil {
		return w, fmt.Errorf("reading the usage of merchant %s that waits: %w", merchantID, err)
	}
	if row.Hours+row.Unposted == 0 {
		return w, nil
	}
	w = audit.WaitingUsage{Hours: row.Hours, Rows: row.Unposted, Failure: plain(row.Failure)}
	for _, since := range []*int64{row.DueAt, row.MadeAt} {
		if since != nil && (w.Since.IsZero() || at(*since).Before(w.Since)) {
			w.Since = at(*since)
		}
	}
	if row.FailedAt != nil {
		w.FailedAt = at(*row.FailedAt)
	}
	return w, nil
}

type failureRow struct {
	MerchantID string `gorm:"column:merchant_id;primaryKey"`
	Failure    string `gorm:"column:failure"`
	FailedAt   int64  `gorm:"column:failed_at"`
}

// TableName returns the table's name for gorm.
func (failureRow) TableName() string { return "usage_failures" }
