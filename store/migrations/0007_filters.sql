-- +goose Up
-- A page of the list costs the same, however many runs are finished. Nearly all runs succeed: a list of these reads all runs,
-- newest first. Rare states have indexes of their own, which a run that succeeds leaves or never enters.

DROP INDEX runs_state;
CREATE INDEX runs_state ON runs (state, id) WHERE state <> 'succeeded';
CREATE INDEX runs_compensated ON runs (merchant_id, id) WHERE state = 'compensated';
CREATE INDEX runs_workflow ON runs (workflow, id) WHERE workflow <> 'subscribe';

-- +goose Down
DROP INDEX runs_workflow;
DROP INDEX runs_compensated;
DROP INDEX runs_state;
CREATE INDEX runs_state ON runs (state, id);
