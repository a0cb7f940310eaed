package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// AddAction stores an action, as saga.Store specifies. If no replica executes the run, AddAction makes the run due. AddAction first
// locks the run's row. A replica that releases the run must wait for this lock, so that the replica sees the action. The lock also
// serializes the actions of a run.
func (s *Store) AddAction(ctx context.Context, now time.Time, v saga.Action) error {
	return s.tx(ctx, func(tx *gorm.DB) error {
		due := "CASE WHEN replica_id IS NULL THEN ? ELSE due_at END"
		result := tx.Model(&runRow{}).Where("id = ?", v.RunID).
			UpdateColumn("due_at", gorm.Expr(due, now.UnixMicro()))
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected == 0 {
			return saga.ErrNotFound
		}
		if v.IfVersion != 0 {
			if err := unchanged(tx, v); err != nil {
				return err
			}
		}
		// The caller read the time before AddAction locked the run. Another action may have been stored since then, with a later
		// time. The new action then gets this later time and a greater id.
		var last struct{ ID, At int64 }
		err := tx.Model(&actionRow{}).Select("COALESCE(MAX(id), 0) AS id, COALESCE(MAX(at), 0) AS at").
			Where("run_id = ? AND consumed_at IS NULL", v.RunID).Scan(&last).Error
		if err != nil {
			return err
		}
		row := actionRow{
			ID: max(now.UnixMicro(), last.ID+1), RunID: v.RunID, Name: string(v.Name), Step: v.Step, Who: upstream.Clean(v.Who),
			Why: upstream.Clean(v.Why), At: max(v.At.UnixMicro(), last.At),
		}
		for { // the id is the time in microseconds; try the next number if another action has this id
			var taken int64
			if err := tx.Model(&actionRow{}).Where("id = ?", row.ID).Count(&taken).Error; err != nil {
				return err
			}
			if taken == 0 {
				break
			}
			row.ID++
		}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return s.notify(tx, "action "+v.RunID)
	})
}

// The function `unchanged` returns saga.ErrChanged if the version of the run is not v.IfVersion, or if the run has an unconsumed
// action.
func unchanged(tx *gorm.DB, v saga.Action) error {
	var n int64
	err := tx.Model(&runRow{}).Where("id = ? AND version = ?", v.RunID, v.IfVersion).
		Where("NOT EXISTS (SELECT 1 FROM actions WHERE run_id = runs.id AND consumed_at IS NULL)").Count(&n).Error
	if err == nil && n == 0 {
		err = saga.ErrChanged
	}
	return err
}

// Actions reads the unconsumed actions of a run, oldest first.
func (s *Store) Actions(ctx context.Context, runID string) ([]saga.Action, error) {
	var rows []actionRow
	err := s.db.WithContext(ctx).Select("id, run_id, name, step, who, why, at").
		Where("run_id = ? AND consumed_at IS NULL", runID).Order("id").Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the actions of run %s: %w", runID, err)
	}
	actions := make([]saga.Action, len(rows))
	for i := range rows {
		actions[i] = rows[i].action()
	}
	return actions, nil
}

type actionRow struct {
	ID         int64  `gorm:"column:id;primaryKey;autoIncrement:false"`
	RunID      string `gorm:"column:run_id"`
	Name       string `gorm:"column:name"`
	Step       string `gorm:"column:step"`
	Who        string `gorm:"column:who"`
	Why        string `gorm:"column:why"`
	At         int64  `gorm:"column:at"`
	ConsumedAt *int64 `gorm:"column:consumed_at"`
}

// TableName returns the table's name for gorm.
func (actionRow) TableName() string { return "actions" }

func (row *actionRow) action() saga.Action {
	return saga.Action{
		ID: row.ID, RunID: row.RunID, Name: saga.ActionName(row.Name), Step: row.Step, Who: row.Who, Why: row.Why,
		At: at(row.At),
	}
}
