-- +goose Up
-- Who begins a run asks whether one about the same subject that has ended is being probed.

CREATE INDEX runs_probed ON runs (subject) WHERE probes > 0;

-- +goose Down
DROP INDEX runs_probed;
