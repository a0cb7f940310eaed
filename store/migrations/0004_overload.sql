-- +goose Up
-- The claim reads due runs by merchant and age, and skips runs that wait for an upstream whose circuit is open.

ALTER TABLE runs ADD COLUMN waits_on TEXT; -- the upstream that the reason names

DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (merchant_id, id) WHERE replica_id IS NULL AND due_at IS NOT NULL;
CREATE INDEX runs_live_of ON runs (merchant_id) WHERE ended_at IS NULL;

-- +goose Down
DROP INDEX runs_live_of;
DROP INDEX runs_due;
CREATE INDEX runs_due ON runs (due_at) WHERE replica_id IS NULL AND due_at IS NOT NULL;
ALTER TABLE runs DROP COLUMN waits_on;
