-- +goose Up
-- The stated units of the meters that are billed as the product. They are JSON, by meter, as the divisors in `meters`.
ALTER TABLE usage_rows ADD COLUMN units TEXT NOT NULL DEFAULT '{}';

-- +goose Down
ALTER TABLE usage_rows DROP COLUMN units;
