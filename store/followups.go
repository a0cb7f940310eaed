package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// dueFollowUps selects the follow-ups that a replica can take. For each follow-up, the query reads one row of merchants and one row of
// runs. If the condition used EXISTS, PostgreSQL might read all merchants or all live runs.
const dueFollowUps = `
	due_at <= @now AND hold IS NULL AND workflow IN @workflows
	AND (SELECT disabled_at FROM merchants WHERE id = follow_ups.merchant_id) IS NULL
	AND (taken_at IS NULL OR taken_at < @lost
		AND (SELECT id FROM runs WHERE id = follow_ups.run_id AND ended_at IS NULL) IS NULL)`

// TakeFollowUps chooses due follow-ups and the ids of their runs, as saga.FollowUpStore specifies. On PostgreSQL, TakeFollowUps
// skips the rows that another transaction has locked. On SQLite, no other transaction writes at the same time.
func (s *Store) TakeFollowUps(ctx context.Context, d saga.DueFollowUps, newID func() string) ([]saga.FollowUp, error) {
	var rows []followUpRow
	err := s.tx(ctx, func(tx *gorm.DB) error {
		due := columns(tx).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate, Options: clause.LockingOptionsSkipLocked})
		err := due.Where(dueFollowUps, map[string]any{
			"now": d.Now.UnixMicro(), "workflows": d.Workflows, "lost": d.Now.Add(-saga.FollowUpTimeout).UnixMicro(),
		}).Order("due_at, workflow, id").Limit(d.Limit).Find(&rows).Error
		if err != nil {
			return err
		}
		for i := range rows {
			rows[i].RunID, rows[i].TakenAt = text(newID()), micros(&d.Now)
			if err := tx.Select("run_id", "taken_at").Updates(&rows[i]).Error; err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("taking due follow-ups: %w", err)
	}
	taken := make([]saga.FollowUp, len(rows))
	for i := range rows {
		if taken[i], err = rows[i].followUp(); err != nil {
			return nil, err
		}
	}
	return taken, nil
}

// FollowUps reads a merchant's follow-ups of a workflow, as saga.FollowUpStore specifies.
func (s *Store) FollowUps(ctx context.Context, merchant, workflow string, ids []string) (map[string]saga.FollowUp, error) {
	var rows []followUpRow
	err := columns(s.db.WithContext(ctx)).Where("workflow = ? AND id IN ? AND merchant_id = ?", workflow, ids, merchant).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading follow-ups: %w", err)
	}
	found := map[string]saga.FollowUp{}
	for i := range rows {
		if found[rows[i].ID], err = rows[i].followUp(); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// HoldFollowUp sets or lifts the hold of a follow-up, as saga.FollowUpStore specifies. HoldFollowUp locks the row, so that no
// replica takes the follow-up meanwhile.
func (s *Store) HoldFollowUp(ctx context.Context, merchant, workflow, id string, hold *saga.FollowUpHold) error {
	err := s.tx(ctx, func(tx *gorm.DB) error {
		var rows []followUpRow
		locked := columns(tx).Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate})
		err := locked.Where("workflow = ? AND id = ? AND merchant_id = ?", workflow, id, merchant).Find(&rows).Error
		switch {
		case err != nil:
			return err
		case len(rows) == 0:
			return saga.ErrNotFound
		}
		row := &rows[0]
		if err := unstarted(tx, row, hold); err != nil {
			return err
		}
		row.Hold = nil
		if err := encode(&row.Hold, hold, hold == nil); err != nil {
			return err
		}
		return tx.Select("hold").Updates(row).Error
	})
	if err != nil {
		return fmt.Errorf("holding follow-up %s %s: %w", workflow, id, err)
	}
	return nil
}

// The function `unstarted` returns saga.ErrChanged if a live run executes the follow-up, or if a replica may be about to start such
// a run.
func unstarted(tx *gorm.DB, row *followUpRow, hold *saga.FollowUpHold) error {
	if row.TakenAt == nil {
		return nil
	}
	var runs []runRow
	if err := tx.Select("id", "ended_at").Where("id = ?", *row.RunID).Find(&runs).Error; err != nil {
		return err
	}
	starting := hold != nil && hold.At.Before(at(*row.TakenAt).Add(saga.FollowUpTimeout))
	if len(runs) == 0 && starting || len(runs) > 0 && runs[0].EndedAt == nil {
		return saga.ErrChanged
	}
	return nil
}

