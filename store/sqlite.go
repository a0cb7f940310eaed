package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	gosqlite "github.com/glebarez/go-sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// commitSQLite writes a group in one short transaction; there is only one writer.
func (s *Store) commitSQLite(
	ctx context.Context, now time.Time, checkpoints []saga.Checkpoint,
) ([]saga.CommitResult, error) {
	b, err := newBatch(checkpoints)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", saga.ErrBadRow, err)
	}
	var written []writtenRow
	err = s.tx(ctx, func(tx *gorm.DB) error {
		passed := map[string]bool{}
		for i := range b.runs {
			ok, err := updateRun(tx, &b.runs[i])
			if err != nil {
				return err
			}
			passed[b.runs[i].ID] = ok
		}
		if err := writeRest(tx, b, passed, now); err != nil {
			return err
		}
		for _, run := range b.runs {
			if !passed[run.ID] {
				continue
			}
			w, err := lookAround(tx, &run)
			if err != nil {
				return err
			}
			written = append(written, w)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answer(checkpoints, written), nil
}

// runMutable are the columns that a checkpoint writes besides the version. The epoch changes with a claim only; all others
// are pinned when the run is accepted.
var runMutable = []string{
	"state", "reason", "cause", "waits_for", "waits_on", "left_behind", "updated_at", "ended_at", "due_at", "worked",
	"budget_from", "rechecks", "take_overs", "holds_subject", "replica_id", "last_seq", "hold", "looked",
}

// updateRun writes a run if its fence holds.
func updateRun(tx *gorm.DB, row *checkpointRow) (bool, error) {
	fence := runRow{ID: row.ID}
	version := row.Version
	row.Version++
	result := tx.Model(&fence).
		Where("epoch = ? AND version = ? AND replica_id = ?", row.Epoch, version, row.Holder).
		Select(append([]string{"version"}, runMutable...)).Updates(&row.runRow)
	return result.RowsAffected == 1, result.Error
}

// writeRest writes what belongs to the runs that passed.
func writeRest(tx *gorm.DB, b batch, passed map[string]bool, now time.Time) error {
	begunOrChanged := clause.OnConflict{
		Columns:   []clause.Column{{Name: "run_id"}, {Name: "name"}},
		UpdateAll: true,
	}
	for _, row := range b.steps {
		if !passed[row.RunID] {
			continue
		}
		if err := tx.Clauses(begunOrChanged).Create(&row).Error; err != nil {
			return err
		}
	}
	for _, row := range b.events {
		if !passed[row.RunID] {
			continue
		}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
	}
	upsert := clause.OnConflict{
		Columns:   []clause.Column{{Name: "run_id"}, {Name: "kind"}, {Name: "id"}},
		DoUpdates: clause.AssignmentColumns([]string{"removed_at"}),
	}
	for _, row := range b.objects {
		if !passed[row.RunID] {
			continue
		}
		if err := tx.Clauses(upsert).Create(&row).Error; err != nil {
			return err
		}
	}
	for _, run := range b.runs {
		if run.DropToken && passed[run.ID] {
			if err := tx.Where("run_id = ?", run.ID).Delete(&tokenRow{}).Error; err != nil {
				return err
			}
		}
	}
	if len(b.consumed) == 0 {
		return nil
	}
	var runs []string
	for id, ok := range passed {
		if ok {
			runs = append(runs, id)
		}
	}
	return tx.Model(&actionRow{}).Where("id IN ? AND run_id IN ?", b.consumed, runs).
		Update("consumed_at", now.UnixMicro()).Error
}

// lookAround tells what waits for a run that was just written.
func lookAround(tx *gorm.DB, run *checkpointRow) (writtenRow, error) {
	w := writtenRow{ID: run.ID}
	var n int64
	err := tx.Model(&actionRow{}).Where("run_id = ? AND consumed_at IS NULL", run.ID).Count(&n).Error
	w.Actions = n > 0
	if err != nil || run.EndedAt == nil {
		return w, err
	}
	err = tx.Model(&runRow{}).
		Where("subject = ? AND ended_at IS NULL AND id <> ?", run.Subject, run.ID).Count(&n).Error
	w.Successor = n > 0
	return w, err
}

// createSQLite inserts a run; the checks come first, since nobody else can write meanwhile.
func (s *Store) createSQLite(ctx context.Context, rows newRunRows) error {
	return s.tx(ctx, func(tx *gorm.DB) error {
		if err := whyNot(tx, rows.run); err != nil {
			return err
		}
		if err := tx.Create(&rows.run).Error; err != nil {
			return err
		}
		for _, row := range rows.steps {
			if err := tx.Create(&row).Error; err != nil {
				return err
			}
		}
		for _, row := range rows.events {
			if err := tx.Create(&row).Error; err != nil {
				return err
			}
		}
		if rows.token != nil {
			if err := tx.Create(rows.token).Error; err != nil {
				return err
			}
		}
		key := keyRow{rows.run.MerchantID, rows.run.IdempotencyKey, rows.run.ID}
		switch {
		case key.Key == "":
			return nil
		case rows.run.RetryOf != nil:
			return tx.Model(&key).Where("merchant_id = ? AND key = ?", key.MerchantID, key.Key).
				Update("run_id", key.RunID).Error
		}
		return tx.Create(&key).Error
	})
}

// explain says what SQLite's errors about its file mean, with its path and what to do; the library's own texts name neither.
func (s *Store) explain(err error) error {
	refused, ok := errors.AsType[*gosqlite.Error](err)
	if !ok {
		return err
	}
	wrong := ""
	switch refused.Code() & 0xff { // https://www.sqlite.org/rescode.html
	case 8: // READONLY
		wrong = "may not be written: let the user that this runs as write the file and its directory"
	case 13: // FULL
		wrong = "cannot grow: its disk is full: make room there"
	case 14: // CANTOPEN
		wrong = "is not there or may not be read and written: let the user that this runs as read and write the file and its directory"
	default:
		return err
	}
	return fmt.Errorf("%s %s (SQLite error %d)", s.file, wrong, refused.Code())
}

func sqliteBadRow(err error) bool {
	refused, ok := errors.AsType[*gosqlite.Error](err)
	if !ok {
		return false
	}
	switch refused.Code() & 0xff {
	case 18, 19, 20, 25: // TOOBIG, CONSTRAINT, MISMATCH, RANGE: https://www.sqlite.org/rescode.html
		return true
	}
	return false
}
