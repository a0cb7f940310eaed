-- +goose Up
-- How the usage of a subscription in an hour is billed, if an operator has let it be billed with the products and prices of then. Without a row, it
-- is billed as the earlier rows in usage_rows.
CREATE TABLE usage_terms (
	merchant_id     TEXT NOT NULL,
	subscription_id TEXT NOT NULL,
	hour            BIGINT NOT NULL,
	terms           TEXT NOT NULL, -- JSON: a list of the meters with their products and prices; empty: the next bill sets it
	PRIMARY KEY (merchant_id, subscription_id, hour)
);

-- +goose Down
DROP TABLE usage_terms;
