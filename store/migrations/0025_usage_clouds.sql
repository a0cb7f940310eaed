-- +goose Up
-- When samples of a cloud were last received. Times are in microseconds.
CREATE TABLE sample_times (
	cloud       TEXT PRIMARY KEY,
	received_at BIGINT NOT NULL
);

-- The oldest hour of a cloud that is not computed yet.
CREATE INDEX usage_due_cloud ON usage_due (cloud, hour);
CREATE INDEX usage_taken_cloud ON usage_taken (cloud, hour);

-- +goose Down
DROP INDEX usage_taken_cloud;
DROP INDEX usage_due_cloud;
DROP TABLE sample_times;
