-- +goose Up
-- The sessions of people who have signed in to the console.
CREATE TABLE sign_ins (
	id         TEXT PRIMARY KEY, -- the hash of the text in the cookie
	key_id     TEXT NOT NULL,
	sealed     TEXT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX sign_ins_expire ON sign_ins (expires_at);

-- +goose Down
DROP TABLE sign_ins;
