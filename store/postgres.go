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

// The statements of PostgreSQL. Rows come in as JSON and are taken apart with the tables' own row types, so that one
// statement, in one round trip and one commit, writes any number of them.
var (
	pgCommit     = pgCommitStatement(false)
	pgCommitMore = pgCommitStatement(true)
	pgCreate     = pgCreateStatement()
)

// pgCommitStatement writes runs, steps and events, which is what most checkpoints hold; with more also objects, consumed
// actions and the end of tokens. What a statement does not do is not planned, set up and torn down either. The fence is the
// condition of the UPDATE itself: PostgreSQL asks it again of a row that somebody else has just changed. Rows are locked in
// the order in which they are given.
func pgCommitStatement(more bool) string {
	extra, waiting := "", "v.consumed_at IS NULL"
	if more {
		extra = pgCommitExtra
		waiting += " AND v.id NOT IN (SELECT c.id::bigint FROM json_array_elements_text(?::json) c (id))"
	}
	return `
WITH given AS MATERIALIZED (
	SELECT * FROM ROWS FROM (
		json_populate_recordset(NULL::runs, ?::json),
		json_to_recordset(?::json) AS (holder text, drop_token boolean)
	) AS c
), run AS (
	UPDATE runs r SET version = r.version + 1, ` + set("c", runMutable) + `
	FROM given c
	WHERE r.id = c.id AND r.epoch = c.epoch AND r.version = c.version AND r.replica_id = c.holder
	RETURNING r.id, r.subject, r.ended_at,
		r.ended_at IS NOT NULL AND (SELECT old.ended_at IS NULL FROM runs old WHERE old.id = r.id) AS ends
), step AS MATERIALIZED (
	SELECT c.* FROM json_populate_recordset(NULL::steps, ?::json) c JOIN run ON run.id = c.run_id
), changed AS (
	UPDATE steps s SET ` + set("c", stepMutable) + ` FROM step c WHERE s.run_id = c.run_id AND s.name = c.name
), begun AS (
	INSERT INTO steps (` + list("", stepPinned) + `, ` + list("", stepMutable) + `)
	SELECT ` + list("c.", stepPinned) + `, ` + list("c.", stepMutable) + ` FROM step c
	WHERE NOT EXISTS (SELECT 1 FROM steps s WHERE s.run_id = c.run_id AND s.name = c.name)
), event AS (
	INSERT INTO events (` + list("", eventColumns) + `)
	SELECT ` + list("c.", eventColumns) + `
	FROM json_populate_recordset(NULL::events, ?::json) c JOIN run ON run.id = c.run_id
)` + extra + `
SELECT run.id,
	EXISTS (SELECT 1 FROM actions v WHERE v.run_id = run.id AND ` + waiting + `) AS actions,
	run.ended_at IS NOT NULL AND EXISTS (SELECT 1 FROM runs n
		WHERE n.subject = run.subject AND n.ended_at IS NULL AND n.id <> run.id) AS successor
FROM run
WHERE CASE WHEN run.ends THEN pg_notify('` + channel + `', 'ended ' || run.id) IS NOT NULL ELSE TRUE END`
}

var pgCommitExtra = `, object AS (
	INSERT INTO objects (` + list("", objectColumns) + `)
	SELECT ` + list("c.", objectColumns) + `
	FROM json_populate_recordset(NULL::objects, ?::json) c JOIN run ON run.id = c.run_id
	ON CONFLICT (run_id, kind, id) DO UPDATE SET removed_at = excluded.removed_at
), consumed AS (
	UPDATE actions v SET consumed_at = ?
	FROM json_array_elements_text(?::json) c (id)
	WHERE v.id = c.id::bigint AND v.run_id IN (SELECT id FROM run)
), token AS (
	DELETE FROM tokens t USING given c JOIN run ON run.id = c.id
	WHERE c.drop_token AND t.run_id = c.id
)`

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
	values, statement := []any{runs, rest, b.steps, b.events}, pgCommit
	if b.more() {
		values, statement = append(values, b.objects, b.consumed), pgCommitMore
	}
	encoded, err := jsons(values...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", saga.ErrBadRow, err)
	}
	args := []any{encoded[0], encoded[1], encoded[2], encoded[3]}
	if b.more() {
		args = append(args, encoded[4], now.UnixMicro(), encoded[5], encoded[5])
	}
	// Rows, not Scan: gorm's Scan writes the whole statement out as text, for a log that is not kept.
	rows, err := s.db.WithContext(ctx).Raw(statement, args...).Rows()
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var written []writtenRow
	for rows.Next() {
		var w writtenRow
		if err := rows.Scan(&w.ID, &w.Actions, &w.Successor); err != nil {
			return nil, err
		}
		written = append(written, w)
	}
	return answer(checkpoints, written), rows.Err()
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

