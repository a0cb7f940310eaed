-- +goose Up
-- Each object has the request that made it, and role assignments on a run's own tenants are objects too. Their ids begin
-- with the tenant's id and a slash. These ids are long, and such objects are found by the tenant's id, so the index omits these ids.

ALTER TABLE objects ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
DROP INDEX objects_id;
CREATE INDEX objects_id ON objects (id) WHERE id NOT LIKE '%/%';

-- +goose Down
DROP INDEX objects_id;
CREATE INDEX objects_id ON objects (kind, id);
ALTER TABLE objects DROP COLUMN request_id;
