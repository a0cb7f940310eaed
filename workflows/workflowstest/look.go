package workflowstest

import (
	"context"
	"fmt"
	"slices"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Cloud is a Keystone that lists all its projects, users and role assignments. The Keystone is either an in-memory Keystone of package
// keystonetest, or a real Keystone that the test reads as an admin.
type Cloud interface {
	Projects() []keystone.Project
	Users() []keystone.User
	Assignments() []keystone.Assignment
}

// Look reads all projects, users and role assignments from Keystone, and all customers, subscriptions and usage of the given merchants
// from BillingStack. Look may be called at any time.
func Look(ctx context.Context, cloud Cloud, b *billing.Client, merchantIDs ...string) (Outside, error) {
	o := Outside{Projects: cloud.Projects(), Users: cloud.Users(), Assignments: cloud.Assignments()}
	for _, id := range merchantIDs {
		customers, err := b.Customers(ctx, id)
		if err != nil {
			return Outside{}, err
		}
		subscriptions, err := b.Subscriptions(ctx, id)
		if err != nil {
			return Outside{}, err
		}
		usage, err := b.Usage(ctx, id)
		if err != nil {
			return Outside{}, err
		}
		o.Customers = append(o.Customers, customers...)
		o.Subscriptions = append(o.Subscriptions, subscriptions...)
		o.Usage = append(o.Usage, usage...)
	}
	return o, nil
}

// The constant `page` is the maximum number of runs or events that are read at once.
const page = 200

// LookAtRuns reads all runs and events of a store, the oldest run first. If a run changes during the call, the returned events
// may be newer than the returned run.
func LookAtRuns(ctx context.Context, store saga.Store) ([]*saga.Run, map[string][]saga.Event, error) {
	var runs []*saga.Run
	for before := ""; ; before = runs[len(runs)-1].ID {
		next, err := store.Runs(ctx, saga.Filter{Before: before, Limit: page})
		if err != nil {
			return nil, nil, fmt.Errorf("reading the runs: %w", err)
		}
		runs = append(runs, next...)
		if len(next) < page {
			break
		}
	}
	slices.Reverse(runs)
	events := map[string][]saga.Event{}
	for _, r := range runs {
		for {
			next, err := store.Events(ctx, r.ID, int64(len(events[r.ID])), page)
			if err != nil {
				return nil, nil, fmt.Errorf("reading the events of run %s: %w", r.ID, err)
			}
			events[r.ID] = append(events[r.ID], next...)
			if len(next) < page {
				break
			}
		}
	}
	return runs, events, nil
}
