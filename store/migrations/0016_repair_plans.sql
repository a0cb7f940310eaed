-- +goose Up
-- Plans of repairs, which are written once and never change. A plan is read by its id, with all entries.

CREATE TABLE repair_plans (
	id           TEXT PRIMARY KEY, -- sorts by time
	installation TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	created_by   TEXT NOT NULL,
	entries      TEXT NOT NULL, -- a JSON array
	left_out     BIGINT NOT NULL,
	suspect      BIGINT NOT NULL
);

-- +goose Down
DROP TABLE repair_plans;
