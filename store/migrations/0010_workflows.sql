-- +goose Up
-- The workflow defines the effect that a second successful run would make again, and no workflow is the default.

ALTER TABLE runs RENAME COLUMN plan_id TO doubles;
UPDATE runs SET doubles = 'plan ' || doubles WHERE doubles <> '';

DROP INDEX runs_workflow;
CREATE INDEX runs_workflow ON runs (workflow, id);

-- +goose Down
DROP INDEX runs_workflow;
CREATE INDEX runs_workflow ON runs (workflow, id) WHERE workflow <> 'subscribe';

UPDATE runs SET doubles = SUBSTR(doubles, 6) WHERE doubles LIKE 'plan %';
ALTER TABLE runs RENAME COLUMN doubles TO plan_id;
