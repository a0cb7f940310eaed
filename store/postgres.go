package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// channel is what replicas tell one another on.
const channel = "tenantry"

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
	// Rows, not Scan: gorm's Scan writes the whole statement out as text, for a log that is not kept.
	found, err := s.db.WithContext(ctx).Raw(statement, args).Rows()
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	var written []writtenRow
	for found.Next() {
		var w writtenRow
		if err := found.Scan(&w.ID, &w.Actions, &w.Successor); err != nil {
			return nil, err
		}
		written = append(written, w)
	}
	return answer(checkpoints, written), found.Err()
}

// writtenRow tells of one checkpoint that passed its fence.
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

// Limits of a group of runs that one statement inserts, and of the time that it takes.
const (
	maxCreations = 64
	creationTime = 30 * time.Second
)

// createPostgres inserts a group of runs in one statement. If the database refuses the group, each run is inserted on its
// own.
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
			results[i] = s.whyNot(ctx, rows.run)
		case refused && len(group) > 1:
			results[i] = s.createPostgres(ctx, []newRunRows{rows})[0]
		case refused && violated.ConstraintName == "idempotency_keys_pkey":
			results[i] = saga.ErrKeyUsed
		case refused && violated.ConstraintName == "runs_retry_of":
			results[i] = saga.ErrRetried
		case refused && violated.ConstraintName == "runs_subject":
			results[i] = s.whyNot(ctx, rows.run)
		default:
			results[i] = err
		}
	}
	return results
}

// insertRuns notes which runs the statement has inserted.
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

// jsons encodes the parameters of a statement in place.
func jsons(args map[string]any) (map[string]any, error) {
	for name, rows := range args {
		encoded, err := json.Marshal(rows)
		if err != nil {
			return nil, err
		}
		args[name] = string(encoded)
	}
	return args, nil
}

// badRow tells whether the database refuses a statement for the data in it, whenever it is tried.
func badRow(err error) bool {
	if errors.Is(err, saga.ErrBadRow) {
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Class 22 is data, 23 constraints, 54 limits: https://www.postgresql.org/docs/15/errcodes-appendix.html
		return strings.HasPrefix(pg.Code, "22") || strings.HasPrefix(pg.Code, "23") || strings.HasPrefix(pg.Code, "54")
	}
	return sqliteBadRow(err)
}

func wrapBadRow(err error) error {
	if errors.Is(err, saga.ErrBadRow) {
		return err
	}
	return fmt.Errorf("%w: %w", saga.ErrBadRow, err)
}
