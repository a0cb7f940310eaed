package store

import (
	"context"
	"fmt"
	"time"
)

// billableMerchants chooses @limit merchants. The order is random, so that merchants whose usage cannot be billed do not keep all other merchants
// out.
//
// The recursive part jumps from one merchant to the next in the index usage_unbilled_due, so the cost depends on the number of merchants with usage
// that waits, and not on the number of hours that wait. For each merchant, the statement reads one entry of the index, and counts the unposted rows.
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
