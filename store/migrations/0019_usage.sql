-- +goose Up
-- Samples of Ceilometer, and the keys with which Ceilometer sends them. Times are in microseconds. Volumes are exact decimals, as text.

CREATE TABLE meter_keys (
	id          TEXT PRIMARY KEY, -- the public part
	cloud       TEXT NOT NULL,
	secret_hash TEXT NOT NULL,    -- SHA-256 in hex
	created_at  BIGINT NOT NULL,
	revoked_at  BIGINT
);

CREATE TABLE series (
	id          TEXT PRIMARY KEY, -- a hash of the other columns, except unit
	cloud       TEXT NOT NULL,
	source      TEXT NOT NULL,
	project_id  TEXT NOT NULL,
	resource_id TEXT NOT NULL,
	meter       TEXT NOT NULL,
	kind        TEXT NOT NULL,
	unit        TEXT NOT NULL     -- of the first sample
);
CREATE INDEX series_project ON series (cloud, project_id);

-- The day comes before the id in the key, so that new rows go to a small part of the index, however many old rows there are.
CREATE TABLE samples (
	cloud     TEXT NOT NULL,
	day       INTEGER NOT NULL, -- days since 1970 of the column `at`
	id        TEXT NOT NULL,
	series_id TEXT NOT NULL,
	at        BIGINT NOT NULL,
	volume    TEXT NOT NULL,
	PRIMARY KEY (cloud, day, id)
);
CREATE INDEX samples_series ON samples (series_id, at, id);

-- Hours of projects with samples that are not part of the usage yet.
CREATE TABLE usage_due (
	cloud      TEXT NOT NULL,
	project_id TEXT NOT NULL,
	hour       BIGINT NOT NULL, -- the beginning of the hour
	PRIMARY KEY (cloud, project_id, hour)
);
CREATE INDEX usage_due_hour ON usage_due (hour);

-- Samples of projects that no run has made or adopted are counted and dropped.
CREATE TABLE foreign_meters (
	cloud    TEXT NOT NULL,
	meter    TEXT NOT NULL,
	samples  BIGINT NOT NULL,
	first_at BIGINT NOT NULL,
	last_at  BIGINT NOT NULL,
	PRIMARY KEY (cloud, meter)
);

-- Samples that cannot be used, such as samples without a project.
CREATE TABLE apart_samples (
	id          TEXT PRIMARY KEY, -- a hash of cloud, reason and sample
	cloud       TEXT NOT NULL,
	reason      TEXT NOT NULL,
	sample      TEXT NOT NULL,    -- JSON, cut to 4 KiB
	received_at BIGINT NOT NULL
);
CREATE INDEX apart_samples_received ON apart_samples (received_at);

-- +goose Down
DROP TABLE apart_samples;
DROP TABLE foreign_meters;
DROP TABLE usage_due;
DROP TABLE samples;
DROP TABLE series;
DROP TABLE meter_keys;
