-- Inserts a group of runs, with their steps, events, tokens and idempotency keys, and returns the ids of the inserted runs.
--
-- A run is not inserted if another run has its subject and is live, or has ended after the new run was accepted: the steps of the new
-- run would then seem to have begun before the end of the other run. A retry is not inserted if a later run of the same user has
-- already made the effect that the retry would make again. A second run for the same key, or a second retry of the same run, violates
-- a unique index, which refuses the whole group. A retry takes over the idempotency key. Other replicas are notified of runs without a
-- replica.
WITH run AS (
	INSERT INTO runs (id, workflow, workflow_version, merchant_id, cloud, subject, user_id, doubles, on_failure,
		input, idempotency_key, fingerprint, retry_of, pinned_steps, created_at,
		state, reason, cause, waits_for, waits_on, left_behind, updated_at, ended_at, due_at, worked, budget_from,
		rechecks, take_overs, holds_subject, replica_id, last_seq, hold, looked, attention_at, epoch, version)
	SELECT c.id, c.workflow, c.workflow_version, c.merchant_id, c.cloud, c.subject, c.user_id, c.doubles, c.on_failure,
		c.input, c.idempotency_key, c.fingerprint, c.retry_of, c.pinned_steps, c.created_at,
		c.state, c.reason, c.cause, c.waits_for, c.waits_on, c.left_behind, c.updated_at, c.ended_at, c.due_at, c.worked, c.budget_from,
		c.rechecks, c.take_overs, c.holds_subject, c.replica_id, c.last_seq, c.hold, c.looked, c.attention_at, c.epoch, c.version
	FROM json_populate_recordset(NULL::runs, CAST(@runs AS json)) c
	WHERE (NOT c.holds_subject OR NOT EXISTS (
			SELECT 1 FROM runs o WHERE o.subject = c.subject AND o.ended_at IS NULL)
		AND NOT EXISTS (
			SELECT 1 FROM runs o WHERE o.subject = c.subject AND o.ended_at > c.created_at))
		AND (c.retry_of IS NULL OR NOT EXISTS (
			SELECT 1 FROM runs o WHERE o.user_id = c.user_id AND o.id > c.retry_of AND o.doubles = c.doubles
				AND o.merchant_id = c.merchant_id AND o.state = 'succeeded'))
	RETURNING id, merchant_id, idempotency_key, retry_of, replica_id
), step AS (
	INSERT INTO steps (run_id, name, state, attempts, undos, output, error,
		started_at, ended_at, retry_at, unknowns, unknown_at, undone_at, in_flight)
	SELECT c.run_id, c.name, c.state, c.attempts, c.undos, c.output, c.error,
		c.started_at, c.ended_at, c.retry_at, c.unknowns, c.unknown_at, c.undone_at, c.in_flight
	FROM json_populate_recordset(NULL::steps, CAST(@steps AS json)) c JOIN run ON run.id = c.run_id
), event AS (
	INSERT INTO events (run_id, seq, at, epoch, kind, step, attempt, started_at, action, who, why, request_id, failure)
	SELECT c.run_id, c.seq, c.at, c.epoch, c.kind, c.step, c.attempt, c.started_at, c.action, c.who, c.why, c.request_id, c.failure
	FROM json_populate_recordset(NULL::events, CAST(@events AS json)) c JOIN run ON run.id = c.run_id
), token AS (
	INSERT INTO tokens (run_id, key_id, sealed, expires_at)
	SELECT c.run_id, c.key_id, c.sealed, c.expires_at
	FROM json_populate_recordset(NULL::tokens, CAST(@tokens AS json)) c JOIN run ON run.id = c.run_id
), new_key AS (
	INSERT INTO idempotency_keys (merchant_id, key, run_id)
	SELECT merchant_id, idempotency_key, id FROM run WHERE retry_of IS NULL AND idempotency_key <> ''
), moved_key AS (
	UPDATE idempotency_keys k SET run_id = run.id
	FROM run WHERE k.merchant_id = run.merchant_id AND k.key = run.idempotency_key AND run.retry_of IS NOT NULL
)
SELECT id FROM run WHERE CASE WHEN replica_id IS NULL THEN pg_notify('tenantry', 'work') IS NOT NULL ELSE TRUE END
