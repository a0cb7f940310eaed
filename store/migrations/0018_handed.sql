-- +goose Up
-- The number of times that a password was handed to the run while it waited for one. The password itself is never stored.

ALTER TABLE runs ADD COLUMN handed INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE runs DROP COLUMN handed;
