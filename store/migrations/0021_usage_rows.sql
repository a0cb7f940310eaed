-- +goose Up
-- Rows of usage, which are posted to BillingStack. Times are in microseconds, and numbers are exact decimals, as text.

ALTER TABLE usage_amounts ADD COLUMN merchant_id TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_amounts ADD COLUMN subscription_id TEXT NOT NULL DEFAULT ''; -- empty if the project belonged to no subscription
-- Usage that was computed before is shown with its subscription, but not billed. If several runs have recorded a project, the newest one that has
-- recorded the tenant of a subscription counts. The condition on `/` is the condition of the index objects_id.
UPDATE usage_amounts SET
	subscription_id = COALESCE((
		SELECT SUBSTR(o.name, LENGTH('bs-subscription-') + 1) FROM objects o
		WHERE o.id = usage_amounts.project_id AND o.id NOT LIKE '%/%' AND o.kind = 'project' AND o.cloud = usage_amounts.cloud
			AND o.name LIKE 'bs-subscription-%'
		ORDER BY o.run_id DESC LIMIT 1), ''),
	merchant_id = COALESCE((
		SELECT r.merchant_id FROM objects o JOIN runs r ON r.id = o.run_id
		WHERE o.id = usage_amounts.project_id AND o.id NOT LIKE '%/%' AND o.kind = 'project' AND o.cloud = usage_amounts.cloud
		ORDER BY CASE WHEN o.name LIKE 'bs-subscription-%' THEN 0 ELSE 1 END, o.run_id DESC LIMIT 1), '');
CREATE INDEX usage_amounts_subscription ON usage_amounts (subscription_id, hour);

-- An hour is not taken again before this time.
ALTER TABLE usage_again ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;

-- Hours of projects whose usage waits to be billed.
CREATE TABLE usage_unbilled (
	cloud           TEXT NOT NULL,
	project_id      TEXT NOT NULL,
	hour            BIGINT NOT NULL,
	merchant_id     TEXT NOT NULL,
	subscription_id TEXT NOT NULL, -- empty if the project belonged to no subscription
	due_at          BIGINT NOT NULL,
	PRIMARY KEY (cloud, project_id, hour)
);
CREATE INDEX usage_unbilled_merchant ON usage_unbilled (merchant_id, hour, cloud, project_id);

CREATE TABLE usage_rows (
	id              TEXT PRIMARY KEY, -- follows from subscription, product, window and revision
	merchant_id     TEXT NOT NULL,
	subscription_id TEXT NOT NULL,
	product_id      TEXT NOT NULL,
	product         TEXT NOT NULL, -- the name of the product
	plan_id         TEXT NOT NULL,
	hour            BIGINT NOT NULL,
	from_at         BIGINT NOT NULL,
	to_at           BIGINT NOT NULL,
	revision        INTEGER NOT NULL,
	value           TEXT NOT NULL,
	price           TEXT,          -- NULL if the product has no fixed price
	meters          TEXT NOT NULL DEFAULT '{}', -- JSON: the divisors of the meters that are billed as the product, by meter
	made_at         BIGINT NOT NULL,
	run_id          TEXT,          -- the run that has posted the row
	posted_at       BIGINT,
	differs         TEXT           -- how BillingStack's usage with this id differs from the row
);
CREATE INDEX usage_rows_subscription ON usage_rows (subscription_id, hour);
CREATE INDEX usage_rows_unposted ON usage_rows (merchant_id, made_at) WHERE posted_at IS NULL;

-- Usage that is not billed, or not as it should be. A row stands for all hours from first_hour to last_hour in which there was such usage.
CREATE TABLE usage_unmatched (
	merchant_id     TEXT NOT NULL,
	cloud           TEXT NOT NULL,
	project_id      TEXT NOT NULL,
	subscription_id TEXT NOT NULL,
	meter           TEXT NOT NULL,
	kind            TEXT NOT NULL,
	unit            TEXT NOT NULL,
	state           TEXT NOT NULL, -- of the subscription
	reason          TEXT NOT NULL,
	first_hour      BIGINT NOT NULL,
	last_hour       BIGINT NOT NULL,
	PRIMARY KEY (merchant_id, cloud, project_id, subscription_id, meter, kind, unit, state, reason)
);
CREATE INDEX usage_unmatched_last ON usage_unmatched (last_hour);

-- +goose Down
DROP TABLE usage_unmatched;
DROP TABLE usage_rows;
DROP TABLE usage_unbilled;
ALTER TABLE usage_again DROP COLUMN due_at;
DROP INDEX usage_amounts_subscription;
ALTER TABLE usage_amounts DROP COLUMN subscription_id;
ALTER TABLE usage_amounts DROP COLUMN merchant_id;
