-- Extends the lease of @replica until @until if the lease has not ended. Deletes the other replicas whose leases have ended; the
-- foreign key's ON DELETE SET NULL then makes the runs of these replicas claimable. Returns the database's time, and whether a
-- replica was deleted. Returns no row if the lease of @replica has ended.
WITH mine AS (
	UPDATE replicas SET lease_until = @until WHERE id = @replica AND lease_until > @now RETURNING id
), dead AS (
	DELETE FROM replicas WHERE lease_until < @now AND id <> @replica
		AND id IN (SELECT id FROM replicas WHERE lease_until < @now FOR UPDATE SKIP LOCKED)
	RETURNING id
)
SELECT clock_timestamp() AS now, EXISTS (SELECT 1 FROM dead) AS freed FROM mine