// followUpRow is a row of the table follow_ups.
type followUpRow struct {
	Workflow   string  `gorm:"column:workflow;primaryKey"`
	ID         string  `gorm:"column:id;primaryKey"`
	MerchantID string  `gorm:"column:merchant_id"`
	Cloud      string  `gorm:"column:cloud"`
	Subject    string  `gorm:"column:subject"`
	UserID     string  `gorm:"column:user_id"`
	Doubles    string  `gorm:"column:doubles"`
	Input      string  `gorm:"column:input"`
	DueAt      int64   `gorm:"column:due_at"`
	Reason     *string `gorm:"column:reason"`
	RunID      *string `gorm:"column:run_id"`
	TakenAt    *int64  `gorm:"column:taken_at"`
	Hold       *string `gorm:"column:hold"`
}

// TableName returns the table's name for gorm.
func (followUpRow) TableName() string { return "follow_ups" }

// followUpChange stores or deletes a follow-up.
type followUpChange struct {
	by   string // the id of the run whose checkpoint contains the change
	drop bool
	row  followUpRow // if drop is true, the row contains only the primary key
}

func changeOfFollowUp(runID string, f *saga.FollowUp) (followUpChange, error) {
	c := followUpChange{by: runID, drop: f.DueAt.IsZero(), row: followUpRow{Workflow: f.Workflow, ID: f.ID}}
	if err := readable(f.Workflow, f.ID); err != nil || c.drop {
		return c, err
	}
	input, err := json.Marshal(f.Input)
	if err != nil {
		return c, fmt.Errorf("encoding the input of follow-up %s %s: %w", f.Workflow, f.ID, err)
	}
	c.row = followUpRow{
		Workflow: f.Workflow, ID: f.ID, MerchantID: f.Merchant, Cloud: f.Cloud, Subject: f.Subject, UserID: f.User, Doubles: f.Doubles,
		Input: string(input), DueAt: f.DueAt.UnixMicro(),
	}
	if err := readable(f.Merchant, f.Cloud, f.Subject, f.User, f.Doubles); err != nil {
		return c, err
	}
	return c, encode(&c.row.Reason, f.Reason, f.Reason == nil)
}

// writeFollowUps stores or deletes the follow-ups of checkpoints. It ignores the changes of a run if passed[id] is false for the run's id.
// writeFollowUps sorts the changes, so that concurrent transactions lock the rows in the same order. The changes of one run keep their
// order.
func writeFollowUps(tx *gorm.DB, changes []followUpChange, passed map[string]bool) error {
	put := clause.OnConflict{ // a stored follow-up keeps its run_id and hold
		Columns: []clause.Column{{Name: "workflow"}, {Name: "id"}},
		DoUpdates: clause.AssignmentColumns([]string{
			"merchant_id", "cloud", "subject", "user_id", "doubles", "input", "due_at", "reason", "taken_at",
		}),
	}
	byKey := func(a, b followUpChange) int {
		return cmp.Or(cmp.Compare(a.row.Workflow, b.row.Workflow), cmp.Compare(a.row.ID, b.row.ID))
	}
	for _, c := range slices.SortedStableFunc(slices.Values(changes), byKey) {
		if !passed[c.by] {
			continue
		}
		var err error
		if c.drop {
			err = tx.Delete(&c.row).Error
		} else {
			err = tx.Clauses(put).Create(&c.row).Error
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (row *followUpRow) followUp() (saga.FollowUp, error) {
	f := saga.FollowUp{
		Workflow: row.Workflow, ID: row.ID, Merchant: row.MerchantID, Cloud: row.Cloud, Subject: row.Subject, User: row.UserID,
		Doubles: row.Doubles, Input: json.RawMessage(row.Input), DueAt: at(row.DueAt), RunID: plain(row.RunID), TakenAt: maybeAt(row.TakenAt),
	}
	err := decode(row.Reason, &f.Reason)
	if err == nil {
		err = decode(row.Hold, &f.Hold)
	}
	if err != nil {
		return f, fmt.Errorf("decoding follow-up %s %s: %w", row.Workflow, row.ID, err)
	}
	return f, nil
}
