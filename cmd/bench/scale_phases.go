package main

import (
	"context"
	"crypto/md5" //nolint:gosec // not used for security
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// The type `phase` has operations to measure, and a function that prepares the database for them.
type phase struct {
	prepare    func(context.Context, *filled) error
	operations []operation
}

// The type `operation` is a kind of call whose duration is measured.
type operation struct {
	name    string
	measure func(ctx context.Context, f *filled, n int) (time.Duration, error) // returns the duration of the nth call
}

// The readings come first: the later phases add runs, and these runs would otherwise fill the first pages of lists.
var phases = []phase{
	{prepare: func(context.Context, *filled) error { return nil }, operations: readings},
	{prepare: join, operations: writings},
	{prepare: lineUp, operations: claims},
}

// The constant `page` is the number of runs that the API reads for a list of the default length: 50 runs, and one run that shows
// whether there is a next page.
const page = 51

var readings = []operation{
	timed("get: one of the youngest runs", func(ctx context.Context, f *filled, n int) error {
		return found(f.Run(ctx, nth(f.targets.young, n).run))
	}),
	timed("get: a random run, read for the first time", func(ctx context.Context, f *filled, n int) error {
		return found(f.Run(ctx, nth(f.targets.any, n).run))
	}),
	timed("get: a random run, read again", func(ctx context.Context, f *filled, n int) error {
		return found(f.Run(ctx, nth(f.targets.any, n).run))
	}),
	timed("get by idempotency key: a random run, read again", func(ctx context.Context, f *filled, n int) error {
		t := nth(f.targets.any, n)
		return found(f.RunOfKey(ctx, t.merchant, t.key))
	}),
	timed("events of a random run, from the first event", func(ctx context.Context, f *filled, n int) error {
		events, err := f.Events(ctx, nth(f.targets.any, n).run, 0, 100)
		return enough(len(events), 12, err)
	}),
	timed("events of one of the youngest runs, after the sixth event", func(ctx context.Context, f *filled, n int) error {
		events, err := f.Events(ctx, nth(f.targets.young, n).run, 6, 100)
		return enough(len(events), 6, err)
	}),
	listing("no filter", page, func(*filled, int) saga.Filter { return saga.Filter{} }),
	listing("of a merchant", page, func(_ *filled, n int) saga.Filter { return saga.Filter{Merchant: busy(n)} }),
	listing("of a merchant without recent runs", page, func(*filled, int) saga.Filter {
		return saga.Filter{Merchant: merchantOf(finishedMerchants - 1)}
	}),
	listing("succeeded", page, func(*filled, int) saga.Filter { return saga.Filter{States: []saga.RunState{saga.Succeeded}} }),
	listing("compensated", 45, func(*filled, int) saga.Filter { return saga.Filter{States: []saga.RunState{saga.Compensated}} }),
	listing("stuck, where no run is stuck", 0, func(*filled, int) saga.Filter { return saga.Filter{States: []saga.RunState{saga.Stuck}} }),
	listing("succeeded, of a merchant", page, func(_ *filled, n int) saga.Filter {
		return saga.Filter{Merchant: busy(n), States: []saga.RunState{saga.Succeeded}}
	}),
	listing("compensated, of a merchant", 4, func(_ *filled, n int) saga.Filter {
		return saga.Filter{Merchant: busy(n), States: []saga.RunState{saga.Compensated}}
	}),
	listing("compensated, of a merchant without compensated runs", 0, func(*filled, int) saga.Filter {
		return saga.Filter{Merchant: merchantOf(0), States: []saga.RunState{saga.Compensated}}
	}),
	listing("of a workflow without runs", 0, func(*filled, int) saga.Filter { return saga.Filter{Workflow: "unsubscribe"} }),
	listing("of a user", 2, func(f *filled, n int) saga.Filter { return saga.Filter{User: nth(f.targets.any, n).user} }),
	listing("of a customer", 1, func(f *filled, n int) saga.Filter {
		return saga.Filter{Objects: []saga.ObjectRef{{Kind: "customer", ID: nth(f.targets.any, n).customer}}}
	}),
	listing("of the last half hour", 20, func(f *filled, _ int) saga.Filter {
		return saga.Filter{Since: time.UnixMicro(f.targets.since)}
	}),
	listing("since now", 0, func(*filled, int) saga.Filter { return saga.Filter{Since: time.Now()} }),
}

// The function `timed` returns an operation. The operation calls the function `read`, and measures the duration of the call.
func timed(name string, read func(context.Context, *filled, int) error) operation {
	return operation{name, func(ctx context.Context, f *filled, n int) (time.Duration, error) {
		began := time.Now()
		err := read(ctx, f, n)
		return time.Since(began), err
	}}
}

// The function `listing` returns an operation that reads a page of runs. The length of the page does not depend on the number of
// finished runs in the database.
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

// The ids of the benchmark's replicas.
const (
	executor = "executor" // executes the runs that the writing operations create
	claimer  = "claimer"  // calls Claim to get due runs
)

// The constant `lease` is the length of the replicas' leases. Each lease is longer than a measurement.
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
	{"all checkpoints of a run", func(ctx context.Context, f *filled, n int) (time.Duration, error) {
		_, commit, err := f.liveOnce(ctx, n)
		return commit, err
	}},
	timed("claim: nothing is due", func(ctx context.Context, f *filled, _ int) error {
		ids, err := f.Claim(ctx, saga.Claim{Due: saga.Due{Now: time.Now()}, Replica: executor, Limit: 1})
		if err == nil && len(ids) > 0 {
			err = fmt.Errorf("claimed %v", ids)
		}
		return err
	}),
}

// liveOnce creates a run and writes all its checkpoints. The results are the duration of the creation and the total
// duration of the writes.
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

// lineLength is the number of runs that are due before the calls of Claim are measured.
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
	{fmt.Sprintf("claim: one of %d due runs", lineLength), func(ctx context.Context, f *filled, _ int) (time.Duration, error) {
		began := time.Now()
		claimed, err := f.Claim(ctx, saga.Claim{Due: saga.Due{Now: began}, Replica: claimer, Limit: 1})
		took := time.Since(began)
		if err := enough(len(claimed), 1, err); err != nil {
			return 0, err
		}
		return took, f.HandBack(ctx, claimer, began, began.Add(lease), nil)
	}},
	timed("count the due runs", func(ctx context.Context, f *filled, _ int) error {
		n, err := f.Due(ctx, saga.Due{Now: time.Now()})
		return enough(n, lineLength, err)
	}),
	timed("count a merchant's runs in progress", func(ctx context.Context, f *filled, n int) error {
		live, err := f.LiveRuns(ctx, merchantOf(n))
		return enough(live, lineLength/finishedMerchants, err)
	}),
	timed("renew a lease", func(ctx context.Context, f *filled, _ int) error {
		_, err := f.Renew(ctx, claimer, time.Now(), time.Now().Add(lease))
		return err
	}),
}

// The function `busy` returns the id of a merchant that has recent runs and compensated runs.
func busy(n int) string { return merchantOf(1 + n%(finishedMerchants-2)) }

// merchantOf returns the id of the nth merchant of the finished runs.
func merchantOf(n int) string {
	return uuid.UUID(md5.Sum(fmt.Append(nil, "merchant", n%finishedMerchants))).String() //nolint:gosec // it is no secret
}
