package store

import (
	"context"
	"fmt"

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
func (s *Store) Take(ctx context.Context, t saga.Take) (taken bool, err error) {
	handed := 0
	if t.Handed {
		handed = 1
	}
	took := s.db.WithContext(ctx).Exec(takeRun, map[string]any{
		"replica": t.Replica, "run": t.RunID, "version": t.Version, "now": t.Now.UnixMicro(), "handed": handed,
	})
	if took.Error != nil {
		return false, fmt.Errorf("taking run %s for replica %s: %w", t.RunID, t.Replica, took.Error)
	}
	return took.RowsAffected > 0, nil
}

const takeRun = `
UPDATE runs SET replica_id = @replica, epoch = epoch + 1, version = version + 1, take_overs = take_overs + 1, handed = handed + @handed,
	due_at = CASE WHEN due_at < @now THEN due_at ELSE @now END
WHERE id = @run AND version = @version AND replica_id IS NULL`

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