func pgCreateStatement() string {
	columns := append(append(append([]string{}, runPinned...), runMutable...), runFence...)
	steps := append(append([]string{}, stepPinned...), stepMutable...)
	return `
WITH run AS (
	INSERT INTO runs (` + list("", columns) + `)
	SELECT ` + list("c.", columns) + `
	FROM json_populate_recordset(NULL::runs, ?::json) c
	WHERE (NOT c.holds_subject OR NOT EXISTS (
			SELECT 1 FROM runs o WHERE o.subject = c.subject AND o.ended_at IS NULL))
		AND (c.retry_of IS NULL OR NOT EXISTS (
			SELECT 1 FROM runs o WHERE o.user_id = c.user_id AND o.id > c.retry_of AND o.doubles = c.doubles
				AND o.merchant_id = c.merchant_id AND o.state = 'succeeded'))
	RETURNING id, merchant_id, idempotency_key, retry_of, replica_id
), step AS (
	INSERT INTO steps (` + list("", steps) + `)
	SELECT ` + list("c.", steps) + ` FROM json_populate_recordset(NULL::steps, ?::json) c JOIN run ON run.id = c.run_id
), event AS (
	INSERT INTO events (` + list("", eventColumns) + `)
	SELECT ` + list("c.", eventColumns) + ` FROM json_populate_recordset(NULL::events, ?::json) c JOIN run ON run.id = c.run_id
), token AS (
	INSERT INTO tokens (run_id, key_id, sealed, expires_at)
	SELECT c.run_id, c.key_id, c.sealed, c.expires_at
	FROM json_populate_recordset(NULL::tokens, ?::json) c JOIN run ON run.id = c.run_id
), new_key AS (
	INSERT INTO idempotency_keys (merchant_id, key, run_id)
	SELECT merchant_id, idempotency_key, id FROM run WHERE retry_of IS NULL AND idempotency_key <> ''
), moved_key AS (
	UPDATE idempotency_keys k SET run_id = run.id
	FROM run WHERE k.merchant_id = run.merchant_id AND k.key = run.idempotency_key AND run.retry_of IS NOT NULL
)
SELECT id FROM run WHERE CASE WHEN replica_id IS NULL THEN pg_notify('` + channel + `', 'work') IS NOT NULL ELSE TRUE END`
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
	err := s.insertRuns(ctx, inserted, runs, steps, events, tokens)
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
func (s *Store) insertRuns(ctx context.Context, inserted map[string]bool, rows ...any) error {
	args, err := jsons(rows...)
	if err != nil {
		return err
	}
	found, err := s.db.WithContext(ctx).Raw(pgCreate, args[0], args[1], args[2], args[3]).Rows()
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

// jsons encodes statement parameters.
func jsons(values ...any) ([]string, error) {
	encoded := make([]string, len(values))
	for i, v := range values {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		encoded[i] = string(b)
	}
	return encoded, nil
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

// list joins columns with a prefix each; set makes assignments of them.
func list(prefix string, columns []string) string {
	return prefix + strings.Join(columns, ", "+prefix)
}

func set(from string, columns []string) string {
	assignments := make([]string, len(columns))
	for i, c := range columns {
		assignments[i] = c + " = " + from + "." + c
	}
	return strings.Join(assignments, ", ")
}
