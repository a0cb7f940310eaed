package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Claim leases up to c.Limit runs to a replica and increments the epochs of these runs, as saga.Queue specifies.
func (s *Store) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	statement := sqliteClaim
	if s.postgres() {
		statement = pgClaim
	}
	var ids []string
	err := s.db.WithContext(ctx).Raw(statement, map[string]any{
		"replica": c.Replica, "now": c.Now.UnixMicro(), "limit": c.Limit, "down": notEmpty(c.Down),
	}).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("claiming runs for replica %s: %w", c.Replica, err)
	}
	return ids, nil
}

// countDue counts the due runs. The statements of Claim select due runs with the same condition.
const countDue = `
SELECT COUNT(*) FROM runs r
WHERE r.replica_id IS NULL AND r.due_at <= @now AND (r.waits_on IS NULL OR r.waits_on NOT IN @down)`

// Due counts the due runs, except runs that wait for an upstream in the list down.
func (s *Store) Due(ctx context.Context, now time.Time, down []string) (n int, err error) {
	err = s.db.WithContext(ctx).Raw(countDue, map[string]any{"now": now.UnixMicro(), "down": notEmpty(down)}).Scan(&n).Error
	return n, err
}

// notEmpty returns the names and an empty name, because a list in SQL must have at least one element.
func notEmpty(names []string) []string { return append([]string{""}, names...) }
