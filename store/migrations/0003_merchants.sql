-- +goose Up
-- Merchants and their API keys. Lists of roles are JSON.

CREATE TABLE merchants (
	id                 TEXT PRIMARY KEY,
	name               TEXT NOT NULL,
	cloud              TEXT NOT NULL,
	domain             TEXT NOT NULL,
	customer_roles     TEXT NOT NULL,
	subscription_roles TEXT NOT NULL,
	on_failure         TEXT NOT NULL,
	adopt_unmarked     BOOLEAN NOT NULL,
	max_live_runs      INTEGER NOT NULL DEFAULT 0, -- 0: the configuration's
	created_at         BIGINT NOT NULL,
	disabled_at        BIGINT
);

CREATE TABLE api_keys (
	id          TEXT PRIMARY KEY, -- the public part
	merchant_id TEXT NOT NULL REFERENCES merchants (id),
	secret_hash TEXT NOT NULL,    -- SHA-256 in hex
	created_at  BIGINT NOT NULL,
	revoked_at  BIGINT
);
CREATE INDEX api_keys_merchant ON api_keys (merchant_id, created_at);

-- +goose Down
DROP TABLE api_keys;
DROP TABLE merchants;
