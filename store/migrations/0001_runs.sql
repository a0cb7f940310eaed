-- +goose Up
-- Times are microseconds since 1970 UTC, so that both databases compare them alike. JSON is stored as text.

CREATE TABLE replicas (
	id          TEXT PRIMARY KEY,
	lease_until BIGINT NOT NULL
);

CREATE TABLE runs (
	id               TEXT PRIMARY KEY,
	workflow         TEXT NOT NULL,
	workflow_version INTEGER NOT NULL,
	merchant_id      TEXT NOT NULL,
	cloud            TEXT NOT NULL,
	subject          TEXT NOT NULL,
	user_id          TEXT NOT NULL,
	plan_id          TEXT NOT NULL,
	on_failure       TEXT NOT NULL,
	input            TEXT NOT NULL,
	idempotency_key  TEXT NOT NULL,
	fingerprint      TEXT NOT NULL,
	retry_of         TEXT,
	created_at       BIGINT NOT NULL,
	state            TEXT NOT NULL,
	reason           TEXT,
	cause            TEXT,
	waits_for        TEXT,
	left_behind      TEXT,
	updated_at       BIGINT NOT NULL,
	ended_at         BIGINT,
	due_at           BIGINT,          -- when it may be claimed; NULL: not until it is woken
	worked           BIGINT NOT NULL, -- microseconds
	budget_from      BIGINT NOT NULL,
	probes           INTEGER NOT NULL,
	take_overs       INTEGER NOT NULL,
	holds_subject    BOOLEAN NOT NULL,
	replica_id       TEXT REFERENCES replicas (id) ON DELETE SET NULL,
	epoch            BIGINT NOT NULL,
	version          BIGINT NOT NULL,
	last_seq         BIGINT NOT NULL
);

-- A claim reads only indexes of live rows, so that finished runs do not make the claim slower.
CREATE UNIQUE INDEX runs_subject ON runs (subject) WHERE holds_subject;
CREATE UNIQUE INDEX runs_retry_of ON runs (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX runs_due ON runs (due_at) WHERE replica_id IS NULL AND due_at IS NOT NULL;
CREATE INDEX runs_leased ON runs (replica_id) WHERE replica_id IS NOT NULL;
CREATE INDEX runs_live ON runs (subject, id) WHERE ended_at IS NULL;
CREATE INDEX runs_behind ON runs (id) WHERE waits_for IS NOT NULL;
CREATE INDEX runs_merchant ON runs (merchant_id, id);
CREATE INDEX runs_user ON runs (user_id, id);
CREATE INDEX runs_state ON runs (state, id);

CREATE TABLE steps (
	run_id     TEXT NOT NULL,
	name       TEXT NOT NULL,
	position   INTEGER NOT NULL,
	after      TEXT NOT NULL,
	optional   BOOLEAN NOT NULL,
	state      TEXT NOT NULL,
	attempts   INTEGER NOT NULL,
	undos      INTEGER NOT NULL,
	output     TEXT,
	error      TEXT,
	started_at BIGINT,
	ended_at   BIGINT,
	retry_at   BIGINT,
	unknowns   INTEGER NOT NULL,
	unknown_at BIGINT,
	undone_at  BIGINT,
	PRIMARY KEY (run_id, name)
);

CREATE TABLE events (
	run_id     TEXT NOT NULL,
	seq        BIGINT NOT NULL,
	at         BIGINT NOT NULL,
	epoch      BIGINT NOT NULL,
	kind       TEXT NOT NULL,
	step       TEXT NOT NULL,
	attempt    INTEGER NOT NULL,
	started_at BIGINT,
	verb       TEXT NOT NULL,
	who        TEXT NOT NULL,
	why        TEXT NOT NULL,
	request_id TEXT NOT NULL,
	failure    TEXT,
	PRIMARY KEY (run_id, seq)
);

-- The objects that each run made or adopted upstream.
CREATE TABLE objects (
	run_id     TEXT NOT NULL,
	kind       TEXT NOT NULL,
	id         TEXT NOT NULL,
	step       TEXT NOT NULL,
	cloud      TEXT NOT NULL,
	name       TEXT NOT NULL,
	origin     TEXT NOT NULL,
	removed_at BIGINT,
	PRIMARY KEY (run_id, kind, id)
);
CREATE INDEX objects_id ON objects (kind, id);

CREATE TABLE verbs (
	id          BIGINT PRIMARY KEY, -- the time of the request in microseconds, made unique
	run_id      TEXT NOT NULL,
	name        TEXT NOT NULL,
	step        TEXT NOT NULL,
	who         TEXT NOT NULL,
	why         TEXT NOT NULL,
	at          BIGINT NOT NULL,
	consumed_at BIGINT
);
CREATE INDEX verbs_waiting ON verbs (run_id) WHERE consumed_at IS NULL;

-- One key of one merchant belongs to one chain of runs and never expires: run_id is the newest run of the chain.
CREATE TABLE idempotency_keys (
	merchant_id TEXT NOT NULL,
	key         TEXT NOT NULL,
	run_id      TEXT NOT NULL,
	PRIMARY KEY (merchant_id, key)
);

-- Users' tokens, sealed, until they are used or expired.
CREATE TABLE tokens (
	run_id     TEXT PRIMARY KEY,
	key_id     TEXT NOT NULL,
	sealed     TEXT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX tokens_expire ON tokens (expires_at);

-- Values that all users of this database must share, such as the id of the secret key.
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

-- +goose Down
DROP TABLE settings;
DROP TABLE tokens;
DROP TABLE idempotency_keys;
DROP TABLE verbs;
DROP TABLE objects;
DROP TABLE events;
DROP TABLE steps;
DROP TABLE runs;
DROP TABLE replicas;
