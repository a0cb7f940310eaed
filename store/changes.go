package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

var _ saga.Follower = (*Store)(nil)

// Updated reads when runs were changed, and the newest runs of merchants, as saga.Follower specifies.
func (s *Store) Updated(ctx context.Context, ids, merchants []string) (updated map[string]time.Time, newest map[string]string, err error) {
	var rows []struct {
		ID       string
		Updated  int64
		Merchant *string // set for the newest run of a merchant
	}
	statement, args := `SELECT id, updated_at AS updated, NULL AS merchant FROM runs WHERE id IN ?`, []any{ids}
	for _, m := range merchants {
		if m == "" {
			statement += ` UNION ALL SELECT * FROM (SELECT id, updated_at, '' FROM runs ORDER BY id DESC LIMIT 1) of_all`
			continue
		}
		statement += ` UNION ALL SELECT * FROM (SELECT id, updated_at, merchant_id FROM runs WHERE merchant_id = ? ORDER BY id DESC LIMIT 1) of_one`
		args = append(args, m)
	}
	if err := s.db.WithContext(ctx).Raw(statement, args...).Scan(&rows).Error; err != nil {
		return nil, nil, fmt.Errorf("reading the changes of runs: %w", err)
	}
	updated, newest = map[string]time.Time{}, map[string]string{}
	for _, r := range rows {
		if r.Merchant != nil {
			newest[*r.Merchant] = r.ID
		} else {
			updated[r.ID] = at(r.Updated)
		}
	}
	return updated, newest, nil
}

// RunsOf reads runs by their ids, as saga.Follower specifies.
func (s *Store) RunsOf(ctx context.Context, ids []string) ([]*saga.Run, error) {
	return s.read(ctx, func(db *gorm.DB) *gorm.DB { return db.Where("runs.id IN ?", ids) })
}

// LastEvents reads the last events of runs, as saga.Follower specifies.
func (s *Store) LastEvents(ctx context.Context, ids []string, limit int) (map[string][]saga.Event, error) {
	var rows []eventRow
	err := columns(s.db.WithContext(ctx)).Where("run_id IN ? AND seq > (SELECT last_seq FROM runs WHERE id = run_id) - ?", ids, limit).
		Order("run_id, seq").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the last events of runs: %w", err)
	}
	events := map[string][]saga.Event{}
	for i := range rows {
		e, err := rows[i].event()
		if err != nil {
			return nil, fmt.Errorf("decoding event %d of run %s: %w", rows[i].Seq, rows[i].RunID, err)
		}
		events[e.RunID] = append(events[e.RunID], e)
	}
	return events, nil
}
