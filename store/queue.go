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
	err := s.db.WithContext(ctx).Raw(pgRenew, map[string]any{
		"replica": replica, "now": now.UnixMicro(), "until": until.UnixMicro(),
	}).Scan(&rows).Error
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

// Claim takes up to c.Limit runs under their next epoch: see saga.Queue.
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

// countDue counts the runs that the statements of Claim take for being due.
const countDue = `
SELECT COUNT(*) FROM runs r
WHERE r.replica_id IS NULL AND r.due_at <= @now AND (r.waits_on IS NULL OR r.waits_on NOT IN @down)`

// Due counts the runs that are due: see saga.Queue.
func (s *Store) Due(ctx context.Context, now time.Time, down []string) (n int, err error) {
	err = s.db.WithContext(ctx).Raw(countDue, map[string]any{"now": now.UnixMicro(), "down": notEmpty(down)}).Scan(&n).Error
	return n, err
}

// notEmpty adds an empty name, because a list in SQL cannot be empty.
func notEmpty(names []string) []string { return append([]string{""}, names...) }

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
