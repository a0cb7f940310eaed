-- +goose Up
-- A subject has few runs. The indexes by subject therefore need no ids to order the runs. With ids, each entry would be half
-- as long again.

DROP INDEX runs_live;
CREATE INDEX runs_live ON runs (subject) WHERE ended_at IS NULL;
DROP INDEX runs_ended;
CREATE INDEX runs_ended ON runs (subject) WHERE ended_at IS NOT NULL;

-- +goose Down
DROP INDEX runs_ended;
CREATE INDEX runs_ended ON runs (subject, id) WHERE ended_at IS NOT NULL;
DROP INDEX runs_live;
CREATE INDEX runs_live ON runs (subject, id) WHERE ended_at IS NULL;
