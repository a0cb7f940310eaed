-- +goose Up
-- Follow-ups are runs that are to be started later. While a follow-up waits, it has no run. Many follow-ups wait for days,
-- and few are due, so the first index begins with the follow-ups that are due. The second index contains the follow-ups whose last run
-- was compensated.

CREATE TABLE follow_ups (
	workflow    TEXT NOT NULL,
	id          TEXT NOT NULL,   -- what the follow-up is about
	merchant_id TEXT NOT NULL,
	cloud       TEXT NOT NULL,
	subject     TEXT NOT NULL,
	user_id     TEXT NOT NULL,
	doubles     TEXT NOT NULL,
	input       TEXT NOT NULL,
	due_at      BIGINT NOT NULL,
	reason      TEXT,            -- why the last run was compensated
	run_id      TEXT,            -- the last run that was started
	taken_at    BIGINT,          -- when run_id was chosen; NULL: that run has changed the follow-up, or there was none
	hold        TEXT,            -- who prevents the start, and why
	PRIMARY KEY (id, workflow)
);
CREATE INDEX follow_ups_due ON follow_ups (due_at) WHERE hold IS NULL;
CREATE INDEX follow_ups_failed ON follow_ups (run_id) WHERE reason IS NOT NULL AND taken_at IS NULL;

-- +goose Down
DROP TABLE follow_ups;
