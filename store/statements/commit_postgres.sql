-- Writes a group of checkpoints: runs, their steps and their events. Most checkpoints hold nothing else. commit_more_postgres.sql
-- writes checkpoints that hold more. There are two statements, because a part of a statement costs time even if it has no rows.
--
-- Rows are passed as JSON arrays with the tables' own columns, so that one statement in one round trip writes any number of them.
-- The elements of @besides belong to the runs at the same indexes in @runs.
--
-- The fence is the condition of the UPDATE itself, because PostgreSQL evaluates it again for a row that another transaction has
-- just changed. Rows are locked in the order in which they are passed. Steps and events of a run are written only if the run is
-- written. The statement returns the id of each written run, whether unconsumed actions wait for it, and whether another run waits
-- for its subject.
WITH given AS MATERIALIZED (
	SELECT * FROM ROWS FROM (
		json_populate_recordset(NULL::runs, CAST(@runs AS json)),
		json_to_recordset(CAST(@besides AS json)) AS (holder text, drop_token boolean)
	) AS c
), run AS (
	UPDATE runs r SET version = r.version + 1,
		state = c.state, reason = c.reason, cause = c.cause, waits_for = c.waits_for, waits_on = c.waits_on,
		left_behind = c.left_behind, updated_at = c.updated_at, ended_at = c.ended_at, due_at = c.due_at, worked = c.worked,
		budget_from = c.budget_from, rechecks = c.rechecks, take_overs = c.take_overs, holds_subject = c.holds_subject,
		replica_id = c.replica_id, last_seq = c.last_seq, hold = c.hold, looked = c.looked, attention_at = c.attention_at,
		user_id = c.user_id
	FROM given c
	WHERE r.id = c.id AND r.epoch = c.epoch AND r.version = c.version AND r.replica_id = c.holder
	RETURNING r.id, r.subject, r.ended_at,
		r.ended_at IS NOT NULL AND (SELECT old.ended_at IS NULL FROM runs old WHERE old.id = r.id) AS ends
), step AS MATERIALIZED (
	SELECT c.* FROM json_populate_recordset(NULL::steps, CAST(@steps AS json)) c JOIN run ON run.id = c.run_id
), changed AS (
	UPDATE steps s SET
		state = c.state, attempts = c.attempts, undos = c.undos, output = c.output, error = c.error,
		started_at = c.started_at, ended_at = c.ended_at, retry_at = c.retry_at, unknowns = c.unknowns,
		unknown_at = c.unknown_at, undone_at = c.undone_at, in_flight = c.in_flight
	FROM step c WHERE s.run_id = c.run_id AND s.name = c.name
), begun AS (
	INSERT INTO steps (run_id, name, state, attempts, undos, output, error,
		started_at, ended_at, retry_at, unknowns, unknown_at, undone_at, in_flight)
	SELECT c.run_id, c.name, c.state, c.attempts, c.undos, c.output, c.error,
		c.started_at, c.ended_at, c.retry_at, c.unknowns, c.unknown_at, c.undone_at, c.in_flight
	FROM step c
	WHERE NOT EXISTS (SELECT 1 FROM steps s WHERE s.run_id = c.run_id AND s.name = c.name)
), event AS (
	INSERT INTO events (run_id, seq, at, epoch, kind, step, attempt, started_at, action, who, why, request_id, failure)
	SELECT c.run_id, c.seq, c.at, c.epoch, c.kind, c.step, c.attempt, c.started_at, c.action, c.who, c.why, c.request_id, c.failure
	FROM json_populate_recordset(NULL::events, CAST(@events AS json)) c JOIN run ON run.id = c.run_id
)
SELECT run.id,
	EXISTS (
		SELECT 1 FROM actions v WHERE v.run_id = run.id AND v.consumed_at IS NULL
	) AS actions,
	run.ended_at IS NOT NULL AND EXISTS (SELECT 1 FROM runs n
		WHERE n.subject = run.subject AND n.ended_at IS NULL AND n.id <> run.id) AS successor
FROM run
WHERE CASE WHEN run.ends THEN pg_notify('tenantry', 'ended ' || run.id) IS NOT NULL ELSE TRUE END
