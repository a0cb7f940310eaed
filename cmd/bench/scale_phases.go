package main

import (
	"context"
	"crypto/md5" //nolint:gosec // not used for security
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// phase is a preparation and operations that are measured after it.
type phase struct {
	prepare    func(context.Context, *filled) error
	operations []operation
}

// operation is measured by its duration. n is the number of the call.
type operation struct {
	name    string
	measure func(ctx context.Context, f *filled, n int) (time.Duration, error)
}

// The readings are first, because rows that are written later would be on the first pages.
var phases = []phase{
	{prepare: func(context.Context, *filled) error { return nil }, operations: readings},
	{prepare: join, operations: writings},
	{prepare: lineUp, operations: claims},
}

// page is the number of runs that the API reads for a page of the default length.
const page = 51

var readings = []operation{
	timed("get: one of the youngest", func(ctx context.Context, f *filled, n int) error {
		return found(f.Run(ctx, nth(f.targets.young, n).run))
	}),
	timed("get: any, for the first time", func(ctx context.Context, f *filled, n int) error {
		return found(f.Run(ctx, nth(f.targets.any, n).run))
	}),
	timed("get: any, once more", func(ctx context.Context, f *filled, n int) error {
		return found(f.Run(ctx, nth(f.targets.any, n).run))
	}),
	timed("get by idempotency key: any, once more", func(ctx context.Context, f *filled, n int) error {
		t := nth(f.targets.any, n)
		return found(f.RunOfKey(ctx, t.merchant, t.key))
	}),
	timed("events of a run: any, from the first", func(ctx context.Context, f *filled, n int) error {
		events, err := f.Events(ctx, nth(f.targets.any, n).run, 0, 100)
		return enough(len(events), 12, err)
	}),
	timed("events of a run: one of the youngest, after the sixth", func(ctx context.Context, f *filled, n int) error {
		events, err := f.Events(ctx, nth(f.targets.young, n).run, 6, 100)
		return enough(len(events), 6, err)
	}),
	listing("no filter", page, func(*filled, int) saga.Filter { return saga.Filter{} }),
	listing("of a merchant", page, func(_ *filled, n int) saga.Filter { return saga.Filter{Merchant: busy(n)} }),
	listing("of a merchant who has had none for long", page, func(*filled, int) saga.Filter {
		return saga.Filter{Merchant: merchantOf(finishedMerchants - 1)}
	}),
	listing("succeeded", page, func(*filled, int) saga.Filter { return saga.Filter{State: saga.Succeeded} }),
	listing("compensated", 45, func(*filled, int) saga.Filter { return saga.Filter{State: saga.Compensated} }),
	listing("stuck (none is)", 0, func(*filled, int) saga.Filter { return saga.Filter{State: saga.Stuck} }),
	listing("succeeded, of a merchant", page, func(_ *filled, n int) saga.Filter {
		return saga.Filter{Merchant: busy(n), State: saga.Succeeded}
	}),
	listing("compensated, of a merchant", 4, func(_ *filled, n int) saga.Filter {
		return saga.Filter{Merchant: busy(n), State: saga.Compensated}
	}),
	listing("compensated, of a merchant without", 0, func(*filled, int) saga.Filter {
		return saga.Filter{Merchant: merchantOf(0), State: saga.Compensated}
	}),
	listing("of a workflow that had none", 0, func(*filled, int) saga.Filter { return saga.Filter{Workflow: "unsubscribe"} }),
	listing("of a user", 2, func(f *filled, n int) saga.Filter { return saga.Filter{User: nth(f.targets.any, n).user} }),
	listing("of a customer", 1, func(f *filled, n int) saga.Filter {
		return saga.Filter{Objects: []saga.ObjectRef{{Kind: "customer", ID: nth(f.targets.any, n).customer}}}
	}),
	listing("since half an hour", 20, func(f *filled, _ int) saga.Filter {
		return saga.Filter{Since: time.UnixMicro(f.targets.since)}
	}),
	listing("since now", 0, func(*filled, int) saga.Filter { return saga.Filter{Since: time.Now()} }),
}

// timed returns an operation without a preparation.
func timed(name string, read func(context.Context, *filled, int) error) operation {
	return operation{name, func(ctx context.Context, f *filled, n int) (time.Duration, error) {
		began := time.Now()
		err := read(ctx, f, n)
		return time.Since(began), err
	}}
}

// listing returns an operation that reads a page of runs. The page has the same length however many finished runs the database has.
func listing(name string, length int, filter func(*filled, int) saga.Filter) operation {
	return timed(fmt.Sprintf("list: %s (%d)", name, length), func(ctx context.Context, f *filled, n int) error {
		wanted := filter(f, n)
		wanted.Limit = max(length, 1)
		runs, err := f.Runs(ctx, wanted)
		if err == nil && len(runs) != length {
			err = fmt.Errorf("%d runs, wanted %d", len(runs), length)
		}
		return err
	})
}

func found(_ *saga.Run, err error) error { return err }

func enough(is, least int, err error) error {
	if err == nil && is < least {
		err = fmt.Errorf("%d, want at least %d", is, least)
	}
	return err
}

func nth(of []target, n int) target { return of[n%len(of)] }

// executor is the replica that has the leases of all runs that are written. claimer is the replica that claims runs.
const (
	executor = "executor"
	claimer  = "claimer"
)

// lease is longer than the measurement.
const lease = 24 * time.Hour

func join(ctx context.Context, f *filled) error {
	_, err := f.Join(ctx, executor, time.Now().Add(lease))
	return err
}

var writings = []operation{
	{"create", func(ctx context.Context, f *filled, n int) (time.Duration, error) {
		create, _, err := f.liveOnce(ctx, n)
		return create, err
	}},
	{"checkpoints of a run, all", func(ctx context.Context, f *filled, n int) (time.Duration, error) {
		_, commit, err := f.liveOnce(ctx, n)
		return commit, err
	}},
	timed("claim: nothing is due", func(ctx context.Context, f *filled, _ int) error {
		ids, err := f.Claim(ctx, saga.Claim{Replica: executor, Now: time.Now(), Limit: 1})
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("claimed %v", ids)
		}
		return err
	}),
}

