-- Writes a group of checkpoints, at least one of which holds more than steps and events. This statement consists of the statement in
-- commit_postgres.sql and three more parts: objects, consumed actions, and deleted tokens. The comment in commit_postgres.sql explains
-- the common parts.
--
-- All parts of a statement see the database as it was before. The last SELECT still sees the actions that this statement consumes, and
-- therefore excludes these actions by their ids.
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
), object AS MATERIALIZED (
	SELECT c.* FROM json_populate_recordset(NULL::objects, CAST(@objects AS json)) c JOIN run ON run.id = c.run_id
), removed AS (
	UPDATE objects o SET removed_at = c.removed_at
	FROM object c WHERE o.run_id = c.run_id AND o.kind = c.kind AND o.id = c.id
), made AS (
	INSERT INTO objects (run_id, kind, id, step, cloud, name, origin, request_id, removed_at)
	SELECT c.run_id, c.kind, c.id, c.step, c.cloud, c.name, c.origin, c.request_id, c.removed_at
	FROM object c
	WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.run_id = c.run_id AND o.kind = c.kind AND o.id = c.id)
), consumed AS (
	UPDATE actions v SET consumed_at = @now
	FROM json_array_elements_text(CAST(@consumed AS json)) c (id)
	WHERE v.id = c.id::bigint AND v.run_id IN (SELECT id FROM run)
), token AS (
	DELETE FROM tokens t USING given c JOIN run ON run.id = c.id
	WHERE c.drop_token AND t.run_id = c.id
)
SELECT run.id,
	EXISTS (
		SELECT 1 FROM actions v WHERE v.run_id = run.id AND v.consumed_at IS NULL
			AND v.id NOT IN (SELECT c.id::bigint FROM json_array_elements_text(CAST(@consumed AS json)) c (id))
	) AS actions,
	run.ended_at IS NOT NULL AND EXISTS (SELECT 1 FROM runs n
		WHERE n.subject = run.subject AND n.ended_at IS NULL AND n.id <> run.id) AS successor
FROM run
WHERE CASE WHEN run.ends THEN pg_notify('tenantry', 'ended ' || run.id) IS NOT NULL ELSE TRUE END
