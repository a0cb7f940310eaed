-- +goose Up
-- A run that begins looks for ended runs about the same subject whose re-check (called a probe in this schema) may still remove
-- something.

CREATE INDEX runs_probed ON runs (subject) WHERE probes > 0;

-- +goose Down
DROP INDEX runs_probed;
