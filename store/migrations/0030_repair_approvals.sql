-- +goose Up
-- The approvals of the entries of repair plans, and the reasons why entries were refused. A plan is now also listed, without its entries: the
-- column size has their number. In the JSON of the entries, quotes within a text are escaped, so the text that is counted is only the key.
ALTER TABLE repair_plans ADD COLUMN size BIGINT NOT NULL DEFAULT 0;
UPDATE repair_plans SET size = (length(entries) - length(replace(entries, '"finding_id":', ''))) / length('"finding_id":');

CREATE TABLE repair_approvals (
	plan_id     TEXT NOT NULL,
	finding_id  TEXT NOT NULL,
	approved_by TEXT NOT NULL,
	approved_at BIGINT NOT NULL,
	refusal     TEXT, -- JSON
	PRIMARY KEY (plan_id, finding_id)
);
CREATE INDEX repair_approvals_finding ON repair_approvals (finding_id, plan_id);

-- +goose Down
DROP TABLE repair_approvals;
ALTER TABLE repair_plans DROP COLUMN size;
