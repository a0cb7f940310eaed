package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Create inserts a run with its steps, events, token and idempotency key, as saga.Store specifies.
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

// newRunRows contains the rows to insert for a new run.
type newRunRows struct {
	run    runRow
	steps  []stepRow
	events []eventRow
	token  *tokenRow
}

func (s *Store) newRunRows(n saga.NewRun) (newRunRows, error) {
	rows := newRunRows{steps: []stepRow{}, events: []eventRow{}}
	var err error
	if rows.run, err = rowOfRun(n.Run); err != nil {
		return rows, err
	}
	if rows.run.PinnedSteps, err = pin(n.Run); err != nil {
		return rows, err
	}
	for i := range n.Run.Steps {
		if n.Run.Steps[i].State == saga.StepPending {
			continue
		}
		row, err := rowOfStep(n.Run.ID, &n.Run.Steps[i])
		if err != nil {
			return rows, err
		}
		rows.steps = append(rows.steps, row)
	}
	for i := range n.Events {
		row, err := rowOfEvent(&n.Events[i])
		if err != nil {
			return rows, err
		}
		rows.events = append(rows.events, row)
	}
	if n.Token != "" {
		sealed, err := s.seal.close(n.Run.ID, n.Token)
		if err != nil {
			return rows, err
		}
		rows.token = &tokenRow{n.Run.ID, s.seal.keyID, sealed, n.TokenExpiresAt.UnixMicro()}
	}
	return rows, nil
}

// createGrouped inserts a run together with the runs of other callers. Even if ctx ends, createGrouped waits until the run is
// inserted or refused, because the caller must know whether the run exists.
func (s *Store) createGrouped(ctx context.Context, rows newRunRows) error {
	refused, err := s.creations.Do(context.WithoutCancel(ctx), rows)
	if err != nil {
		return err
	}
	return refused
}

// maxCreations is the maximum number of runs that one statement inserts. creationTime is the time limit of the statement.
const (
	maxCreations = 64
	creationTime = 30 * time.Second
)

// createPostgres inserts a group of runs in one statement. If the database refuses the group, createPostgres inserts each run
// separately.
func (s *Store) createPostgres(ctx context.Context, group []newRunRows) []error {
	ctx, cancel := context.WithTimeout(ctx, creationTime)
	defer cancel()
	runs, steps, events, tokens := []runRow{}, []stepRow{}, []eventRow{}, []tokenRow{}
	for _, rows := range group {
		runs, steps, events = append(runs, rows.run), append(steps, rows.steps...), append(events, rows.events...)
		if rows.token != nil {
			tokens = append(tokens, *rows.token)
		}
	}
	inserted := map[string]bool{}
	err := s.insertRuns(ctx, inserted, map[string]any{"runs": runs, "steps": steps, "events": events, "tokens": tokens})
	results := make([]error, len(group))
	violated, refused := errors.AsType[*pgconn.PgError](err)
	for i, rows := range group {
		switch {
		case err == nil && inserted[rows.run.ID]:
		case err == nil:
			results[i] = s.refusal(ctx, rows.run)
		case refused && len(group) > 1:
			results[i] = s.createPostgres(ctx, []newRunRows{rows})[0]
		case refused && violated.ConstraintName == "idempotency_keys_pkey":
			results[i] = saga.ErrKeyUsed
		case refused && violated.ConstraintName == "runs_retry_of":
			results[i] = saga.ErrRetried
		case refused && violated.ConstraintName == "runs_subject":
			results[i] = s.refusal(ctx, rows.run)
		case refused && violated.ConstraintName == "runs_pkey": // PostgreSQL checks the id first; `refusal` may return a better reason
			results[i] = cmp.Or(refusal(s.db.WithContext(ctx), rows.run), err)
		default:
			results[i] = err
		}
	}
	return results
}

// insertRuns executes the statement that inserts runs, and adds the ids of the inserted runs to the map `inserted`.
func (s *Store) insertRuns(ctx context.Context, inserted map[string]bool, rows map[string]any) error {
	args, err := jsons(rows)
	if err != nil {
		return err
	}
	found, err := s.db.WithContext(ctx).Raw(pgCreate, args).Rows()
	if err != nil {
		return err
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return err
		}
		inserted[id] = true
	}
	return found.Err()
}

// createSQLite inserts a run. SQLite has only one writer, so createSQLite can check before the insert whether the run must be
// refused.
func (s *Store) createSQLite(ctx context.Context, rows newRunRows) error {
	return s.tx(ctx, func(tx *gorm.DB) error {
		if err := refusal(tx, rows.run); err != nil {
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
		key := idempotencyKeyRow{rows.run.MerchantID, rows.run.IdempotencyKey, rows.run.ID}
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

// errGone means that the insert can be tried again, because the run that prevented the insert has ended.
var errGone = errors.New("another run prevented the insert, but has ended since then: try again")

// The method `refusal` returns an error with the reason why PostgreSQL did not insert a run. If PostgreSQL would insert the run
// now, `refusal` returns errGone.
func (s *Store) refusal(ctx context.Context, run runRow) error {
	if err := refusal(s.db.WithContext(ctx), run); err != nil {
		return err
	}
	return errGone
}

// The function `refusal` returns an error with the reason why a run cannot be inserted, or nil if the run can be inserted.
func refusal(tx *gorm.DB, run runRow) error {
	var keys []idempotencyKeyRow
	err := tx.Select("run_id").Where("merchant_id = ? AND key = ?", run.MerchantID, run.IdempotencyKey).
		Find(&keys).Error
	if err != nil {
		return err
	}
	if len(keys) > 0 && run.RetryOf == nil {
		return saga.ErrKeyUsed
	}
	if run.RetryOf != nil {
		var retried int64
		var succeeded []runRow
		if err := tx.Model(&runRow{}).Where("retry_of = ?", *run.RetryOf).Count(&retried).Error; err != nil {
			return err
		}
		err := tx.Select("id", "created_at").Where("user_id = ? AND id > ? AND doubles = ? AND merchant_id = ? AND state = ?",
			run.UserID, *run.RetryOf, run.Doubles, run.MerchantID, string(saga.Succeeded)).
			Order("id").Limit(1).Find(&succeeded).Error
		switch {
		case err != nil:
			return err
		case retried > 0:
			return saga.ErrRetried
		case len(succeeded) > 0:
			return &saga.AlreadySucceededError{RunID: succeeded[0].ID, AcceptedAt: at(succeeded[0].CreatedAt)}
		}
	}
	if !run.HoldsSubject {
		return nil
	}
	for _, busy := range []*gorm.DB{tx.Where("ended_at IS NULL"), tx.Where("ended_at > ?", run.CreatedAt)} {
		var others []runRow
		if err := busy.Select("id").Where("subject = ?", run.Subject).Order("id DESC").Limit(1).Find(&others).Error; err != nil {
			return err
		}
		if len(others) > 0 {
			return &saga.SubjectBusyError{RunID: others[0].ID}
		}
	}
	return nil
}

type idempotencyKeyRow struct {
	MerchantID string `gorm:"column:merchant_id;primaryKey"`
	Key        string `gorm:"column:key;primaryKey"`
	RunID      string `gorm:"column:run_id"`
}

// TableName returns the table's name for gorm.
func (idempotencyKeyRow) TableName() string { return "idempotency_keys" }
