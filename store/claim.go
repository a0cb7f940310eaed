package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Claim leases up to c.Limit runs to a replica and increments the epochs of these runs, as saga.Queue specifies.
func (s *Store) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	statement := sqliteClaim
	if s.postgres() {
		statement = pgClaim
	}
	var ids []string
	values := dueValues(c.Due)
	values["replica"], values["limit"] = c.Replica, c.Limit
	err := s.db.WithContext(ctx).Raw(statement, values).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("claiming runs for replica %s: %w", c.Replica, err)
	}
	return ids, nil
}

// Take leases one run to a replica, as saga.Queue specifies.
func (s *Store) Take(ctx context.Context, replica, runID string, version int64, now time.Time) (taken bool, err error) {
	took := s.db.WithContext(ctx).Model(&runRow{}).Where("id = ? AND version = ? AND replica_id IS NULL", runID, version).
		UpdateColumns(map[string]any{
			"replica_id": replica, "epoch": gorm.Expr("epoch + 1"), "version": gorm.Expr("version + 1"),
			"take_overs": gorm.Expr("take_overs + 1"), "due_at": gorm.Expr("COALESCE(due_at, ?)", now.UnixMicro()),
		})
	if took.Error != nil {
		return false, fmt.Errorf("taking run %s for replica %s: %w", runID, replica, took.Error)
	}
	return took.RowsAffected > 0, nil
}

// countDue counts the due runs. The statements of Claim select due runs with the same condition.
const countDue = `
SELECT COUNT(*) FROM runs r
WHERE r.replica_id IS NULL AND r.due_at <= @now
	AND (r.waits_on IS NULL OR r.waits_on NOT IN @down OR r.state = 'waiting' AND r.budget_from < @expired)`

// Due counts the due runs.
func (s *Store) Due(ctx context.Context, d saga.Due) (n int, err error) {
	err = s.db.WithContext(ctx).Raw(countDue, dueValues(d)).Scan(&n).Error
	return n, err
}

// dueValues returns the parameters of the condition for due runs. The list of upstreams gets an empty name, because a list in SQL
// cannot be empty.
func dueValues(d saga.Due) map[string]any {
	return map[string]any{"now": d.Now.UnixMicro(), "down": append([]string{""}, d.Down...), "expired": d.Expired.UnixMicro()}
}
