package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/billing"
)

// The type `world` has everything that an audit reads: a Keystone, the embedded BillingStack of `tenantry serve`, and the runs in the
// database. All subscriptions are copies of one subscription that `tenantry serve` has made.
type world struct {
	site
	*cloud

	binary  string
	roles   []string // the roles that the user has on both tenants
	billing string   // host:port of the embedded BillingStack
	like    ids
	copies  []ids
	conn    *pgx.Conn // to the database of `tenantry serve`
}

// newWorld makes a world with the given number of subscriptions.
func newWorld(ctx context.Context, server *database, c *cloud, binary string, roles []string, n int) (*world, error) {
	w := &world{cloud: c, binary: binary, roles: roles}
	w.Merchant, w.Plan = uuid.NewString(), uuid.NewString()
	var err error
	if w.Database, err = server.create(ctx); err != nil {
		return nil, err
	}
	if w.billing, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	for _, role := range roles {
		if role != "member" { // every Keystone has the role member
			if err := c.newRole(ctx, role); err != nil {
				return nil, err
			}
		}
	}
	if err := w.enrollWith(ctx, binary, w.environment("")); err != nil {
		return nil, err
	}
	if err := w.subscribe(ctx); err != nil {
		return nil, fmt.Errorf("making the subscription that is copied: %w", err)
	}
	w.copies = make([]ids, n-1)
	for i := range w.copies {
		w.copies[i] = newIDs(w.Merchant)
	}
	if err := c.fill(ctx, w.like, w.copies); err != nil {
		return nil, err
	}
	if w.conn, err = pgx.Connect(ctx, w.Database); err != nil {
		return nil, err
	}
	if err := w.fillDatabase(ctx); err != nil {
		return nil, fmt.Errorf("filling the database: %w", err)
	}
	return w, nil
}

// The method `environment` returns the environment of the tenantry binary. The prefix is put before the path of Keystone's address.
func (w *world) environment(prefix string) []string {
	return append(settings(w.Database), "TENANTRY_BILLING_LISTEN="+w.billing, "TENANTRY_DOMAIN="+anyDomain,
		"TENANTRY_CUSTOMER_ROLES="+strings.Join(w.roles, ","), "TENANTRY_SUBSCRIPTION_ROLES="+strings.Join(w.roles, ","),
		"OS_AUTH_URL="+strings.TrimSuffix(w.url, "/v3")+prefix+"/v3", "OS_USERNAME=admin", "OS_PASSWORD="+w.password, "OS_PROJECT_NAME=admin",
		"OS_USER_DOMAIN_ID="+anyDomain, "OS_PROJECT_DOMAIN_ID="+anyDomain)
}

// The method `subscribe` makes the subscription that is copied.
func (w *world) subscribe(ctx context.Context) (err error) {
	v, err := serve(ctx, w.binary, w.environment(""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	stack, err := billing.New(billing.Config{URL: "http://" + w.billing + "/v2"})
	if err != nil {
		return err
	}
	_, err = stack.CreateMerchant(ctx, billing.Merchant{ID: w.Merchant, Name: "ACME Cloud", Currency: "eur", Language: "eng"})
	if err == nil {
		_, err = stack.CreatePlan(ctx, w.Merchant, billing.Plan{ID: w.Plan, Name: "small"})
	}
	if err != nil {
		return err
	}
	user, token, err := w.newUser(ctx, "first")
	if err != nil {
		return err
	}
	s := w.site
	s.API = v.url
	portal, end, err := newPortal(ctx, s)
	if err != nil {
		return err
	}
	defer end()
	if err := portal(ctx, token); err != nil {
		return err
	}
	var page struct {
		Runs []struct {
			ID     string
			Result map[string]string
		}
	}
	if _, err := call(ctx, http.MethodGet, v.url+"/v1/runs", w.token, "", &page); err != nil {
		return err
	}
	if len(page.Runs) != 1 {
		return fmt.Errorf("there are %d runs, wanted 1", len(page.Runs))
	}
	made := page.Runs[0].Result
	w.like = ids{
		page.Runs[0].ID, w.Merchant, user, made["customer_id"], made["subscription_id"], made["customer_tenant_id"], made["subscription_tenant_id"],
	}
	return nil
}

// billingCopies has the statements that copy the customer $1 and the subscription $2 in the database of the embedded BillingStack.
var billingCopies = []string{
	`INSERT INTO billing_customers (id, merchant_id, name, currency_name, language_name, added_at)
		SELECT n.customer, o.merchant_id, o.name, o.currency_name, o.language_name, o.added_at + n.i
		FROM fresh n, billing_customers o WHERE o.id = $1 AND n.subscription <> $2`,
	`INSERT INTO billing_subscriptions (id, merchant_id, plan_id, customer_id, resource_id, resource_type, billing_day, payment_method_id, added_at)
		SELECT n.subscription, o.merchant_id, o.plan_id, n.customer, n.subscription_tenant, o.resource_type, o.billing_day, o.payment_method_id,
			o.added_at + n.i
		FROM fresh n, billing_subscriptions o WHERE o.id = $2 AND n.customer <> $1`,
}

// fillDatabase copies the database rows of the first run, and the first customer and subscription of the embedded BillingStack.
func (w *world) fillDatabase(ctx context.Context) error {
	for _, t := range growing {
		if err := t.setAside(ctx, w.conn, []*original{{ids: w.like}}); err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	const fresh = `CREATE UNLOGGED TABLE fresh (i BIGINT, original INTEGER, shift BIGINT, key TEXT, run TEXT, merchant TEXT, "user" TEXT, customer TEXT,
		subscription TEXT, customer_tenant TEXT, subscription_tenant TEXT)`
	if _, err := w.conn.Exec(ctx, fresh); err != nil {
		return err
	}
	all := append([]ids{w.like}, w.copies...)
	_, err := w.conn.CopyFrom(ctx, pgx.Identifier{"fresh"}, append([]string{"i", "original", "shift", "key"}, marks...),
		pgx.CopyFromSlice(len(all), func(i int) ([]any, error) {
			row := []any{i, 0, 0, uuid.NewString()}
			for _, value := range all[i].values() {
				row = append(row, value)
			}
			return row, nil
		}))
	if err != nil {
		return err
	}
	for _, t := range growing {
		if err := t.fill(ctx, w.Database); err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	for _, statement := range billingCopies {
		if _, err := w.conn.Exec(ctx, statement, w.like.Customer, w.like.Subscription); err != nil {
			return err
		}
	}
	_, err = w.conn.Exec(ctx, "DROP TABLE fresh; DROP TABLE original_events, original_steps, original_objects, original_runs, original_idempotency_keys; "+
		"ANALYZE; CHECKPOINT")
	return err
}
