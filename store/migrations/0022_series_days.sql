-- +goose Up
-- The day of the last sample of a series. With this day, the usage of an hour is computed without reading the series that ended before.
ALTER TABLE series ADD COLUMN last_day INTEGER NOT NULL DEFAULT 0; -- days since 1970
UPDATE series SET last_day = COALESCE((SELECT MAX(at) FROM samples WHERE series_id = series.id), 0) / 86400000000;
DROP INDEX series_project;
CREATE INDEX series_project ON series (cloud, project_id, last_day);

-- +goose Down
DROP INDEX series_project;
CREATE INDEX series_project ON series (cloud, project_id);
ALTER TABLE series DROP COLUMN last_day;
