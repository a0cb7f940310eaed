-- +goose Up
-- Audits, their findings, and the changes of the findings' status. At most one audit runs: the index audits_running refuses a second
-- one. Nearly all findings are resolved after some years, so the lists of the other findings have indexes of their own. A project, a
-- customer, a subscription and a user have few findings, of any status.

CREATE TABLE audits (
	id         TEXT PRIMARY KEY, -- sorts by time
	scope      TEXT NOT NULL,
	asked_by   TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	started_at BIGINT,
	ended_at   BIGINT,
	state      TEXT NOT NULL,
	progress   TEXT NOT NULL,
	gaps       TEXT,
	found      TEXT,
	read       TEXT,
	failure    TEXT NOT NULL,
	replica    TEXT NOT NULL,
	beat_at    BIGINT
);
CREATE UNIQUE INDEX audits_running ON audits (state) WHERE state = 'running';
CREATE INDEX audits_pending ON audits (id) WHERE state = 'pending';

CREATE TABLE findings (
	id              TEXT PRIMARY KEY,
	code            TEXT NOT NULL,
	severity        TEXT NOT NULL,
	cloud           TEXT NOT NULL,
	merchant_id     TEXT NOT NULL,
	customer_id     TEXT NOT NULL,
	subscription_id TEXT NOT NULL,
	project_id      TEXT NOT NULL,
	user_id         TEXT NOT NULL,
	objects         TEXT,
	detail          TEXT NOT NULL,
	affected        TEXT NOT NULL,
	run_id          TEXT NOT NULL,
	repair          TEXT NOT NULL,
	status          TEXT NOT NULL,
	first_seen      BIGINT NOT NULL,
	last_seen       BIGINT NOT NULL,
	first_audit     TEXT NOT NULL,
	last_audit      TEXT NOT NULL,
	resolved_at     BIGINT,
	acceptance      TEXT,
	changes         BIGINT NOT NULL -- how often the status has changed: the seq of the last change
);
CREATE INDEX findings_unresolved ON findings (id) WHERE status <> 'resolved';
CREATE INDEX findings_unresolved_merchant ON findings (merchant_id, id) WHERE status <> 'resolved';
CREATE INDEX findings_merchant ON findings (merchant_id, id);
CREATE INDEX findings_audit ON findings (last_audit, id);
CREATE INDEX findings_customer ON findings (customer_id, id);
CREATE INDEX findings_subscription ON findings (subscription_id, id);
CREATE INDEX findings_project ON findings (project_id, id);
CREATE INDEX findings_user ON findings (user_id, id);

-- The last changes of each finding, 1, 2, 3, ...
CREATE TABLE finding_changes (
	finding_id TEXT NOT NULL,
	seq        BIGINT NOT NULL,
	at         BIGINT NOT NULL,
	status     TEXT NOT NULL,
	audit_id   TEXT NOT NULL,
	who        TEXT NOT NULL,
	why        TEXT NOT NULL,
	until      BIGINT,
	PRIMARY KEY (finding_id, seq)
);

-- +goose Down
DROP TABLE finding_changes;
DROP TABLE findings;
DROP TABLE audits;
