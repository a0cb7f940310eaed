package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

type replicaRow struct {
	ID         string `gorm:"column:id;primaryKey"`
	LeaseUntil int64  `gorm:"column:lease_until"`
}

// TableName names the table to gorm.
func (replicaRow) TableName() string { return "replicas" }

// Join registers a replica. SQLite leaves the clock alone: there is one machine.
func (s *Store) Join(ctx context.Context, replica string, until time.Time) (now time.Time, err error) {
	db := s.db.WithContext(ctx)
	if s.postgres() {
		err = db.Raw("INSERT INTO replicas (id, lease_until) VALUES (?, ?) RETURNING clock_timestamp()",
			replica, until.UnixMicro()).Scan(&now).Error
	} else {
		err = db.Create(&replicaRow{replica, until.UnixMicro()}).Error
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("registering replica %s: %w", replica, err)
	}
	return now, nil
}

// Renew prolongs a lease that has not ended, and deletes the replicas whose leases have: their runs become claimable by
// the foreign key's ON DELETE SET NULL.
func (s *Store) Renew(ctx context.Context, replica string, now, until time.Time) (saga.Renewal, error) {
	if !s.postgres() {
		return s.renewSQLite(ctx, replica, now, until)
	}
	var rows []saga.Renewal
	err := s.db.WithContext(ctx).Raw(`
WITH mine AS (
	UPDATE replicas SET lease_until = ? WHERE id = ? AND lease_until > ? RETURNING id
), dead AS (
	DELETE FROM replicas WHERE lease_until < ? AND id <> ?
		AND id IN (SELECT id FROM replicas WHERE lease_until < ? FOR UPDATE SKIP LOCKED)
	RETURNING id
)
SELECT clock_timestamp() AS now, EXISTS (SELECT 1 FROM dead) AS freed FROM mine`,
		until.UnixMicro(), replica, now.UnixMicro(), now.UnixMicro(), replica, now.UnixMicro()).Scan(&rows).Error
	switch {
	case err != nil:
		return saga.Renewal{}, fmt.Errorf("renewing the lease of replica %s: %w", replica, err)
	case len(rows) == 0:
		return saga.Renewal{}, saga.ErrLeaseLost
	}
	return rows[0], nil
}

// renewSQLite leaves the clock alone: there is one machine.
func (s *Store) renewSQLite(ctx context.Context, replica string, now, until time.Time) (renewal saga.Renewal, err error) {
	err = s.tx(ctx, func(tx *gorm.DB) error {
		renewed := tx.Model(&replicaRow{}).Where("id = ? AND lease_until > ?", replica, now.UnixMicro()).
			Update("lease_until", until.UnixMicro())
		switch {
		case renewed.Error != nil:
			return renewed.Error
		case renewed.RowsAffected == 0:
			return saga.ErrLeaseLost
		}
		dead := tx.Where("lease_until < ? AND id <> ?", now.UnixMicro(), replica).Delete(&replicaRow{})
		renewal.Freed = dead.RowsAffected > 0
		return dead.Error
	})
	return renewal, err
}

// Leave makes the runs of a replica due and deletes it.
func (s *Store) Leave(ctx context.Context, replica string, now time.Time) error {
	return s.tx(ctx, func(tx *gorm.DB) error {
		handed := tx.Model(&runRow{}).Where("replica_id = ?", replica).
			UpdateColumns(map[string]any{"replica_id": nil, "due_at": now.UnixMicro()})
		if handed.Error != nil {
			return handed.Error
		}
		if err := tx.Where("id = ?", replica).Delete(&replicaRow{}).Error; err != nil {
			return err
		}
		return s.notify(tx, "work")
	})
}

// HandBack gives up the runs leased to the replica that it does not know of.
func (s *Store) HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error {
	strays := s.db.WithContext(ctx).Model(&runRow{}).
		Where("replica_id = ? AND updated_at < ?", replica, before.UnixMicro())
	if len(working) > 0 {
		strays = strays.Where("id NOT IN ?", working)
	}
	return strays.UpdateColumns(map[string]any{"replica_id": nil, "due_at": now.UnixMicro()}).Error
}

// isDue tells the runs that nobody works on and that are due.
const isDue = "r.replica_id IS NULL AND r.due_at <= @now AND (r.waits_on IS NULL OR r.waits_on NOT IN @down)"

// front goes from merchant to merchant in the index of what waits, and tells up to which run of each the claim has to
// look: a long line behind that costs nothing. It looks further than what it takes, because other replicas may be taking
// the same with PostgreSQL, and what they have locked is skipped.
const front = `
WITH RECURSIVE merchant (id) AS (
	SELECT MIN(merchant_id) FROM runs WHERE replica_id IS NULL AND due_at IS NOT NULL
	UNION ALL
	SELECT (SELECT MIN(merchant_id) FROM runs WHERE replica_id IS NULL AND due_at IS NOT NULL AND merchant_id > m.id)
	FROM merchant m WHERE m.id IS NOT NULL
), front (merchant_id, last) AS MATERIALIZED (
	SELECT m.id, COALESCE((SELECT r.id FROM runs r WHERE r.merchant_id = m.id AND ` + isDue + `
		ORDER BY r.id LIMIT 1 OFFSET @limit * 4), 'z') -- after all ids
	FROM merchant m WHERE m.id IS NOT NULL
)`

