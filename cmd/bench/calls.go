package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
)

var (
	customerRoles     = []string{"member", "bs-admin"}
	subscriptionRoles = []string{"member"}
)

// The constant `connections` is the maximum number of connections of each HTTP client. This maximum equals the largest number of
// subscribes in flight.
const connections = 64

// The type `clients` has the Keystone client and the BillingStack client of a contender. The service creates its own clients.
type clients struct {
	site

	keystone keystone.Identity
	billing  *billing.Client
	roles    []keystone.Role
}

func newClients(ctx context.Context, s site) (*clients, error) {
	identity, err := clouds.Open(conn.Config{
		URL: s.Upstreams + "/v3", MayWriteDomain: func(string) bool { return true },
		Credential: conn.Credential{
			Username: "tenantry", Password: "stub", UserDomainID: anyDomain, ProjectName: "service", ProjectDomainID: anyDomain,
		},
	})
	if err != nil {
		return nil, err
	}
	bill, err := billing.New(billing.Config{URL: s.Upstreams + "/v2", Connections: connections})
	if err != nil {
		return nil, err
	}
	roles, err := identity.Roles(ctx, customerRoles)
	return &clients{s, identity, bill, roles}, err
}

func newCalls(ctx context.Context, s site) (subscriber, func(), error) {
	c, err := newClients(ctx, s)
	return func(ctx context.Context, token string) error {
		user, err := c.admit(ctx, token)
		if err != nil {
			return err
		}
		return c.nine(ctx, user, token, func(int, any) error { return nil })
	}, func() {}, err
}

// The method `admit` checks an order with two calls: it validates the user's token and reads the plan.
func (c *clients) admit(ctx context.Context, token string) (keystone.Token, error) {
	user, err := c.keystone.ValidateToken(ctx, token)
	if err != nil {
		return user, err
	}
	_, err = c.billing.Plan(ctx, c.Merchant, c.Plan)
	return user, err
}

// The method `nine` makes the nine writes of one subscribe, one after another. After each write, the function `done` is called.
func (c *clients) nine(ctx context.Context, user keystone.Token, token string, done func(step int, output any) error) error {
	step := 0
	next := func(output any, err error) error {
		if err != nil {
			return err
		}
		step++
		return done(step, output)
	}
	customer, err := c.billing.EnsureCustomer(ctx, billing.Customer{
		ID: uuid.NewString(), MerchantID: c.Merchant, Name: "Ann", Currency: "eur", Language: "eng",
	})
	if err := next(customer, err); err != nil {
		return err
	}
	tenant, _, err := c.keystone.EnsureProject(ctx, c.project(keystone.CustomerTenant(customer.ID)))
	if err := next(tenant, err); err != nil {
		return err
	}
	for _, role := range c.roles {
		err := c.keystone.EnsureAssignment(ctx, keystone.Assignment{ProjectID: tenant.ID, UserID: user.UserID, RoleID: role.ID})
		if err := next(nil, err); err != nil {
			return err
		}
	}
	_, err = c.keystone.ExchangeToken(ctx, token, tenant.ID)
	if err := next(nil, err); err != nil {
		return err
	}
	subscription, err := c.billing.EnsureSubscription(ctx, c.Merchant, billing.Subscription{
		ID: uuid.NewString(), PlanID: c.Plan, CustomerID: customer.ID, ResourceID: "pending", ResourceType: "tenant",
	})
	if err := next(subscription, err); err != nil {
		return err
	}
	tenant, _, err = c.keystone.EnsureProject(ctx, c.project(keystone.SubscriptionTenant(subscription.ID)))
	if err := next(tenant, err); err != nil {
		return err
	}
	err = c.keystone.EnsureAssignment(ctx, keystone.Assignment{ProjectID: tenant.ID, UserID: user.UserID, RoleID: c.roles[0].ID})
	if err := next(nil, err); err != nil {
		return err
	}
	_, err = c.billing.SetResource(ctx, c.Merchant, subscription.ID, tenant.ID)
	return next(nil, err)
}

func (c *clients) project(name string) keystone.NewProject {
	return keystone.NewProject{
		Name: name, DomainID: anyDomain, Description: "BillingStack tenant of merchant " + c.Merchant,
		Tags: keystone.TenantTags(name, c.Merchant, ""), RunTag: keystone.RunTag(name),
	}
}

// newFloor creates the contender named floor. This contender makes the bare calls, and stores the progress of the subscribe after
// each call. Without the stored progress, no program could resume a subscribe after a crash.
func newFloor(ctx context.Context, s site) (subscriber, func(), error) {
	c, err := newClients(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	db, err := pgxpool.New(ctx, s.Database+"&pool_max_conns=64")
	if err != nil {
		return nil, nil, err
	}
	const table = `CREATE TABLE IF NOT EXISTS floor (
		id TEXT PRIMARY KEY, user_id TEXT, plan_id TEXT, state TEXT, step INTEGER, output TEXT, updated_at BIGINT)`
	if _, err := db.Exec(ctx, table); err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, token string) error {
		user, err := c.admit(ctx, token)
		if err != nil {
			return err
		}
		id := uuid.NewString()
		const insert = `INSERT INTO floor (id, user_id, plan_id, state, step, updated_at) VALUES ($1, $2, $3, 'running', 0, $4)`
		if _, err := db.Exec(ctx, insert, id, user.UserID, c.Plan, time.Now().UnixMicro()); err != nil {
			return err
		}
		return c.nine(ctx, user, token, func(step int, output any) error {
			encoded, err := json.Marshal(output)
			if err != nil {
				return err
			}
			state := "running"
			if step == 9 {
				state = "succeeded"
			}
			const update = `UPDATE floor SET state = $2, step = $3, output = $4, updated_at = $5 WHERE id = $1`
			_, err = db.Exec(ctx, update, id, state, step, string(encoded), time.Now().UnixMicro())
			return err
		})
	}, db.Close, nil
}
