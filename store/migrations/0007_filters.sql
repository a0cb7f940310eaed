-- +goose Up
-- A page of the list costs the same, however many runs are finished. Nearly all runs succeed, so a list of succeeded runs
-- reads all runs, newest first. Each rare state has its own index. A run that succeeds leaves this index, or never enters it.

DROP INDEX runs_state;
CREATE INDEX runs_state ON runs (state, id) WHERE state <> 'succeeded';
CREATE INDEX runs_compensated ON runs (merchant_id, id) WHERE state = 'compensated';
CREATE INDEX runs_workflow ON runs (workflow, id) WHERE workflow <> 'subscribe';

-- +goose Down
DROP INDEX runs_workflow;
DROP INDEX runs_compensated;
DROP INDEX runs_state;
CREATE INDEX runs_state ON runs (state, id);
