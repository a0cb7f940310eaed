-- +goose Up
-- The time from which a run needs the attention of a person: at once if the run is stuck or held or an undo was refused, and after
-- 15 minutes if the run waits for an upstream. NULL: nobody needs to act. The few runs that need attention have an index.

ALTER TABLE runs ADD COLUMN attention_at BIGINT;
UPDATE runs SET attention_at = updated_at
    WHERE state = 'stuck' OR state = 'waiting' AND reason LIKE '{"kind":"operator"%'
        OR ended_at IS NULL AND id IN (SELECT run_id FROM steps WHERE state = 'undo_failed');
UPDATE runs SET attention_at = updated_at + 900000000
    WHERE attention_at IS NULL AND ended_at IS NULL AND reason LIKE '{"kind":"upstream"%';
CREATE INDEX runs_attention ON runs (id) WHERE attention_at IS NOT NULL;

-- +goose Down
DROP INDEX runs_attention;
ALTER TABLE runs DROP COLUMN attention_at;
