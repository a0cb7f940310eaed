-- +goose Up
-- All inputs of a decision about a run are now stored: the calls in flight, the reason why no new call is started, and
-- whether the current re-check has chosen its steps.

ALTER TABLE steps ADD COLUMN in_flight TEXT;
UPDATE steps SET in_flight = 'do' WHERE state = 'running';
-- A run that was released has no call in flight.
UPDATE steps SET in_flight = 'undo' WHERE state = 'undoing' AND retry_at IS NULL AND undos > 0
    AND run_id IN (SELECT id FROM runs WHERE state <> 'compensated' AND (replica_id IS NOT NULL OR state = 'compensating' AND due_at IS NOT NULL));
UPDATE steps SET in_flight = 'recheck' WHERE state = 'undoing' AND retry_at IS NULL AND undos > 0
    AND run_id IN (SELECT id FROM runs WHERE state = 'compensated' AND replica_id IS NOT NULL);

ALTER TABLE runs ADD COLUMN hold TEXT;
ALTER TABLE runs ADD COLUMN looked BOOLEAN NOT NULL DEFAULT FALSE;

-- A re-check looks for succeeded runs about its subject.
CREATE INDEX runs_ended ON runs (subject, id) WHERE ended_at IS NOT NULL;

-- +goose Down
DROP INDEX runs_ended;
ALTER TABLE runs DROP COLUMN looked;
ALTER TABLE runs DROP COLUMN hold;
ALTER TABLE steps DROP COLUMN in_flight;
