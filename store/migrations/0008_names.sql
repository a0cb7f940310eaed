-- +goose Up
-- Renames: an operator's request to change a run is now called an action. The search for late effects is now called a
-- re-check.

ALTER TABLE verbs RENAME TO actions;
DROP INDEX verbs_waiting;
CREATE INDEX actions_waiting ON actions (run_id) WHERE consumed_at IS NULL;

ALTER TABLE runs RENAME COLUMN probes TO rechecks;
DROP INDEX runs_probed;
CREATE INDEX runs_rechecked ON runs (subject) WHERE rechecks > 0;

ALTER TABLE events RENAME COLUMN verb TO action;
UPDATE events SET kind = 'action' WHERE kind = 'verb';
UPDATE events SET kind = 'rechecked' WHERE kind = 'probed';
UPDATE runs SET reason = REPLACE(reason, '"kind":"settle"', '"kind":"late-window"') WHERE reason LIKE '%"kind":"settle"%';

-- +goose Down
UPDATE runs SET reason = REPLACE(reason, '"kind":"late-window"', '"kind":"settle"') WHERE reason LIKE '%"kind":"late-window"%';
UPDATE events SET kind = 'probed' WHERE kind = 'rechecked';
UPDATE events SET kind = 'verb' WHERE kind = 'action';
ALTER TABLE events RENAME COLUMN action TO verb;

DROP INDEX runs_rechecked;
ALTER TABLE runs RENAME COLUMN rechecks TO probes;
CREATE INDEX runs_probed ON runs (subject) WHERE probes > 0;

DROP INDEX actions_waiting;
ALTER TABLE actions RENAME TO verbs;
CREATE INDEX verbs_waiting ON verbs (run_id) WHERE consumed_at IS NULL;
