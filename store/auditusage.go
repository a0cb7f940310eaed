package store

import (
	"context"
	"fmt"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// unmatchedAfter reads a page of a merchant's unmatched usage. Usage with the reason plan-gone waits to be billed until BillingStack has
// the plan again. If no usage of such an entry waits, the entry is left out.
const unmatchedAfter = `
SELECT merchant_id, cloud, project_id, subscription_id, meter, kind, unit, state, reason, first_hour, last_hour
FROM usage_unmatched u
WHERE merchant_id = @merchant_id
	AND (cloud, project_id, subscription_id, meter, kind, unit, state, reason)
		> (@cloud, @project_id, @subscription_id, @meter, @kind, @unit, @state, @reason)
	AND (reason <> 'plan-gone' OR EXISTS (
		SELECT 1 FROM usage_unbilled b
		WHERE b.cloud = u.cloud AND b.project_id = u.project_id AND b.hour BETWEEN u.first_hour AND u.last_hour
			AND b.subscription_id = u.subscription_id))
ORDER BY cloud, project_id, subscription_id, meter, kind, unit, state, reason
LIMIT @limit`

// EachUnmatched calls take for each entry of a merchant's unmatched usage, as audit.Store specifies. EachUnmatched holds no connection while
// take is called.
func (t *Audits) EachUnmatched(ctx context.Context, merchantID string, take func(audit.Unmatched) error) error {
	last := unmatchedRow{MerchantID: upstream.Clean(merchantID)}
	for {
		var rows []unmatchedRow
		err := t.store.db.WithContext(ctx).Raw(unmatchedAfter, map[string]any{
			"merchant_id": last.MerchantID, "cloud": last.Cloud, "project_id": last.ProjectID, "subscription_id": last.SubscriptionID,
			"meter": last.Meter, "kind": last.Kind, "unit": last.Unit, "state": last.State, "reason": last.Reason, "limit": t.page,
		}).Scan(&rows).Error
		if err != nil {
			return fmt.Errorf("reading the unmatched usage of merchant %s: %w", merchantID, err)
		}
		for i := range rows {
			if err := take(rows[i].unmatched()); err != nil {
				return err
			}
		}
		if len(rows) < t.page {
			return nil
		}
		last = rows[len(rows)-1]
	}
}

func (r *unmatchedRow) unmatched() audit.Unmatched {
	return audit.Unmatched{
		Reason: audit.UsageReason(r.Reason), MerchantID: r.MerchantID, Cloud: r.Cloud, ProjectID: r.ProjectID, SubscriptionID: r.SubscriptionID,
		Meter: r.Meter, Kind: r.Kind, Unit: r.Unit, State: r.State, First: at(r.FirstHour), Last: at(r.LastHour),
	}
}

// UnmatchedAmount returns the amount of an entry, as audit.Store specifies.
func (t *Audits) UnmatchedAmount(ctx context.Context, u audit.Unmatched) (string, error) {
	found, err := t.store.Usage().trouble(ctx, &unmatchedRow{
		MerchantID: u.MerchantID, Cloud: u.Cloud, ProjectID: u.ProjectID, SubscriptionID: u.SubscriptionID, Meter: u.Meter, Kind: u.Kind,
		Unit: u.Unit, State: u.State, Reason: string(u.Reason), FirstHour: u.First.UnixMicro(), LastHour: u.Last.UnixMicro(),
	})
	if err != nil {
		return "", fmt.Errorf("adding up the unmatched usage of meter %s: %w", u.Meter, err)
	}
	return found.Amount.String(), nil
}
