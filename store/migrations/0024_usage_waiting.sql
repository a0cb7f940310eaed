-- +goose Up
-- The merchants with usage that waits to be billed, and since when it waits.
CREATE INDEX usage_unbilled_due ON usage_unbilled (merchant_id, due_at);

-- Why the usage of a merchant could not be billed the last time. Times are in microseconds.
CREATE TABLE usage_failures (
	merchant_id TEXT PRIMARY KEY,
	failure     TEXT NOT NULL,
	failed_at   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE usage_failures;
DROP INDEX usage_unbilled_due;
