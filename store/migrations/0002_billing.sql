-- +goose Up
-- The embedded BillingStack. Objects refer only to objects of the same merchant: foreign keys include merchant_id. An unset text is
-- empty. added_at, in microseconds, is the order of lists.

CREATE TABLE billing_merchants (
	id            TEXT PRIMARY KEY,
	name          TEXT NOT NULL,
	currency_name TEXT NOT NULL,
	language_name TEXT NOT NULL,
	added_at      BIGINT NOT NULL
);

CREATE TABLE billing_products (
	id          TEXT PRIMARY KEY,
	merchant_id TEXT NOT NULL REFERENCES billing_merchants (id),
	name        TEXT NOT NULL,
	title       TEXT NOT NULL,
	description TEXT NOT NULL,
	properties  TEXT NOT NULL,
	pricing     TEXT NOT NULL,
	added_at    BIGINT NOT NULL,
	UNIQUE (merchant_id, id)
);

CREATE TABLE billing_plans (
	id          TEXT PRIMARY KEY,
	merchant_id TEXT NOT NULL REFERENCES billing_merchants (id),
	name        TEXT NOT NULL,
	title       TEXT NOT NULL,
	description TEXT NOT NULL,
	properties  TEXT NOT NULL,
	added_at    BIGINT NOT NULL,
	UNIQUE (merchant_id, id)
);

CREATE TABLE billing_plan_items (
	plan_id     TEXT NOT NULL,
	product_id  TEXT NOT NULL,
	merchant_id TEXT NOT NULL,
	title       TEXT NOT NULL,
	description TEXT NOT NULL,
	pricing     TEXT NOT NULL,
	added_at    BIGINT NOT NULL,
	PRIMARY KEY (plan_id, product_id),
	FOREIGN KEY (merchant_id, plan_id) REFERENCES billing_plans (merchant_id, id),
	FOREIGN KEY (merchant_id, product_id) REFERENCES billing_products (merchant_id, id)
);
CREATE INDEX billing_plan_items_product ON billing_plan_items (merchant_id, product_id);

CREATE TABLE billing_customers (
	id            TEXT PRIMARY KEY,
	merchant_id   TEXT NOT NULL REFERENCES billing_merchants (id),
	name          TEXT NOT NULL,
	currency_name TEXT NOT NULL,
	language_name TEXT NOT NULL,
	added_at      BIGINT NOT NULL,
	UNIQUE (merchant_id, id)
);

CREATE TABLE billing_subscriptions (
	id                TEXT PRIMARY KEY,
	merchant_id       TEXT NOT NULL,
	plan_id           TEXT NOT NULL,
	customer_id       TEXT NOT NULL,
	resource_id       TEXT NOT NULL,
	resource_type     TEXT NOT NULL,
	billing_day       INTEGER,
	payment_method_id TEXT,
	added_at          BIGINT NOT NULL,
	FOREIGN KEY (merchant_id, plan_id) REFERENCES billing_plans (merchant_id, id),
	FOREIGN KEY (merchant_id, customer_id) REFERENCES billing_customers (merchant_id, id)
);
CREATE INDEX billing_subscriptions_customer ON billing_subscriptions (merchant_id, customer_id);
CREATE INDEX billing_subscriptions_plan ON billing_subscriptions (merchant_id, plan_id);

-- Usage outlives the objects that it refers to, so the merchant is its only foreign key.
CREATE TABLE billing_usage (
	id              TEXT PRIMARY KEY,
	merchant_id     TEXT NOT NULL REFERENCES billing_merchants (id),
	subscription_id TEXT NOT NULL,
	product_id      TEXT NOT NULL,
	measure         TEXT NOT NULL,
	value           DOUBLE PRECISION,
	price           DOUBLE PRECISION,
	total           DOUBLE PRECISION,
	start_timestamp TEXT NOT NULL,
	end_timestamp   TEXT NOT NULL,
	added_at        BIGINT NOT NULL
);
CREATE INDEX billing_usage_merchant ON billing_usage (merchant_id, subscription_id);

-- +goose Down
DROP TABLE billing_usage;
DROP TABLE billing_subscriptions;
DROP TABLE billing_customers;
DROP TABLE billing_plan_items;
DROP TABLE billing_plans;
DROP TABLE billing_products;
DROP TABLE billing_merchants;
