package store

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Commit writes a group of checkpoints in one commit, as saga.Store specifies. Commit checks the fence of each checkpoint
// separately. If the database refuses the data of one checkpoint, Commit writes the checkpoints of the group one by one.
func (s *Store) Commit(ctx context.Context, now time.Time, checkpoints []saga.Checkpoint) []saga.CommitResult {
	commit := s.commitSQLite
	if s.postgres() {
		commit = s.commitPostgres
	}
	results, err := commit(ctx, now, checkpoints)
	switch {
	case err == nil:
		return results
	case badRow(err) && len(checkpoints) == 1:
		return allFailed(checkpoints, wrapBadRow(err))
	case badRow(err):
		return commitEach(checkpoints, func(one []saga.Checkpoint) []saga.CommitResult { return s.Commit(ctx, now, one) })
	}
	return allFailed(checkpoints, err)
}

func (s *Store) commitPostgres(
	ctx context.Context, now time.Time, checkpoints []saga.Checkpoint,
) ([]saga.CommitResult, error) {
	b, err := newBatch(checkpoints)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", saga.ErrBadRow, err)
	}
	var runs []runRow
	var rest []besides
	for _, row := range b.runs {
		runs, rest = append(runs, row.runRow), append(rest, row.besides)
	}
	statement, rows := pgCommit, map[string]any{"runs": runs, "besides": rest, "steps": b.steps, "events": b.events}
	if b.more() {
		statement, rows["objects"], rows["consumed"] = pgCommitMore, b.objects, b.consumed
	}
	args, err := jsons(rows)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", saga.ErrBadRow, err)
	}
	args["now"] = now.UnixMicro()
	var written []writtenRow
	if len(b.followUps) == 0 {
		written, err = commitStatement(s.db.WithContext(ctx), statement, args)
		return answer(checkpoints, written), err
	}
	err = s.tx(ctx, func(tx *gorm.DB) error { // a transaction is rarely needed: only the end of a run changes follow-ups
		if written, err = commitStatement(tx, statement, args); err != nil {
			return err
		}
		passed := map[string]bool{}
		for _, w := range written {
			passed[w.ID] = true
		}
		return writeFollowUps(tx, b.followUps, passed)
	})
	return answer(checkpoints, written), err
}

// commitStatement executes the statement that writes a group, and returns the runs that it has written.
func commitStatement(db *gorm.DB, statement string, args map[string]any) (written []writtenRow, err error) {
	// The method Scan of gorm would be slower than Rows, because Scan formats the whole statement for the log, even if the log is
	// off.
	found, err := db.Raw(statement, args).Rows()
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var w writtenRow
		if err := found.Scan(&w.ID, &w.Actions, &w.Successor); err != nil {
			return nil, err
		}
		written = append(written, w)
	}
	return written, found.Err()
}

// commitSQLite writes a group in one short transaction. SQLite has only one writer, so no other transaction writes at the same
// time.
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
		if err := writeFollowUps(tx, b.followUps, passed); err != nil {
			return err
		}
		for _, run := range b.runs {
			if !passed[run.ID] {
				continue
			}
			w, err := readWaiting(tx, &run)
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

// runMutable lists the columns that a checkpoint writes in the table `runs`. A checkpoint also increments `version`. Only the method Claim
// changes `epoch`. The remaining columns do not change after the run is accepted.
var runMutable = []string{
	"state", "reason", "cause", "waits_for", "waits_on", "left_behind", "updated_at", "ended_at", "due_at", "worked",
	"budget_from", "rechecks", "take_overs", "holds_subject", "replica_id", "last_seq", "hold", "looked",
	"attention_at", "user_id",
}

// updateRun writes a run if the stored run still has the checkpoint's epoch, version and replica. updateRun reports whether it
// wrote the run.
func updateRun(tx *gorm.DB, row *checkpointRow) (bool, error) {
	fence := runRow{ID: row.ID}
	version := row.Version
	row.Version++
	result := tx.Model(&fence).
		Where("epoch = ? AND version = ? AND replica_id = ?", row.Epoch, version, row.Holder).
		Select(append([]string{"version"}, runMutable...)).Updates(&row.runRow)
	return result.RowsAffected == 1, result.Error
}

// writeRest writes the steps, events and objects of the runs that updateRun has written. For these runs, writeRest also marks
// actions as consumed, and deletes the tokens that are no longer needed.
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

// readWaiting looks up whether a run that was just written has unconsumed actions. If the run has ended, readWaiting also looks up whether
// another live run has the same subject.
func readWaiting(tx *gorm.DB, run *checkpointRow) (writtenRow, error) {
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

// writtenRow is the result of a checkpoint that was written.
type writtenRow struct {
	ID        string
	Actions   bool
	Successor bool
}

func answer(checkpoints []saga.Checkpoint, written []writtenRow) []saga.CommitResult {
	results := allFailed(checkpoints, saga.ErrFenced)
	for i, cp := range checkpoints {
		for _, w := range written {
			if w.ID == cp.Run.ID {
				results[i] = saga.CommitResult{Actions: w.Actions, Successor: w.Successor}
			}
		}
	}
	return results
}

// commitEach commits each checkpoint of a group separately.
func commitEach(checkpoints []saga.Checkpoint, commit func([]saga.Checkpoint) []saga.CommitResult) []saga.CommitResult {
	results := make([]saga.CommitResult, 0, len(checkpoints))
	for _, cp := range checkpoints {
		results = append(results, commit([]saga.Checkpoint{cp})...)
	}
	return results
}

func allFailed(checkpoints []saga.Checkpoint, err error) []saga.CommitResult {
	results := make([]saga.CommitResult, len(checkpoints))
	for i := range results {
		results[i].Err = err
	}
	return results
}
