-- +goose Up
-- The merchants with usage that waits to be billed, and since when it waits.
CREATE INDEX usage_unbilled_due ON usage_unbilled (merchant_id, due_at);

-- +goose Down
DROP INDEX usage_unbilled_due;