// due gives what is due its turns: see saga.Queue. woken chooses the runs whose predecessor about the same subject is
// gone, or that an action waits for. Each part lies in an index of live rows.
const (
	due = `
SELECT r.id, COALESCE(held.runs, 0) + ROW_NUMBER() OVER (PARTITION BY r.merchant_id ORDER BY r.id) AS turn
FROM front JOIN runs r ON r.merchant_id = front.merchant_id AND r.id <= front.last
LEFT JOIN (
	SELECT merchant_id, COUNT(*) AS runs FROM runs WHERE replica_id IS NOT NULL GROUP BY merchant_id
) held ON held.merchant_id = r.merchant_id
WHERE ` + isDue
	woken = `
SELECT r.id, 0 FROM runs r WHERE r.waits_for IS NOT NULL AND r.replica_id IS NULL AND NOT EXISTS (
	SELECT 1 FROM runs o WHERE o.subject = r.subject AND o.ended_at IS NULL AND o.id <> r.id
		AND (o.id < r.id OR o.holds_subject))
UNION ALL SELECT r.id, 0 FROM actions v JOIN runs r ON r.id = v.run_id WHERE v.consumed_at IS NULL AND r.replica_id IS NULL`
)

// chosen are the first of all those.
const chosen = front + `
SELECT r.id FROM runs r JOIN (
	SELECT id, MIN(turn) AS turn FROM (` + due + ` UNION ALL ` + woken + `) c GROUP BY id ORDER BY 2, 1 LIMIT @limit * 4
) c ON c.id = r.id
WHERE r.replica_id IS NULL
ORDER BY c.turn, r.id LIMIT @limit`

// claim takes the chosen runs. One that is not waiting for a predecessor any more takes its subject with it.
const claim = `
UPDATE runs SET replica_id = @replica, epoch = epoch + 1, version = version + 1, take_overs = take_overs + 1,
	due_at = COALESCE(due_at, @now),
	holds_subject = holds_subject OR (ended_at IS NULL AND NOT EXISTS (
		SELECT 1 FROM runs o WHERE o.subject = runs.subject AND o.ended_at IS NULL AND o.id <> runs.id
			AND (o.id < runs.id OR o.holds_subject))),
	waits_for = CASE WHEN EXISTS (
		SELECT 1 FROM runs o WHERE o.subject = runs.subject AND o.ended_at IS NULL AND o.id <> runs.id
			AND (o.id < runs.id OR o.holds_subject)) THEN waits_for END
WHERE id IN (`

// Claim takes up to limit runs under their next epoch.
func (s *Store) Claim(ctx context.Context, c saga.Claim) ([]string, error) {
	lock := ""
	if s.postgres() {
		lock = " FOR UPDATE OF r SKIP LOCKED"
	}
	var ids []string
	err := s.db.WithContext(ctx).Raw(claim+chosen+lock+") RETURNING id", map[string]any{
		"replica": c.Replica, "now": c.Now.UnixMicro(), "limit": c.Limit, "down": someOf(c.Down),
	}).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("claiming runs for replica %s: %w", c.Replica, err)
	}
	return ids, nil
}

// Due counts what Claim goes through: see saga.Queue.
func (s *Store) Due(ctx context.Context, now time.Time, down []string) (n int, err error) {
	err = s.db.WithContext(ctx).Raw("SELECT COUNT(*) FROM runs r WHERE "+isDue, map[string]any{
		"now": now.UnixMicro(), "down": someOf(down),
	}).Scan(&n).Error
	return n, err
}

// someOf is a list that SQL takes: one cannot be empty there.
func someOf(names []string) []string { return append([]string{""}, names...) }

// notify tells the other replicas when the transaction commits. With SQLite there are none.
func (s *Store) notify(tx *gorm.DB, word string) error {
	if !s.postgres() {
		return nil
	}
	return tx.Exec("SELECT pg_notify(?, ?)", channel, word).Error
}

// Listen hears the other replicas on a connection of its own, which is closed at the end.
func (s *Store) Listen(ctx context.Context, wake func(saga.Wake)) (err error) {
	if !s.postgres() { // there are no others
		<-ctx.Done()
		return nil
	}
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return redact(err, s.url)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	wake(saga.Wake{Kind: saga.WakeWork}) // something may have come before
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		kind, runID, _ := strings.Cut(n.Payload, " ")
		wake(saga.Wake{Kind: saga.WakeKind(kind), RunID: runID})
	}
}
