package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// The type `plan` defines a measurement.
type plan struct {
	passes     int
	length     time.Duration
	binary     string
	contenders []string
	delays     []time.Duration // delays of the stub upstreams; bench makes a measurement with each delay
	inFlight   []int
}

// The type `rig` has the database and the child processes of a running measurement.
type rig struct {
	plan
	db        *database
	site      site // addresses and ids that all contenders share
	upstreams *child
	running   map[string]*runner
	closers   []func() error
}

// The type `runner` is a running contender.
type runner struct {
	*child

	pid int // id of the measured process: the contender, or the service that the portal calls
}

// The method `measure` starts the upstreams and the contenders, measures the contenders, and stops all processes.
func (p plan) measure(ctx context.Context) (_ *result, err error) {
	r := &rig{plan: p, running: map[string]*runner{}}
	defer func() {
		for _, closer := range slices.Backward(r.closers) {
			err = errors.Join(err, closer())
		}
	}()
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	res := newResult()
	if slices.Contains(p.contenders, service) {
		if err := r.idle(ctx, res); err != nil {
			return nil, err
		}
	}
	for _, name := range p.contenders {
		if err := r.start(ctx, name); err != nil {
			return nil, err
		}
	}
	if err := r.warm(ctx); err != nil {
		return nil, err
	}
	for pass := range p.passes {
		if err := r.pass(ctx, pass, res); err != nil {
			return nil, err
		}
	}
	if err := r.countTransactions(ctx, res); err != nil {
		return nil, err
	}
	for name, running := range r.running {
		if res.PeakMiB[name], err = memory(running.pid, "VmHWM"); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func (r *rig) setUp(ctx context.Context) (err error) {
	if r.db, err = connect(ctx, os.Getenv("TENANTRY_TEST_POSTGRES_URL")); err != nil {
		return fmt.Errorf("connecting to the PostgreSQL server at TENANTRY_TEST_POSTGRES_URL: %w", err)
	}
	r.closers = append(r.closers, func() error { return r.db.close(context.WithoutCancel(ctx)) })
	if r.upstreams, err = startChild(ctx, site{}, "upstreams"); err != nil {
		return err
	}
	r.closers = append(r.closers, r.upstreams.stop)
	url, err := r.upstreams.out.ReadString('\n')
	r.site = site{Upstreams: strings.TrimSpace(url), Merchant: uuid.NewString(), Plan: uuid.NewString()}
	return err
}

// The method `start` starts a contender with a new database.
func (r *rig) start(ctx context.Context, name string) (err error) {
	s := r.site
	if s.Database, err = r.db.create(ctx); err != nil {
		return err
	}
	if name == service {
		if err := s.enroll(ctx, r.binary); err != nil {
			return err
		}
	}
	who, stop, err := r.launch(ctx, s, name)
	if err != nil {
		return err
	}
	r.closers = append(r.closers, stop)
	r.running[name] = who
	return nil
}

// The method `launch` starts a contender. If the contender is a portal, `launch` starts the service first.
func (r *rig) launch(ctx context.Context, s site, name string) (*runner, func() error, error) {
	who, end := &runner{}, func() error { return nil }
	if name == service {
		v, err := s.serve(ctx, r.binary)
		if err != nil {
			return nil, nil, err
		}
		s.API, who.pid, end = v.url, v.process.Pid, v.stop
	}
	var err error
	if who.child, err = startChild(ctx, s, name); err != nil {
		return nil, nil, errors.Join(err, end())
	}
	if who.pid == 0 {
		who.pid = who.cmd.Process.Pid
	}
	return who, func() error { return errors.Join(who.stop(), end()) }, nil
}

// The method `warm` sends two tasks of half a second to each contender, one contender after another. The contenders thus connect,
// log in and fill their caches before the measurement.
func (r *rig) warm(ctx context.Context) error {
	if err := r.setDelay(ctx, 0); err != nil {
		return err
	}
	for _, name := range r.contenders {
		for _, t := range []task{{64, time.Second / 2}, {16, time.Second / 2}} {
			if _, err := r.running[name].do(t); err != nil {
				return fmt.Errorf("warming up %s: %w", name, err)
			}
		}
	}
	return nil
}

func (r *rig) setDelay(ctx context.Context, d time.Duration) error {
	status, _, err := ask(ctx, http.MethodPut, r.site.Upstreams+"/bench/delay?is="+d.String())
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("setting the delay of the stub upstreams: got status %d, want 200", status)
	}
	return err
}

// The method `pass` makes one measurement of every combination of contender, delay and number of subscribes in flight. The
// contenders run one after another. Each pass starts with a different contender.
func (r *rig) pass(ctx context.Context, n int, res *result) error {
	for _, delay := range r.delays {
		if err := r.setDelay(ctx, delay); err != nil {
			return err
		}
		for _, inFlight := range r.inFlight {
			for i := range r.contenders {
				name := r.contenders[(i+n)%len(r.contenders)]
				one, err := r.cell(ctx, r.running[name], task{inFlight, r.length})
				if err != nil {
					return fmt.Errorf("measuring %s with %d subscribes in flight: %w", name, inFlight, err)
				}
				res.add(cell{name, delay, inFlight}, one)
			}
		}
	}
	commits, err := r.db.commits(ctx)
	res.commits = append(res.commits, commits)
	return err
}

// The type `reading` contains the values of the counters at a point in time.
type reading struct {
	wal      int64
	own, sql time.Duration
	calls    int64 // upstream calls since the previous reading
}

func (r *rig) read(ctx context.Context, pid int) (now reading, err error) {
	var faults [5]error
	now.wal, faults[0] = r.db.wal(ctx)
	now.own, faults[1] = processTime(pid, false)
	now.sql, faults[2] = familyTime(r.db.parent)
	_, answer, err := ask(ctx, http.MethodGet, r.site.Upstreams+"/bench/calls")
	faults[3] = err
	_, faults[4] = fmt.Sscan(string(answer), &now.calls)
	return now, errors.Join(faults[:]...)
}

// The method `cell` makes one measurement of one contender.
func (r *rig) cell(ctx context.Context, who *runner, t task) (sample, error) {
	before, err := r.read(ctx, who.pid)
	if err != nil {
		return sample{}, err
	}
	did, err := who.do(t)
	if err != nil {
		return sample{}, err
	}
	after, err := r.read(ctx, who.pid)
	slices.Sort(did.Latencies)
	n := float64(len(did.Latencies))
	at := func(share float64) float64 {
		return did.Latencies[int(share*(n-1))].Seconds() * 1000
	}
	return sample{
		P50: at(0.5), P95: at(0.95), Rate: n / did.Took.Seconds(),
		WAL: float64(after.wal-before.wal) / n, Calls: float64(after.calls) / n,
		OwnCPU: (after.own - before.own).Seconds() * 1000 / n, SQLCPU: (after.sql - before.sql).Seconds() * 1000 / n,
	}, err
}

// countTransactions computes, for each contender, the number of database transactions per subscribe. The transactions of an idle contender
// are subtracted first. countTransactions restarts the contender for each count, because a PostgreSQL backend reports all its transactions
// when the backend ends.
func (r *rig) countTransactions(ctx context.Context, res *result) error {
	if err := r.setDelay(ctx, 0); err != nil {
		return err
	}
	for _, name := range r.contenders {
		s := r.site
		var err error
		if s.Database, err = r.db.create(ctx); err != nil {
			return err
		}
		if name == service {
			if err := s.enroll(ctx, r.binary); err != nil {
				return err
			}
		}
		// The first call creates the tables, so that the counts below do not include the creation of the tables.
		if _, _, err := r.transactions(ctx, s, name, 0); err != nil {
			return err
		}
		idle, _, err := r.transactions(ctx, s, name, 0)
		if err != nil {
			return err
		}
		for _, inFlight := range r.inFlight {
			n, subscribes, err := r.transactions(ctx, s, name, inFlight)
			if err != nil {
				return err
			}
			res.transactions[cell{name, 0, inFlight}] = float64(n-idle) / float64(subscribes)
		}
	}
	return nil
}

// The method `transactions` starts a contender, sends it one task, and stops it. The results are the numbers of the contender's
// transactions and subscribes.
func (r *rig) transactions(ctx context.Context, s site, name string, inFlight int) (n int64, subscribes int, err error) {
	before, err := r.db.transactions(ctx, s.Database)
	if err != nil {
		return 0, 0, err
	}
	who, stop, err := r.launch(ctx, s, name)
	if err != nil {
		return 0, 0, err
	}
	did, err := who.do(task{inFlight, r.length / 2})
	if err = errors.Join(err, stop()); err != nil {
		return 0, 0, err
	}
	after, err := r.db.transactions(ctx, s.Database)
	return after - before, len(did.Latencies), err
}

// The method `idle` measures a service that gets no requests: its start time on a migrated database, its transactions per second,
// and its memory.
func (r *rig) idle(ctx context.Context, res *result) (err error) {
	s := r.site
	if s.Database, err = r.db.create(ctx); err != nil {
		return err
	}
	if err := s.enroll(ctx, r.binary); err != nil { // enroll also migrates the database
		return err
	}
	var starts []float64
	for range r.passes {
		v, err := s.serve(ctx, r.binary)
		if err != nil {
			return err
		}
		if err := v.stop(); err != nil {
			return err
		}
		starts = append(starts, v.ready.Seconds())
	}
	v, err := s.serve(ctx, r.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.stop()) }()
	if err := pause(ctx, told); err != nil {
		return err
	}
	before, err := r.db.tally(ctx, s.Database)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, 2*told); err != nil {
		return err
	}
	after, err := r.db.tally(ctx, s.Database)
	if err != nil {
		return err
	}
	res.Idle.Ready = median(starts)
	res.Idle.Queries = float64(after-before) / time.Since(began).Seconds()
	res.Idle.MiB, err = memory(v.process.Pid, "VmRSS")
	return err
}
