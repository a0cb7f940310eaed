-- +goose Up
-- The hours of a merchant, whose usage an operator can let be billed again.
CREATE INDEX usage_amounts_merchant ON usage_amounts (merchant_id, hour, cloud, project_id);

-- +goose Down
DROP INDEX usage_amounts_merchant;
