-- +goose Up
-- The usage of hours, and the hours that are being computed. Times are in microseconds.

-- The oldest due hours are read first, and in a fixed order.
DROP INDEX usage_due_hour;
CREATE INDEX usage_due_order ON usage_due (hour, cloud, project_id);

-- Due hours of projects whose own samples are part of the usage, but whose usage depends on new samples of an earlier hour. This is not a
-- column of usage_due, because a transaction that stores samples would then have to lock the rows of usage_due that exist already.
CREATE TABLE usage_again (
	cloud      TEXT NOT NULL,
	project_id TEXT NOT NULL,
	hour       BIGINT NOT NULL, -- the beginning of the hour
	PRIMARY KEY (cloud, project_id, hour)
);
CREATE INDEX usage_again_order ON usage_again (hour, cloud, project_id);

-- Hours whose usage is being computed. If the computation takes too long, the hour is taken again.
CREATE TABLE usage_taken (
	cloud      TEXT NOT NULL,
	project_id TEXT NOT NULL,
	hour       BIGINT NOT NULL,
	spreads    BOOLEAN NOT NULL, -- whether the hour has new samples
	taken_at   BIGINT NOT NULL,
	take       TEXT NOT NULL,    -- names the call that took the hour
	PRIMARY KEY (cloud, project_id, hour)
);

CREATE TABLE usage_amounts (
	cloud      TEXT NOT NULL,
	project_id TEXT NOT NULL,
	hour       BIGINT NOT NULL,
	from_at    BIGINT NOT NULL, -- the row belongs to the part of the hour from from_at to to_at
	to_at      BIGINT NOT NULL,
	meter      TEXT NOT NULL,
	kind       TEXT NOT NULL,
	unit       TEXT NOT NULL,
	amount     TEXT NOT NULL,   -- an exact decimal
	plan_id    TEXT NOT NULL,   -- empty if the project belonged to no subscription
	state      TEXT NOT NULL,   -- of the subscription
	PRIMARY KEY (cloud, project_id, hour, from_at, meter, kind, unit)
);

-- +goose Down
-- The earlier schema has no usage. The hours of all its tables become due, so that a later Up can compute their usage again while their
-- samples exist.
INSERT INTO usage_due (cloud, project_id, hour) SELECT DISTINCT cloud, project_id, hour FROM usage_amounts WHERE TRUE ON CONFLICT DO NOTHING;
INSERT INTO usage_due (cloud, project_id, hour) SELECT cloud, project_id, hour FROM usage_taken WHERE TRUE ON CONFLICT DO NOTHING;
INSERT INTO usage_due (cloud, project_id, hour) SELECT cloud, project_id, hour FROM usage_again WHERE TRUE ON CONFLICT DO NOTHING;
DROP TABLE usage_amounts;
DROP TABLE usage_taken;
DROP TABLE usage_again;
DROP INDEX usage_due_order;
CREATE INDEX usage_due_hour ON usage_due (hour);
