package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// The type `usages` has the parameters of `bench usage`, which measures the cost of Ceilometer's samples. The benchmark measures the same
// posts on several databases, each with a different number of stored samples.
type usages struct {
	passes int
	binary string
	sizes  []int // numbers of stored samples, in ascending order
}

var defaultStored = []int{0, 10_000_000}

// leastStored is the minimum number of stored samples. With fewer samples, some series would have no stored sample.
const leastStored = 10_000

const (
	samplesOfPass = 300_000
	samplesToWarm = 21_000 // posted before the first pass
	samplesOfPost = 50
	posters       = 16 // the maximum number of posts in flight
)

// Limits of the default sizes.
const (
	minRate = 5000.0 // samples a second
	maxCost = 1.1    // the cost of a sample, divided by the cost in the first database
	// maxGrowth limits the usual memory in the last pass, divided by the usual memory in the first pass. This ratio varies by a tenth or so, because
	// the heap of Go grows and shrinks. If each sample left 30 bytes behind, the ratio would exceed the limit.
	maxGrowth = 1.25
)

func runUsages(ctx context.Context, u usages, sizes, out, docs string) (err error) {
	if u.sizes, err = parseSizes(sizes, defaultStored, 0); err != nil {
		return err
	}
	if slices.ContainsFunc(u.sizes, func(n int) bool { return n > 0 && n < leastStored }) {
		return fmt.Errorf("-sizes: each of %q must be 0 or at least %d", sizes, leastStored)
	}
	slices.Sort(u.sizes)
	result, err := u.measure(ctx)
	if err != nil {
		return err
	}
	table := result.table()
	if _, err := fmt.Fprint(os.Stdout, table); err != nil || !slices.Equal(u.sizes, defaultStored) || u.passes != defaultPasses {
		return err
	}
	return errors.Join(result.write(out), show(docs, "bench-usage", table), result.missed())
}

// The method `measure` makes the metered worlds, and measures posts of samples to them. Each pass measures all worlds. Each pass begins with
// another world, so that other load on the machine affects all worlds equally.
func (u usages) measure(ctx context.Context) (_ *usageResult, err error) {
	server, err := connect(ctx, os.Getenv("TENANTRY_TEST_POSTGRES_URL"))
	if err != nil {
		return nil, fmt.Errorf("connecting to the PostgreSQL server at TENANTRY_TEST_POSTGRES_URL: %w", err)
	}
	defer func() { err = errors.Join(err, server.close(context.WithoutCancel(ctx))) }()
	result := newUsageResult()
	var worlds []*meteredWorld
	defer func() {
		for _, w := range slices.Backward(worlds) {
			err = errors.Join(err, w.close(context.WithoutCancel(ctx)))
		}
	}()
	for _, n := range u.sizes {
		began := time.Now()
		w, err := u.world(ctx, server, n)
		if err != nil {
			return nil, fmt.Errorf("making the database with %d stored samples: %w", n, err)
		}
		worlds = append(worlds, w)
		note("%d stored samples: %.0f MiB, filled in %.0f s", n, w.measured.MiB, time.Since(began).Seconds())
		result.Worlds = append(result.Worlds, w.measured)
	}
	for _, w := range worlds {
		if err := w.warm(ctx); err != nil {
			return nil, fmt.Errorf("warming up with %d stored samples: %w", w.stored, err)
		}
	}
	for pass := range u.passes {
		for i := range worlds {
			w := worlds[(i+pass)%len(worlds)]
			if err := w.pass(ctx, server); err != nil {
				return nil, fmt.Errorf("measuring with %d stored samples: %w", w.stored, err)
			}
		}
	}
	result.finish()
	return result, nil
}

// The method `pass` measures the floor and then Tenantry, with the same number of samples.
func (w *meteredWorld) pass(ctx context.Context, server *database) error {
	var one passOfUsage
	rows := w.floorRows()
	for _, m := range []struct {
		cost  *costOfSamples
		pid   int // of the process that stores the samples
		store func(context.Context) error
	}{
		{&one.floor, os.Getpid(), func(ctx context.Context) error { return w.floor(ctx, rows) }},
		{&one.tenantry, w.v.process.Pid, func(ctx context.Context) (err error) { one.posts, err = w.postAll(ctx, samplesOfPass); return err }},
	} {
		if _, err := w.conn.Exec(ctx, "TRUNCATE "+floorTable+"; CHECKPOINT"); err != nil {
			return err
		}
		if err := resetPeak(m.pid); err != nil {
			return err
		}
		before, err := readUsage(ctx, server, m.pid)
		if err != nil {
			return err
		}
		resident := watchMemory(m.pid)
		began := time.Now()
		err = m.store(ctx)
		took := time.Since(began)
		one.usualMiB = median(resident())
		if err != nil {
			return err
		}
		after, err := readUsage(ctx, server, m.pid)
		if err != nil {
			return err
		}
		*m.cost = before.until(after, took, samplesOfPass)
	}
	var err error
	if one.peakMiB, err = memory(w.v.process.Pid, "VmHWM"); err != nil {
		return err
	}
	if err := w.check(ctx); err != nil {
		return err
	}
	w.measured.passes = append(w.measured.passes, one)
	note("%d stored samples: floor %.0f samples/s, Tenantry %.0f samples/s; ms of processor time for 1,000 samples: %.0f + %.0f, %.0f to %.0f MiB",
		w.stored, one.floor.rate, one.tenantry.rate, one.tenantry.own, one.tenantry.sql, one.usualMiB, one.peakMiB)
	return nil
}

// The type `usageReading` contains the values of counters at a point in time.
type usageReading struct {
	wal            int64
	own, sql, self time.Duration
}

func readUsage(ctx context.Context, server *database, pid int) (now usageReading, err error) {
	var faults [4]error
	now.wal, faults[0] = server.wal(ctx)
	now.own, faults[1] = processTime(pid, false)
	now.sql, faults[2] = familyTime(server.parent)
	now.self, faults[3] = processTime(os.Getpid(), false)
	return now, errors.Join(faults[:]...)
}

// The type `costOfSamples` has the cost of storing samples. Processor times are in ms for 1,000 samples.
type costOfSamples struct {
	rate           float64 // samples per second
	own, sql, self float64 // the process that stores the samples; PostgreSQL; bench
	wal            float64 // bytes per sample
}

func (r usageReading) until(after usageReading, took time.Duration, samples int) costOfSamples {
	n := float64(samples)
	each := func(d time.Duration) float64 { return d.Seconds() * 1000 / (n / 1000) }
	return costOfSamples{
		rate: n / took.Seconds(), own: each(after.own - r.own), sql: each(after.sql - r.sql), self: each(after.self - r.self),
		wal: float64(after.wal-r.wal) / n,
	}
}

// resetPeak sets the maximum resident memory of a process to its current resident memory: see the line VmHWM in proc(5).
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// watchMemory reads the resident memory of a process ten times a second, until the returned function is called. The returned function returns
// the readings, in MiB.
func watchMemory(pid int) (stop func() []float64) {
	ended, all := make(chan struct{}), make(chan []float64)
	go func() {
		timer := time.NewTicker(100 * time.Millisecond)
		defer timer.Stop()
		var found []float64
		for {
			if mib, err := memory(pid, "VmRSS"); err == nil {
				found = append(found, mib)
			}
			select {
			case <-ended:
				all <- found
				return
			case <-timer.C:
			}
		}
	}()
	return func() []float64 { close(ended); return <-all }
}
