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
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/workflows"
)

// newEngine is everything of the service but its API.
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
	clock := saga.NewClock(time.Now)
	definitions, err := workflows.All(workflows.Upstreams{
		Identity: func(string) (keystone.Identity, error) { return c.keystone, nil },
		Billing:  c.billing, Tokens: db, Handover: new(workflows.Handover), Runs: db, Now: clock.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	serving, stop := context.WithCancel(ctx)
	e := saga.New(saga.Options{
		Store: db, Queue: db, Workflows: definitions, NewID: newID, Clock: clock,
		OnFault: func(err error) {
			if serving.Err() == nil {
				fmt.Fprintln(os.Stderr, "engine:", err)
			}
		},
	})
	var served sync.WaitGroup
	served.Go(func() { e.Serve(serving, time.Minute) })
	return func(ctx context.Context, token string) error { return c.throughEngine(ctx, e, token) },
		func() { stop(); served.Wait() }, nil
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// throughEngine makes the two calls of an order side by side, as the API does, and has the engine make the nine.
func (c *clients) throughEngine(ctx context.Context, e *saga.Engine, token string) error {
	var user keystone.Token
	var tokenErr, planErr error
	var both sync.WaitGroup
	both.Go(func() { user, tokenErr = c.keystone.ValidateToken(ctx, token) })
	both.Go(func() { _, planErr = c.billing.Plan(ctx, c.Merchant, c.Plan) })
	both.Wait()
	if err := errors.Join(tokenErr, planErr); err != nil {
		return err
	}
	q := workflows.Order{
		MerchantID: c.Merchant, Cloud: "default", DomainID: anyDomain, UserID: user.UserID, PlanID: c.Plan,
		NewCustomer:   &workflows.NewCustomer{Name: "Ann", Currency: "eur", Language: "eng"},
		CustomerRoles: c.roles, SubscriptionRoles: c.roles[:len(subscriptionRoles)], CheckedAt: e.Clock.Now(),
	}.Request(newID())
	q.Key, q.Token, q.TokenExpiresAt = q.ID, token, user.ExpiresAt
	watcher := e.NewWatcher(q.ID)
	defer watcher.Close()
	run, err := e.Start(ctx, q)
	if err != nil {
		return err
	}
	err = watcher.Watch(ctx, run, func(r *saga.Run) bool { run = r; return !r.State.Settled() })
	if err == nil && run.State != saga.Succeeded {
		err = fmt.Errorf("run %s is %s: %+v", run.ID, run.State, run.Cause)
	}
	return err
}
