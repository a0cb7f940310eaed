package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
)

// newEngine creates the contender named engine: the service without its API.
func newEngine(ctx context.Context, s site) (subscriber, func(), error) {
	c, err := newClients(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, s.Database, make([]byte, store.KeySize))
	if err != nil {
		return nil, nil, err
	}
	if _, err := db.Migrate(ctx); err != nil {
		return nil, nil, err
	}
	e, stop, err := c.serveEngine(ctx, db, db)
	return func(ctx context.Context, token string) error { return c.throughEngine(ctx, e, token) }, stop, err
}

// serveEngine starts an engine. serveEngine returns the engine, and a function that stops the engine. The parameter `runs` is the
// store for the engine's runs: db, or a wrapper of db.
func (c *clients) serveEngine(ctx context.Context, db *store.Store, runs saga.Store) (*engine.Engine, func(), error) {
	clock := engine.NewClock(time.Now)
	definitions, err := workflows.All(workflows.Deps{
		Identity: func(string) (keystone.Identity, error) { return c.keystone, nil },
		Billing:  c.billing, Handover: new(workflows.Handover), Now: clock.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	serving, stop := context.WithCancel(ctx)
	e := engine.New(engine.Options{
		Store: runs, Queue: db, Tokens: db, Workflows: definitions, NewID: newID, Clock: clock,
		OnFault: func(err error) {
			if serving.Err() == nil {
				fmt.Fprintln(os.Stderr, "engine:", err)
			}
		},
	})
	var served sync.WaitGroup
	served.Go(func() { e.Serve(serving, time.Minute) })
	return e, func() { stop(); served.Wait() }, nil
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (c *clients) throughEngine(ctx context.Context, e *engine.Engine, token string) error {
	run, err := c.order(ctx, e, token)
	if err == nil && run.State != saga.Succeeded {
		err = fmt.Errorf("run %s is %s: %+v", run.ID, run.State, run.Cause)
	}
	return err
}

// The method `order` checks an order with two concurrent calls, as the API does. `order` then starts a run, waits until the run is
// at rest, and returns the run.
func (c *clients) order(ctx context.Context, e *engine.Engine, token string) (*saga.Run, error) {
	var user keystone.Token
	var tokenErr, planErr error
	var both sync.WaitGroup
	both.Go(func() { user, tokenErr = c.keystone.ValidateToken(ctx, token) })
	both.Go(func() { _, planErr = c.billing.Plan(ctx, c.Merchant, c.Plan) })
	both.Wait()
	if err := errors.Join(tokenErr, planErr); err != nil {
		return nil, err
	}
	q := workflows.Order{
		Asked: workflows.Asked{
			MerchantID: c.Merchant, PlanID: c.Plan, NewCustomer: &workflows.NewCustomer{Name: "Ann", Currency: "eur", Language: "eng"},
		},
		Resolved: workflows.Resolved{
			Cloud: "default", DomainID: anyDomain, UserID: user.UserID,
			CustomerRoles: c.roles, SubscriptionRoles: c.roles[:len(subscriptionRoles)], CheckedAt: e.Clock.Now(),
		},
	}.Request(newID(), "")
	q.Key, q.Token, q.TokenExpiresAt = q.ID, token, user.ExpiresAt
	watcher := e.Watch(q.ID)
	defer watcher.Close()
	run, err := e.Start(ctx, q)
	if err != nil {
		return nil, err
	}
	return run, watcher.See(ctx, run, func(r *saga.Run) bool { run = r; return !r.AtRest() })
}
