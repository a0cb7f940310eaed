package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Join registers a replica and returns the database's time, as saga.Queue specifies. With SQLite, Join returns the zero time,
// because all processes share one clock.
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

// Renew extends the lease of a replica if the lease has not ended, as saga.Queue specifies. Renew also deletes all other replicas
// whose leases have ended. When a replica is deleted, the foreign key sets the replica_id of its runs to NULL, so that other replicas can
// lease these runs.
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

// Leave deletes a replica and makes the replica's runs due.
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

// HandBack releases runs that are leased to the replica, as saga.Queue specifies. HandBack releases a run only if the run's last
// write was before the given time and the run is not in the list `working`.
func (s *Store) HandBack(ctx context.Context, replica string, now, before time.Time, working []string) error {
	strays := s.db.WithContext(ctx).Model(&runRow{}).
		Where("replica_id = ? AND updated_at < ?", replica, before.UnixMicro())
	if len(working) > 0 {
		strays = strays.Where("id NOT IN ?", working)
	}
	return strays.UpdateColumns(map[string]any{"replica_id": nil, "due_at": now.UnixMicro()}).Error
}

type replicaRow struct {
	ID         string `gorm:"column:id;primaryKey"`
	LeaseUntil int64  `gorm:"column:lease_until"`
}

// TableName returns the table's name for gorm.
func (replicaRow) TableName() string { return "replicas" }
