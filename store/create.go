package store

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

type keyRow struct {
	MerchantID string `gorm:"column:merchant_id;primaryKey"`
	Key        string `gorm:"column:key;primaryKey"`
	RunID      string `gorm:"column:run_id"`
}

// TableName names the table to gorm.
func (keyRow) TableName() string { return "idempotency_keys" }

// Create inserts a run with everything that belongs to it: see saga.Store.
func (s *Store) Create(ctx context.Context, n saga.NewRun) error {
	rows, err := s.newRunRows(n)
	if err != nil {
		return err
	}
	create := s.createSQLite
	if s.postgres() {
		create = s.createGrouped
	}
	for range 3 {
		if err = create(ctx, rows); !errors.Is(err, errGone) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("storing run %s: %w", n.Run.ID, err)
	}
	return nil
}

// createGrouped inserts a run together with those that others insert. It does not return before the run is inserted or
// refused, even if ctx ends: to give up would leave open whether the run exists.
func (s *Store) createGrouped(ctx context.Context, rows newRunRows) error {
	refused, err := s.creations.Do(context.WithoutCancel(ctx), rows)
	if err != nil {
		return err
	}
	return refused
}

// errGone says that what refused a run has ended meanwhile: inserting it may be tried again.
var errGone = errors.New("it was refused for another run that is gone")

func (s *Store) whyNot(ctx context.Context, run runRow) error {
	if err := whyNot(s.db.WithContext(ctx), run); err != nil {
		return err
	}
	return errGone
}

// whyNot tells what stands against inserting a run; nil if nothing does.
func whyNot(tx *gorm.DB, run runRow) error {
	var keys []keyRow
	err := tx.Select("run_id").Where("merchant_id = ? AND key = ?", run.MerchantID, run.IdempotencyKey).
		Find(&keys).Error
	if err != nil {
		return err
	}
	if len(keys) > 0 && run.RetryOf == nil {
		return saga.ErrKeyUsed
	}
	if run.RetryOf != nil {
		var retried, succeeded int64
		if err := tx.Model(&runRow{}).Where("retry_of = ?", *run.RetryOf).Count(&retried).Error; err != nil {
			return err
		}
		err := tx.Model(&runRow{}).Where("user_id = ? AND id > ? AND doubles = ? AND merchant_id = ? AND state = ?",
			run.UserID, *run.RetryOf, run.Doubles, run.MerchantID, string(saga.Succeeded)).Count(&succeeded).Error
		switch {
		case err != nil:
			return err
		case retried > 0:
			return saga.ErrRetried
		case succeeded > 0:
			return saga.ErrAlreadySucceeded
		}
	}
	if !run.HoldsSubject {
		return nil
	}
	var live []runRow
	err = tx.Select("id").Where("subject = ? AND ended_at IS NULL", run.Subject).
		Order("id DESC").Limit(1).Find(&live).Error
	if err != nil {
		return err
	}
	if len(live) > 0 {
		return &saga.SubjectBusyError{RunID: live[0].ID}
	}
	return nil
}