// liveOnce creates and executes one more run.
func (f *filled) liveOnce(ctx context.Context, n int) (create, commit time.Duration, err error) {
	own := newIDs(merchantOf(n))
	run, err := f.original.another(own, executor)
	if err != nil {
		return 0, 0, err
	}
	rest, err := f.original.rest(own, executor)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := f.Create(ctx, run); err != nil {
		return 0, 0, err
	}
	create = time.Since(began)
	for i := range rest {
		if result := f.Commit(ctx, time.Now(), rest[i:i+1])[0]; result.Err != nil {
			return 0, 0, result.Err
		}
	}
	return create, time.Since(began) - create, nil
}

// lineLength is the number of runs that are due.
const lineLength = 2 * finishedMerchants

func lineUp(ctx context.Context, f *filled) error {
	if _, err := f.Join(ctx, claimer, time.Now().Add(lease)); err != nil {
		return err
	}
	for i := range lineLength {
		run, err := f.original.another(newIDs(merchantOf(i)), "")
		if err == nil {
			err = f.Create(ctx, run)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var claims = []operation{
	{fmt.Sprintf("claim: one of %d", lineLength), func(ctx context.Context, f *filled, _ int) (time.Duration, error) {
		began := time.Now()
		claimed, err := f.Claim(ctx, saga.Claim{Replica: claimer, Now: began, Limit: 1})
		took := time.Since(began)
		if err := enough(len(claimed), 1, err); err != nil {
			return 0, err
		}
		return took, f.HandBack(ctx, claimer, began, began.Add(lease), nil)
	}},
	timed("count what is due", func(ctx context.Context, f *filled, _ int) error {
		n, err := f.Due(ctx, time.Now(), nil)
		return enough(n, lineLength, err)
	}),
	timed("count what lives of a merchant", func(ctx context.Context, f *filled, n int) error {
		live, err := f.LiveRuns(ctx, merchantOf(n))
		return enough(live, lineLength/finishedMerchants, err)
	}),
	timed("prolong a lease", func(ctx context.Context, f *filled, _ int) error {
		_, err := f.Renew(ctx, claimer, time.Now(), time.Now().Add(lease))
		return err
	}),
}

// busy returns a merchant with recent runs, compensated ones among them.
func busy(n int) string { return merchantOf(1 + n%(finishedMerchants-2)) }

// merchantOf returns the id of the nth merchant of the finished runs.
func merchantOf(n int) string {
	return uuid.UUID(md5.Sum(fmt.Append(nil, "merchant", n%finishedMerchants))).String() //nolint:gosec // it is no secret
}
