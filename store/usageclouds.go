package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/usage"
)

var _ usage.Watch = (*Usage)(nil)

// Received records that samples of a cloud were received, as usage.Store specifies.
func (u *Usage) Received(ctx context.Context, cloud string, received time.Time) error {
	err := u.store.db.WithContext(ctx).Exec(`INSERT INTO sample_times (cloud, received_at) VALUES (?, ?)
		ON CONFLICT (cloud) DO UPDATE SET received_at = excluded.received_at WHERE sample_times.received_at < excluded.received_at`,
		cloud, received.UnixMicro()).Error
	if err != nil {
		return fmt.Errorf("storing when samples were received: %w", err)
	}
	return nil
}

// usageClouds reads the clouds with meter keys or samples. For each cloud, it reads one index entry of the table usage_due and one of the table
// usage_taken. The cost therefore does not depend on the number of samples or hours. The hours in usage_again are left out, because they have a
// usage already.
const usageClouds = `
SELECT c.cloud, s.received_at,
	(SELECT d.hour FROM usage_due d WHERE d.cloud = c.cloud ORDER BY d.hour LIMIT 1) AS due,
	(SELECT t.hour FROM usage_taken t WHERE t.cloud = c.cloud ORDER BY t.hour LIMIT 1) AS taken
FROM (SELECT cloud FROM sample_times UNION SELECT cloud FROM meter_keys WHERE revoked_at IS NULL) c
LEFT JOIN sample_times s ON s.cloud = c.cloud
ORDER BY c.cloud LIMIT @limit`

// Clouds reads the clouds that send samples, as usage.Watch specifies.
func (u *Usage) Clouds(ctx context.Context, limit int) ([]usage.CloudState, error) {
	var rows []struct {
		Cloud                  string
		ReceivedAt, Due, Taken *int64
	}
	if err := u.store.db.WithContext(ctx).Raw(usageClouds, map[string]any{"limit": limit}).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("reading the clouds that send samples: %w", err)
	}
	all := make([]usage.CloudState, len(rows))
	for i, r := range rows {
		all[i].Cloud = r.Cloud
		if r.ReceivedAt != nil {
			all[i].Received = at(*r.ReceivedAt)
		}
		for _, hour := range []*int64{r.Due, r.Taken} {
			if hour != nil && (all[i].Oldest.IsZero() || at(*hour).Before(all[i].Oldest)) {
				all[i].Oldest = at(*hour)
			}
		}
	}
	return all, nil
}
