package store

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Tip reads the epoch and the version of a run.
func (s *Store) Tip(ctx context.Context, runID string) (epoch, version int64, err error) {
	var rows []runRow
	err = s.db.WithContext(ctx).Select("epoch, version").Where("id = ?", runID).Find(&rows).Error
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("reading the version of run %s: %w", runID, err)
	case len(rows) == 0:
		return 0, 0, saga.ErrNotFound
	}
	return rows[0].Epoch, rows[0].Version, nil
}

// Run reads a run with its steps and objects.
func (s *Store) Run(ctx context.Context, runID string) (*saga.Run, error) {
	return s.one(ctx, func(db *gorm.DB) *gorm.DB { return db.Where("runs.id = ?", runID) })
}

// RunOfKey reads the run with the given idempotency key. If a run with the key was retried, RunOfKey reads the last retry.
func (s *Store) RunOfKey(ctx context.Context, merchant, key string) (*saga.Run, error) {
	return s.one(ctx, func(db *gorm.DB) *gorm.DB {
		return db.Where("runs.id = (SELECT run_id FROM idempotency_keys WHERE merchant_id = ? AND key = ?)", merchant, key)
	})
}

// LiveRuns counts the runs of a merchant that have not ended. It omits the runs that wait for a password (see
// saga.Run.AwaitsPassword), and the runs of follow-ups, which nobody has ordered.
func (s *Store) LiveRuns(ctx context.Context, merchant string) (int, error) {
	var n int64
	err := s.db.WithContext(ctx).Model(&runRow{}).Where("merchant_id = ? AND ended_at IS NULL AND idempotency_key <> ''", merchant).
		Where("reason IS NULL OR reason NOT LIKE '{\"kind\":\"password\"%'").Count(&n).Error
	return int(n), err
}

// Runs reads the runs that match the filter, newest first, with their steps and objects.
func (s *Store) Runs(ctx context.Context, f saga.Filter) ([]*saga.Run, error) {
	return s.read(ctx, func(db *gorm.DB) *gorm.DB { return s.filtered(db, f) })
}

// latestRuns finds the succeeded runs of a merchant that have recorded one of the given objects. The operator `||` hides the index by
// merchant: with this index, SQLite would read all runs of the merchant.
const latestRuns = `
SELECT o.id, o.run_id FROM objects o JOIN runs r ON r.id = o.run_id
WHERE o.id IN ? AND o.id NOT LIKE '%/%' AND o.kind = ? AND r.merchant_id || '' = ? AND r.state = 'succeeded'
ORDER BY r.ended_at, o.run_id`

// Latest reads, for each object, the succeeded run that ended last, as saga.Store specifies.
func (s *Store) Latest(ctx context.Context, merchant, kind string, ids []string) (map[string]*saga.Run, error) {
	var all []struct{ ID, RunID string }
	err := s.db.WithContext(ctx).Raw(latestRuns, ids, kind, merchant).Scan(&all).Error
	if err != nil {
		return nil, fmt.Errorf("looking for the newest runs: %w", err)
	}
	newest := map[string]string{}
	for _, one := range all {
		newest[one.ID] = one.RunID
	}
	found := slices.Compact(slices.Sorted(maps.Values(newest)))
	runs, err := s.read(ctx, func(db *gorm.DB) *gorm.DB { return db.Where("runs.id IN ?", found) })
	if err != nil {
		return nil, err
	}
	byID, latest := map[string]*saga.Run{}, map[string]*saga.Run{}
	for _, r := range runs {
		byID[r.ID] = r
	}
	for id, run := range newest {
		latest[id] = byID[run]
	}
	return latest, nil
}

func (s *Store) one(ctx context.Context, where func(*gorm.DB) *gorm.DB) (*saga.Run, error) {
	runs, err := s.read(ctx, where)
	switch {
	case err != nil:
		return nil, err
	case len(runs) == 0:
		return nil, saga.ErrNotFound
	}
	return runs[0], nil
}

// runColumns are the columns that a query of runs returns. The query computes the last two columns. The column "retried_by"
// contains the id of the run that is a retry of this run. The column "behind" contains the id of the run that this run waits for.
const runColumns = `
	runs.id, runs.workflow, runs.workflow_version, runs.merchant_id, runs.cloud, runs.subject, runs.user_id, runs.doubles,
	runs.on_failure, runs.input, runs.idempotency_key, runs.fingerprint, runs.retry_of, runs.pinned_steps, runs.created_at,
	runs.state, runs.reason, runs.cause, runs.waits_for, runs.waits_on, runs.left_behind, runs.updated_at, runs.ended_at,
	runs.due_at, runs.worked, runs.budget_from, runs.rechecks, runs.take_overs, runs.handed, runs.holds_subject, runs.replica_id,
	runs.last_seq, runs.hold, runs.looked, runs.attention_at, runs.epoch, runs.version,
	(SELECT n.id FROM runs n WHERE n.retry_of = runs.id) AS retried_by,
	(SELECT MAX(o.id) FROM runs o WHERE runs.waits_for IS NOT NULL
		AND o.subject = runs.subject AND o.ended_at IS NULL AND o.id < runs.id) AS behind`

// The method `read` makes three queries: one for the runs, one for their steps, and one for their objects.
func (s *Store) read(ctx context.Context, where func(*gorm.DB) *gorm.DB) ([]*saga.Run, error) {
	db := s.db.WithContext(ctx)
	var rows []runRow
	err := where(db.Table("runs").Select(runColumns)).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading runs: %w", err)
	}
	runs := make([]*saga.Run, len(rows))
	byID := map[string]*saga.Run{}
	ids := make([]string, len(rows))
	for i := range rows {
		if runs[i], err = rows[i].run(); err != nil {
			return nil, fmt.Errorf("decoding run %s: %w", rows[i].ID, err)
		}
		ids[i], byID[rows[i].ID] = rows[i].ID, runs[i]
	}
	if len(ids) == 0 {
		return nil, nil
	}
	var steps []stepRow
	if err := columns(db).Where("run_id IN ?", ids).Find(&steps).Error; err != nil {
		return nil, fmt.Errorf("reading steps: %w", err)
	}
	for i := range steps {
		row := &steps[i]
		step := byID[row.RunID].Step(row.Name)
		if step == nil {
			return nil, fmt.Errorf("reading run %s: step %s has a row, but is not a pinned step of the run", row.RunID, row.Name)
		}
		if err := row.tell(step); err != nil {
			return nil, fmt.Errorf("decoding step %s of run %s: %w", row.Name, row.RunID, err)
		}
	}
	var objects []objectRow
	if err := columns(db).Where("run_id IN ?", ids).Order("run_id, kind, id").Find(&objects).Error; err != nil {
		return nil, fmt.Errorf("reading objects: %w", err)
	}
	for i := range objects {
		r := byID[objects[i].RunID]
		r.Objects = append(r.Objects, objects[i].object())
	}
	return runs, nil
}

// Events reads events of a run, sorted by seq. Events returns at most `limit` events, and only events whose seq is greater than the
// argument `after`.
func (s *Store) Events(ctx context.Context, runID string, after int64, limit int) ([]saga.Event, error) {
	var rows []eventRow
	err := columns(s.db.WithContext(ctx)).Where("run_id = ? AND seq > ?", runID, after).
		Order("seq").Limit(limit).Find(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("reading the events of run %s: %w", runID, err)
	}
	events := make([]saga.Event, len(rows))
	for i := range rows {
		if events[i], err = rows[i].event(); err != nil {
			return nil, fmt.Errorf("decoding event %d of run %s: %w", rows[i].Seq, runID, err)
		}
	}
	return events, nil
}
