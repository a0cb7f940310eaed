-- +goose Up
-- Operators look at the follow-ups that are held. These are few.

CREATE INDEX follow_ups_held ON follow_ups (due_at) WHERE hold IS NOT NULL;

-- +goose Down
DROP INDEX follow_ups_held;
