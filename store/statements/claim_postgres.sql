-- Leases up to @limit runs to @replica under their next epoch, and returns their ids.
--
-- A run can be claimed if it has no replica and meets one of four conditions:
-- 1. The run is due (@now) and does not wait for an upstream whose circuit is open (@down). If the run goes forward and its time
--    limit began before @expired, it can be claimed in spite of the open circuit.
-- 2. The run's predecessor with the same subject has ended.
-- 3. The run waits for its predecessor, its time limit began before @expired, and it is not held.
-- 4. An action waits for the run.
-- Due runs are claimed round-robin by merchant: the turn of a run is the number of the merchant's runs that are being executed, or
-- that are due and older.
--
-- The cost does not depend on the length of the queue. The part `merchant` walks from merchant to merchant in the index of waiting
-- runs. The part `front` limits the number of runs of each merchant that are read. The statement reads four times @limit runs, because
-- other replicas may be claiming the same runs, and locked rows are skipped. Every part reads only an index of live rows.
--
-- If no live predecessor has the subject of a claimed run, the claimed run holds the subject from now on.
--
-- claim_sqlite.sql contains the same statement without the lock.
UPDATE runs SET replica_id = @replica, epoch = epoch + 1, version = version + 1, take_overs = take_overs + 1,
	due_at = COALESCE(due_at, @now),
	holds_subject = holds_subject OR (ended_at IS NULL AND NOT EXISTS (
		SELECT 1 FROM runs o WHERE o.subject = runs.subject AND o.ended_at IS NULL AND o.id <> runs.id
			AND (o.id < runs.id OR o.holds_subject))),
	waits_for = CASE WHEN EXISTS (
		SELECT 1 FROM runs o WHERE o.subject = runs.subject AND o.ended_at IS NULL AND o.id <> runs.id
			AND (o.id < runs.id OR o.holds_subject)) THEN waits_for END
WHERE id IN (
	WITH RECURSIVE merchant (id) AS (
		SELECT MIN(merchant_id) FROM runs WHERE replica_id IS NULL AND due_at IS NOT NULL
		UNION ALL
		SELECT (SELECT MIN(merchant_id) FROM runs WHERE replica_id IS NULL AND due_at IS NOT NULL AND merchant_id > m.id)
		FROM merchant m WHERE m.id IS NOT NULL
	), front (merchant_id, last) AS MATERIALIZED (
		SELECT m.id, COALESCE((
			SELECT r.id FROM runs r
			WHERE r.merchant_id = m.id
				AND r.replica_id IS NULL AND r.due_at <= @now
				AND (r.waits_on IS NULL OR r.waits_on NOT IN @down OR r.state = 'waiting' AND r.budget_from < @expired)
			ORDER BY r.id LIMIT 1 OFFSET @limit * 4), 'z') -- after all ids
		FROM merchant m WHERE m.id IS NOT NULL
	)
	SELECT r.id FROM runs r JOIN (
		SELECT id, MIN(turn) AS turn FROM (
			-- due
			SELECT r.id, COALESCE(held.runs, 0) + ROW_NUMBER() OVER (PARTITION BY r.merchant_id ORDER BY r.id) AS turn
			FROM front JOIN runs r ON r.merchant_id = front.merchant_id AND r.id <= front.last
			LEFT JOIN (
				SELECT merchant_id, COUNT(*) AS runs FROM runs WHERE replica_id IS NOT NULL GROUP BY merchant_id
			) held ON held.merchant_id = r.merchant_id
			WHERE r.replica_id IS NULL AND r.due_at <= @now
				AND (r.waits_on IS NULL OR r.waits_on NOT IN @down OR r.state = 'waiting' AND r.budget_from < @expired)
			UNION ALL
			-- the predecessor has ended, or the time limit has passed while the run waited
			SELECT r.id, 0 FROM runs r WHERE r.waits_for IS NOT NULL AND r.replica_id IS NULL
				AND (r.budget_from < @expired AND r.hold IS NULL OR NOT EXISTS (
					SELECT 1 FROM runs o WHERE o.subject = r.subject AND o.ended_at IS NULL AND o.id <> r.id
						AND (o.id < r.id OR o.holds_subject)))
			UNION ALL
			-- an action waits
			SELECT r.id, 0 FROM actions v JOIN runs r ON r.id = v.run_id
			WHERE v.consumed_at IS NULL AND r.replica_id IS NULL
		) c GROUP BY id ORDER BY 2, 1 LIMIT @limit * 4
	) c ON c.id = r.id
	WHERE r.replica_id IS NULL
	ORDER BY c.turn, r.id LIMIT @limit
	FOR UPDATE OF r SKIP LOCKED
) RETURNING id
