-- +goose Up
-- The portal of a merchant with sign-up may register users, and may log users in with their passwords.

ALTER TABLE merchants ADD COLUMN sign_up BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE merchants DROP COLUMN sign_up;
