package store_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// The function `point` changes the kind, the time relative to noon, and the volume of a sample.
func point(kind usage.Kind, after time.Duration, volume int64) func(*usage.Sample) {
	return func(s *usage.Sample) { s.Kind, s.At, s.Volume = kind, noon.Add(after), decimal.NewFromInt(volume) }
}

// The function `add` stores new samples.
func add(t *testing.T, s *store.Store, samples ...usage.Sample) {
	t.Helper()
	added, err := s.Usage().Add(t.Context(), noon, usage.Batch{Samples: samples})
	must(t, err)
	same(t, "the added samples", added, usage.Added{Stored: len(samples)})
}

// The function `take` takes hours that end before tomorrow, and returns them with and without the name of the call.
func take(t *testing.T, s *store.Store, now time.Time, limit int) (due, plain []usage.Due) {
	t.Helper()
	due, err := s.Usage().TakeDue(t.Context(), now, noon.Add(24*time.Hour), limit)
	must(t, err)
	plain = slices.Clone(due)
	for i := range plain {
		if plain[i].Take == "" {
			t.Errorf("the hour %+v has no name of the call", plain[i])
		}
		plain[i].Take = ""
	}
	return due, plain
}

func dueHour(project string, after time.Duration, spreads bool) usage.Due {
	return usage.Due{Cloud: "default", Project: project, Hour: noon.Add(after), Spreads: spreads}
}

// The function `hours` returns times relative to noon.
func hours(after ...int) (all []time.Time) {
	for _, n := range after {
		all = append(all, noon.Add(time.Duration(n)*time.Hour))
	}
	return all
}

func TestDueHoursAreTakenOnce(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1"), sample("p", "2", point(usage.Cumulative, 59*time.Minute, 1)))
		for ended, want := range map[time.Time]int{noon.Add(time.Hour - time.Microsecond): 0, noon: 0, {}: 0} {
			due, err := s.Usage().TakeDue(t.Context(), noon, ended, 10)
			if err != nil || len(due) != want {
				t.Errorf("%d hours end before %v (%v): %+v", len(due), ended, err, due)
			}
		}
		due, err := s.Usage().TakeDue(t.Context(), noon, noon.Add(time.Hour), 10)
		must(t, err)
		if len(due) != 1 || due[0].Take == "" {
			t.Fatalf("the due hours are %+v", due)
		}
		taken := dueHour("p", 0, true)
		taken.Take = due[0].Take
		same(t, "the hour", due[0], taken)
		_, none := take(t, s, noon, 10)
		same(t, "the hours after that", none, []usage.Due{})
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], nil, nil)))
		_, none = take(t, s, noon.Add(usage.TakeTimeout+time.Second), 10)
		same(t, "the hours after the hour was finished", none, []usage.Due{})

		add(t, s, sample("p", "late", point(usage.Cumulative, time.Minute, 1)))
		_, again := take(t, s, noon, 10)
		same(t, "the hours after a late sample", again, []usage.Due{dueHour("p", 0, true)})
	})
}

// An hour that is being computed is not taken, even if it has new samples. Otherwise, two computations of an hour could end in the wrong
// order.
func TestHoursThatAreBeingComputedWait(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1"))
		due, _ := take(t, s, noon, 10)
		add(t, s, sample("p", "late", point(usage.Cumulative, time.Minute, 1)), sample("p", "next", point(usage.Cumulative, time.Hour, 1)))
		other, plain := take(t, s, noon.Add(usage.TakeTimeout), 1) // the limit does not count the hour that waits
		same(t, "the hours during the computation", plain, []usage.Due{dueHour("p", time.Hour, true)})
		must(t, s.Usage().FinishHour(t.Context(), noon, other[0], finished(other[0], nil, hours(0))))
		_, plain = take(t, s, noon.Add(usage.TakeTimeout), 10)
		same(t, "the hours that must be computed again, during the computation", plain, []usage.Due{})
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], nil, hours(0))))
		_, plain = take(t, s, noon, 10)
		same(t, "the hours after the computation", plain, []usage.Due{dueHour("p", 0, true)})
	})
}

func TestHoursThatAreNotFinishedAreTakenAgain(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1"), sample("p", "2", point(usage.Cumulative, time.Hour, 1)))
		first, _ := take(t, s, noon, 10)
		must(t, s.Usage().FinishHour(t.Context(), noon, first[1], finished(first[1], nil, []time.Time{noon.Add(2 * time.Hour)})))
		second, plain := take(t, s, noon, 10)
		same(t, "the hour that was computed again", plain, []usage.Due{dueHour("p", 2*time.Hour, false)})

		timeout := noon.Add(usage.TakeTimeout)
		add(t, s, sample("p", "3", point(usage.Cumulative, 2*time.Hour, 1)))
		_, none := take(t, s, timeout, 10)
		same(t, "the hours before the timeout", none, []usage.Due{})
		third, plain := take(t, s, timeout.Add(time.Microsecond), 10)
		same(t, "the hours after the timeout", plain, []usage.Due{dueHour("p", 0, true), dueHour("p", 2*time.Hour, true)})
		_, none = take(t, s, timeout.Add(usage.TakeTimeout), 10)
		same(t, "the hours before the second timeout", none, []usage.Due{})

		stale := []usage.Measured{measured(0, time.Hour, "cpu", "1")}
		for _, d := range []usage.Due{first[0], second[0]} { // these calls come too late
			must(t, s.Usage().FinishHour(t.Context(), noon, d, finished(d, stale, []time.Time{noon.Add(3 * time.Hour)})))
		}
		good := []usage.Measured{measured(0, time.Hour, "cpu", "2")}
		for range 2 { // the second call does nothing
			must(t, s.Usage().FinishHour(t.Context(), noon, third[0], finished(third[0], good, nil)))
		}
		must(t, s.Usage().FinishHour(t.Context(), noon, first[0], finished(first[0], stale, nil)))
		got, _, err := s.Usage().Measured(t.Context(), "default", "p", usage.Range{From: noon, To: noon.Add(24 * time.Hour)}, 10_000)
		must(t, err)
		same(t, "the usage", got, good)
		fourth, plain := take(t, s, timeout.Add(usage.TakeTimeout+2*time.Microsecond), 10)
		same(t, "the hours after the second timeout", plain, []usage.Due{dueHour("p", 2*time.Hour, true)})
		must(t, s.Usage().FinishHour(t.Context(), noon, fourth[0], finished(fourth[0], nil, nil)))
		if got := rowsOf(t, s, "SELECT * FROM usage_taken"); len(got) > 0 {
			t.Errorf("these hours are still taken: %q", got)
		}
	})
}

func TestOldestHoursAreTakenFirst(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p", "q", "r")
		tenants(t, s, "west", "w")
		add(t, s,
			sample("q", "1", point(usage.Cumulative, 0, 1)), sample("p", "2", point(usage.Cumulative, 0, 1)),
			sample("p", "3", point(usage.Cumulative, -3*time.Hour, 1)), sample("r", "4", point(usage.Cumulative, 2*time.Hour, 1)),
			sample("w", "5", point(usage.Cumulative, time.Hour, 1), func(s *usage.Sample) { s.Cloud = "west" }),
		)
		west := usage.Due{Cloud: "west", Project: "w", Hour: noon.Add(time.Hour), Spreads: true}
		var due []usage.Due
		for _, want := range [][]usage.Due{
			{}, {dueHour("p", -3*time.Hour, true), dueHour("p", 0, true)}, {dueHour("q", 0, true), west}, {dueHour("r", 2*time.Hour, true)}, {},
		} {
			taken, plain := take(t, s, noon, min(2*len(want), 2))
			same(t, "the hours", plain, want)
			due = append(due, taken...)
		}
		// The three reasons to take an hour are merged, before the limit is applied.
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], nil, hours(-2, 1, -2))))
		add(t, s, sample("q", "6", point(usage.Cumulative, -time.Hour, 1)), sample("p", "7", point(usage.Cumulative, time.Hour, 1)))
		late := noon.Add(2 * usage.TakeTimeout)
		for _, want := range [][]usage.Due{
			{dueHour("p", -2*time.Hour, false), dueHour("q", -time.Hour, true), dueHour("p", 0, true)},
			{dueHour("q", 0, true), dueHour("p", time.Hour, true), west},
			{dueHour("r", 2*time.Hour, true)},
			{},
		} {
			_, plain := take(t, s, late, 3)
			same(t, "the hours of all reasons", plain, want)
		}
	})
}

// The hours that FinishHour makes due do not spread, unless they have new samples.
func TestHoursThatAreComputedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1"), sample("p", "2", point(usage.Cumulative, time.Hour, 1)))
		due, _ := take(t, s, noon, 1)
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], nil, hours(2, 1, 3))))
		add(t, s, sample("p", "3", point(usage.Cumulative, 3*time.Hour, 1)))
		due, plain := take(t, s, noon, 10)
		same(t, "the hours", plain, []usage.Due{dueHour("p", time.Hour, true), dueHour("p", 2*time.Hour, false), dueHour("p", 3*time.Hour, true)})
		for _, d := range due {
			must(t, s.Usage().FinishHour(t.Context(), noon, d, finished(d, nil, nil)))
		}
		_, plain = take(t, s, noon, 10)
		same(t, "the hours after that", plain, []usage.Due{})
	})
}

func TestReplicasTakeDifferentHours(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p", "q")
		const hours = 60
		for i := range hours {
			add(t, s, sample("p", fmt.Sprint(i), point(usage.Cumulative, time.Duration(i)*time.Hour, 1)),
				sample("q", fmt.Sprint("q", i), point(usage.Cumulative, time.Duration(i)*time.Hour, 1)))
		}
		var taken sync.Map
		var n atomic.Int64
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for {
					due, err := s.Usage().TakeDue(context.Background(), noon, noon.Add(1000*time.Hour), 3)
					if err != nil {
						t.Error(err)
						return
					}
					if len(due) == 0 {
						return
					}
					for _, d := range due {
						d.Take = ""
						if other, twice := taken.LoadOrStore(d, worker); twice {
							t.Errorf("worker %d took the hour %+v, which worker %d had taken", worker, d, other)
						}
						n.Add(1)
					}
				}
			})
		}
		all.Wait()
		if n.Load() != 2*hours {
			t.Errorf("%d hours were taken", n.Load())
		}
	})
}

// Samples are added while their hours are being computed. In the end, the stored usage contains each sample. Each hour has only a few
// batches, which are added at about the same time. Otherwise, a later batch would hide that an earlier sample was lost.
func TestNoSampleIsLost(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		projects := []string{"p", "q"}
		tenants(t, s, "default", projects...)
		const workers, hours, each = 4, 100, 20
		var adders, takers sync.WaitGroup
		stop := make(chan struct{})
		for worker := range workers {
			adders.Go(func() {
				for hour := range hours {
					var b usage.Batch
					for i := range each * len(projects) {
						p, id := projects[i%len(projects)], fmt.Sprint(worker, "-", hour, "-", i)
						b.Samples = append(b.Samples, sample(p, id, point(usage.Delta, time.Duration(hour)*time.Hour, 1)))
					}
					if _, err := s.Usage().Add(context.Background(), noon, b); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 3 {
			takers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						// A taker that waits too long for the others tries again.
						if _, err := closeHours(s); err != nil && !strings.Contains(err.Error(), "lock timeout") {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		adders.Wait()
		close(stop)
		takers.Wait()
		for done := 1; done > 0; {
			var err error
			done, err = closeHours(s)
			must(t, err)
		}
		for _, p := range projects {
			found, _, err := s.Usage().Measured(t.Context(), "default", p, usage.Range{From: noon, To: noon.Add(hours * time.Hour)}, 10_000)
			must(t, err)
			var want []usage.Measured
			for hour := range hours {
				want = append(want, usage.Measured{
					Range: usage.Hour(noon.Add(time.Duration(hour) * time.Hour)), Meter: "cpu", Kind: usage.Delta, Unit: "ns",
					Amount: decimal.RequireFromString(fmt.Sprint(workers * each)),
				})
			}
			same(t, "the usage of "+p, found, want)
		}
	})
}

// closeHours computes due hours, as the service does, and returns their number.
func closeHours(s *store.Store) (int, error) {
	ctx := context.Background()
	due, err := s.Usage().TakeDue(ctx, noon, noon.Add(1000*time.Hour), 3)
	if err != nil {
		return 0, err
	}
	for _, d := range due {
		sum := usage.NewSum(usage.Hour(d.Hour), nil, usage.DefaultHold)
		for r, err := range s.Usage().Recorded(ctx, d) {
			if err != nil {
				return 0, err
			}
			sum.Add(r)
		}
		if err := s.Usage().FinishHour(ctx, noon, d, finished(d, sum.Measured(), nil)); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// TakeDue waits for transactions that are storing samples. If such a transaction takes too long, TakeDue returns an error, so that other
// transactions can store samples. On SQLite, a transaction that writes has the whole file.
func TestTakeDueWaitsForSamples(t *testing.T) {
	s := migrated(t, template.PostgreSQL(t))
	tenants(t, s, "default", "p")
	add(t, s, sample("p", "1"))
	samples := s.DB().Begin()
	must(t, samples.Exec("SELECT pg_advisory_xact_lock_shared(2118797138)").Error) // usageLock
	due, err := s.Usage().TakeDue(limited(t, 10*time.Second), noon, noon.Add(24*time.Hour), 10)
	if err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("a transaction was storing samples, but TakeDue returned %+v, %v", due, err)
	}
	add(t, s, sample("p", "2", point(usage.Cumulative, time.Hour, 1)))
	must(t, samples.Commit().Error)
	due, plain := take(t, s, noon, 10)
	same(t, "the hours", plain, []usage.Due{dueHour("p", 0, true), dueHour("p", time.Hour, true)})

	taking := s.DB().Begin()
	must(t, taking.Exec("SELECT pg_advisory_xact_lock(2118797138)").Error)
	none, err := s.Usage().TakeDue(limited(t, time.Second), noon, noon.Add(24*time.Hour), 10) // needs no lock
	if err != nil || len(none) > 0 {
		t.Errorf("there was no due hour, but TakeDue returned %+v, %v", none, err)
	}
	if _, err := s.Usage().Add(limited(t, time.Second), noon, usage.Batch{Samples: []usage.Sample{sample("p", "3")}}); err == nil {
		t.Error("Add did not wait for TakeDue")
	}
	if err := s.Usage().FinishHour(limited(t, time.Second), noon, due[0], finished(due[0], nil, nil)); err == nil {
		t.Error("FinishHour did not wait for TakeDue")
	}
	must(t, taking.Rollback().Error)
}

// The function `limited` returns a context that ends after a time.
func limited(t *testing.T, after time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), after)
	t.Cleanup(cancel)
	return ctx
}

// A transaction that stores samples does not wait for another transaction that stores samples of the same hour.
func TestDueHoursAreNotLockedByNewSamples(t *testing.T) {
	s := migrated(t, template.PostgreSQL(t))
	tenants(t, s, "default", "p")
	add(t, s, sample("p", "1"))
	other := s.DB().Begin()
	must(t, other.Exec("SELECT hour FROM usage_due FOR UPDATE").Error)
	_, err := s.Usage().Add(limited(t, 5*time.Second), noon, usage.Batch{Samples: []usage.Sample{sample("p", "2")}})
	must(t, err)
	must(t, other.Rollback().Error)
}

// allRecorded returns all series of an hour.
func allRecorded(s *store.Store, d usage.Due) (all []usage.Recorded, err error) {
	for r, err := range s.Usage().Recorded(context.Background(), d) {
		if err != nil {
			return nil, err
		}
		r.Points = slices.Clone(r.Points)
		all = append(all, r)
	}
	return all, nil
}

// The type `watched` measures the memory while an hour is read.
type watched struct {
	*store.Usage

	points, most int    // all points, and the points that were passed at once
	heap         uint64 // the highest number of bytes in use
}

// Recorded implements [usage.Hours].
func (w *watched) Recorded(ctx context.Context, d usage.Due) iter.Seq2[usage.Recorded, error] {
	return func(yield func(usage.Recorded, error) bool) {
		measured := w.points
		for r, err := range w.Usage.Recorded(ctx, d) {
			w.points, w.most = w.points+len(r.Points), max(w.most, len(r.Points))
			if w.points-measured > 30_000 {
				measured, w.heap = w.points, max(w.heap, inUse())
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func inUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // a sync.Pool is empty after two collections
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// Tenant implements [usage.Tenants].
func (w *watched) Tenant(context.Context, string, string) (usage.Tenant, error) {
	return usage.Tenant{
		Merchant: "default", Subscription: "p", Spans: []usage.Span{{Plan: "a"}, {From: noon.Add(30 * time.Minute), Plan: "b"}},
	}, nil
}

// One series has 100,000 points in an hour, and 2,000 series have 50 points each. If all points were in memory, they would need 20 MB.
func TestAnHourWithManyPointsNeedsLittleMemory(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "long", point(usage.Delta, 0, 0)))
		long := sample("p", "", point(usage.Delta, 0, 0)).Series.ID()
		at := fmt.Sprint(noon.UnixMicro(), " + CAST(i AS BIGINT) * 34000")
		numbers := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
		for _, statement := range []string{
			"INSERT INTO series (id, cloud, source, project_id, resource_id, meter, kind, unit, last_day) " + numbers +
				"SELECT 's' || i, 'default', 'o', 'p', 'r' || i, 'short', 'cumulative', '', 30000 FROM n WHERE i <= 2000",
			"INSERT INTO samples (cloud, day, id, series_id, at, volume) " + numbers +
				"SELECT 'default', 30000, 'l' || i, '" + long + "', " + at + ", '0.1' FROM n",
			"INSERT INTO samples (cloud, day, id, series_id, at, volume) " + numbers +
				"SELECT 'default', 30000, 's' || i, 's' || (i % 2000 + 1), " + at + ", CAST(i AS TEXT) || '.5' FROM n",
		} {
			must(t, s.DB().Exec(statement).Error)
		}
		w := &watched{Usage: s.Usage()}
		before := inUse()
		c := usage.Closer{Hours: w, Tenants: w, Hold: usage.DefaultHold, Now: func() time.Time { return noon.Add(24 * time.Hour) }}
		taken, err := c.Close(t.Context())
		if err != nil || taken != 1 || w.points != 200_001 {
			t.Fatalf("%d hours were computed from %d points, %v", taken, w.points, err)
		}
		if grown := int64(w.heap) - int64(before); w.most > 10_000 || w.heap == 0 || grown > 8<<20 {
			t.Errorf("the heap has grown by %d bytes, and %d points were read at once", grown, w.most)
		}
		found, _, err := s.Usage().Measured(t.Context(), "default", "p", usage.Hour(noon), 10_000)
		must(t, err)
		var got []string
		for _, m := range found {
			got = append(got, fmt.Sprint(m.Plan, " ", m.Meter, " ", m.Amount))
		}
		// The first half hour has 1800 s / 34 ms = 52941.2 points. In this time, each counter increases by 50941, and in the hour by 98000.
		same(t, "the usage", got, []string{"a cpu 5294.1", "a short 101882000", "b cpu 4705.9", "b short 94118000"})
	})
}

func TestRecordedSamples(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p", "q", "none")
		tenants(t, s, "west", "p")
		ofMeter := func(name string) func(*usage.Sample) { return func(s *usage.Sample) { s.Meter = name } }
		west := func(s *usage.Sample) { s.Cloud = "west" }
		c, d, g := usage.Cumulative, usage.Delta, usage.Gauge
		last := time.Hour - time.Microsecond
		add(t, s,
			// The points before the hour have the same time. The second one counts.
			sample("p", "a1", point(c, -time.Minute, 1)), sample("p", "a2", point(c, -time.Minute, 2)), sample("p", "a0", point(c, -time.Hour, 0)),
			// The points in the hour are sorted by time and id.
			sample("p", "a5", point(c, 0, 5)), sample("p", "a3", point(c, 0, 3)), sample("p", "a4", point(c, 0, 4)),
			sample("p", "a6", point(c, last, 6)),
			sample("p", "a8", point(c, 3*time.Hour, 8)), sample("p", "a7", point(c, time.Hour, 7)),
			// A series without a point before or after the hour, and with an old point before it.
			sample("p", "b1", ofMeter("b"), point(d, time.Minute, 1)),
			sample("p", "c0", ofMeter("c"), point(d, -400*time.Hour, 0)), sample("p", "c1", ofMeter("c"), point(d, time.Minute, 1)),
			// Gauges hold into the hour for less than MaxHold.
			sample("p", "d1", ofMeter("d"), point(g, -usage.MaxHold+time.Microsecond, 1)), sample("p", "d2", ofMeter("d"), point(g, 5*time.Hour, 2)),
			sample("p", "e1", ofMeter("e"), point(g, -usage.MaxHold, 1)),
			sample("p", "f0", ofMeter("f"), point(g, -500*time.Hour, 0)), sample("p", "f1", ofMeter("f"), point(g, time.Minute, 1)),
			// These series have no point in the hour.
			sample("p", "g1", ofMeter("g"), point(c, -time.Microsecond, 1)), sample("p", "g2", ofMeter("g"), point(c, time.Hour, 1)),
			sample("p", "h1", ofMeter("h"), point(g, time.Hour, 1)),
			// Other projects and clouds.
			sample("q", "q1", point(c, 0, 100)), sample("p", "w1", west, point(c, time.Minute, 200)),
		)
		must(t, s.DB().Exec("UPDATE samples SET volume = '12345678901234567890.000000000001' WHERE id = 'a6'").Error)
		points := func(pairs ...int64) (all []usage.Point) {
			for i := 0; i < len(pairs); i += 2 {
				all = append(all, usage.Point{At: noon.Add(time.Duration(pairs[i])), Volume: decimal.NewFromInt(pairs[i+1])})
			}
			return all
		}
		minute := int64(time.Minute)
		cpu := points(-minute, 2, 0, 3, 0, 4, 0, 5, int64(last), 6)
		cpu[4].Volume = decimal.RequireFromString("12345678901234567890.000000000001")
		want := []usage.Recorded{
			{Series: sample("p", "", ofMeter("b"), point(d, 0, 0)).Series, Points: points(minute, 1)},
			{Series: sample("p", "", ofMeter("c"), point(d, 0, 0)).Series, Points: points(-400*60*minute, 0, minute, 1)},
			{Series: sample("p", "").Series, Points: cpu, Next: noon.Add(time.Hour)},
			{
				Series: sample("p", "", ofMeter("d"), point(g, 0, 0)).Series, Points: points(int64(-usage.MaxHold+time.Microsecond), 1),
				Next: noon.Add(5 * time.Hour),
			},
			{Series: sample("p", "", ofMeter("f"), point(g, 0, 0)).Series, Points: points(-500*60*minute, 0, minute, 1)},
		}
		recorded := func(cloud, project string) []usage.Recorded {
			t.Helper()
			found, err := allRecorded(s, usage.Due{Cloud: cloud, Project: project, Hour: noon})
			must(t, err)
			slices.SortFunc(found, func(a, b usage.Recorded) int { return cmp.Compare(a.Meter, b.Meter) })
			return found
		}
		for i := range want {
			want[i].Unit = "ns"
		}
		// same compares the texts, because two equal decimals may differ in memory.
		same(t, "the samples", fmt.Sprintf("%+v", recorded("default", "p")), fmt.Sprintf("%+v", want))
		same(t, "another project", fmt.Sprintf("%+v", recorded("default", "q")),
			fmt.Sprintf("%+v", []usage.Recorded{{Series: sample("q", "").Series, Unit: "ns", Points: points(0, 100)}}))
		same(t, "another cloud", fmt.Sprintf("%+v", recorded("west", "p")),
			fmt.Sprintf("%+v", []usage.Recorded{{Series: sample("p", "", west).Series, Unit: "ns", Points: points(minute, 200)}}))
		same(t, "a project without samples", len(recorded("default", "none")), 0)

		must(t, s.DB().Exec("UPDATE samples SET volume = 'many' WHERE id = 'q1'").Error)
		_, err := allRecorded(s, dueHour("q", 0, true))
		if id := sample("q", "").Series.ID(); err == nil || !strings.Contains(err.Error(), "q1") || !strings.Contains(err.Error(), id) {
			t.Errorf("a volume that is not a number: %v, want the sample q1 and the series %s", err, id)
		}
	})
}

// The day of a series' last sample never decreases, and an hour needs the series with samples on its day or in the hour before.
func TestTheLastDayOfASeries(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		const day = 24 * time.Hour
		lastDay := func(what string, want time.Duration) {
			t.Helper()
			same(t, what, rowsOf(t, s, "SELECT last_day FROM series")[0], fmt.Sprint(noon.Add(want).Unix()/int64(day/time.Second), " "))
		}
		found := func(after time.Duration) int {
			t.Helper()
			all, err := allRecorded(s, dueHour("p", after, true))
			must(t, err)
			return len(all)
		}
		add(t, s, sample("p", "1", point(usage.Gauge, day+11*time.Hour+30*time.Minute, 1))) // half an hour before midnight
		lastDay("a new series", day)
		same(t, "the hour after midnight", found(day+12*time.Hour), 1)
		add(t, s, sample("p", "2", point(usage.Gauge, 0, 1)))
		lastDay("after an older sample", day)
		add(t, s, sample("p", "3", point(usage.Gauge, 3*day, 1)), sample("p", "4", point(usage.Gauge, 2*day, 1)))
		lastDay("after a younger sample", 3*day)
		for _, after := range []time.Duration{0, day + 11*time.Hour, day + 12*time.Hour, 2 * day, 3 * day} {
			same(t, fmt.Sprint("the hour ", after), found(after), 1)
		}
		same(t, "an hour without samples", found(4*day), 0)
	})
}

// Two replicas store the first samples of a series at the same time, and the replica with the younger sample must wait for the other one.
func TestTheLastDayOfANewSeriesOfTwoReplicas(t *testing.T) {
	s := migrated(t, template.PostgreSQL(t))
	tenants(t, s, "default", "p")
	younger := sample("p", "2", point(usage.Delta, 24*time.Hour, 1))
	other := s.DB().Begin()
	must(t, other.Exec(`INSERT INTO series (id, cloud, source, project_id, resource_id, meter, kind, unit, last_day)
		VALUES (?, 'default', 'openstack', 'p', 'vm', 'cpu', 'delta', 'ns', ?)`, younger.Series.ID(), noon.Unix()/(24*60*60)).Error)
	ended := make(chan error, 1)
	go func() {
		_, err := s.Usage().Add(t.Context(), noon, usage.Batch{Samples: []usage.Sample{younger}})
		ended <- err
	}()
	awaitLock(t, s)
	must(t, other.Commit().Error)
	must(t, <-ended)
	same(t, "the last day", rowsOf(t, s, "SELECT last_day FROM series")[0], fmt.Sprint(noon.Unix()/(24*60*60)+1, " "))
}

// The function awaitLock waits until a transaction waits for a lock.
func awaitLock(t *testing.T, s *store.Store) {
	t.Helper()
	const waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
	for end := time.Now().Add(10 * time.Second); rowsOf(t, s, waiting)[0] == "0 "; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no transaction waits for a lock")
		}
	}
}

// The migration finds the last days of the series that exist.
func TestMigrationOfTheLastDays(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1"), sample("p", "2", point(usage.Cumulative, 50*time.Hour, 1)))
		provider := migrations(t, s)
		_, err := provider.DownTo(t.Context(), 21)
		must(t, err)
		must(t, s.DB().Exec(`INSERT INTO series (id, cloud, source, project_id, resource_id, meter, kind, unit)
			VALUES ('empty', 'default', '', 'p', '', '', 'delta', '')`).Error)
		_, err = s.Migrate(t.Context())
		must(t, err)
		want := []string{fmt.Sprint(noon.Add(50*time.Hour).Unix()/(24*60*60), " "), "0 "}
		if got := rowsOf(t, s, "SELECT last_day FROM series ORDER BY last_day DESC"); !slices.Equal(got, want) {
			t.Errorf("the last days are %q, want %q", got, want)
		}
	})
}

// The function `migrations` returns the migrations that can be undone.
func migrations(t *testing.T, s *store.Store) *goose.Provider {
	t.Helper()
	pool, err := s.DB().DB()
	must(t, err)
	dialect := goose.DialectSQLite3
	if s.DB().Name() == "postgres" {
		dialect = goose.DialectPostgres
	}
	goCode := goose.WithGoMigrations(goose.NewGoMigration(5, nil, nil)) // this migration is not undone
	provider, err := goose.NewProvider(dialect, pool, os.DirFS("migrations"), goCode)
	must(t, err)
	return provider
}

// The function `measured` returns the usage of a part of the hour at noon.
func measured(from, to time.Duration, meter, amount string) usage.Measured {
	return usage.Measured{
		Range: usage.Range{From: noon.Add(from), To: noon.Add(to)}, Meter: meter, Kind: usage.Delta, Unit: "B",
		Amount: decimal.RequireFromString(amount), Plan: "plan", State: "active",
	}
}

func TestMeasuredUsage(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p", "q")
		tenants(t, s, "west", "p")
		hour := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Hour) }
		add(t, s, sample("p", "1"), sample("p", "2", point(usage.Delta, time.Hour, 1)), sample("q", "3"),
			sample("p", "4", func(s *usage.Sample) { s.Cloud = "west" }))
		finish := func(cloud, project string, at time.Time, found ...usage.Measured) {
			t.Helper()
			due, _ := take(t, s, noon, 10)
			i := slices.IndexFunc(due, func(d usage.Due) bool { return d.Cloud == cloud && d.Project == project && d.Hour.Equal(at) })
			must(t, s.Usage().FinishHour(t.Context(), noon, due[i], finished(due[i], found, nil)))
			for j, d := range due { // make the other hours due again
				if j != i {
					must(t, s.Usage().FinishHour(t.Context(), noon, d, finished(d, nil, []time.Time{d.Hour})))
				}
			}
		}
		read := func(cloud, project string, from, to time.Time) []usage.Measured {
			t.Helper()
			found, _, err := s.Usage().Measured(t.Context(), cloud, project, usage.Range{From: from, To: to}, 10_000)
			must(t, err)
			return found
		}
		change := func(m usage.Measured, change func(*usage.Measured)) usage.Measured { change(&m); return m }
		later := measured(time.Hour, 2*time.Hour, "cpu", "7")
		half := change(measured(30*time.Minute, time.Hour, "a", "5"), func(m *usage.Measured) { m.Plan, m.State = "", "" })
		gauge := change(measured(0, 30*time.Minute, "b", "0.000000000001"), func(m *usage.Measured) { m.Kind = usage.Gauge })
		packets := change(measured(0, 30*time.Minute, "b", "-4"), func(m *usage.Measured) { m.Unit = "packet" })
		finish("default", "q", noon, measured(0, time.Hour, "cpu", "100"))
		finish("west", "p", noon, measured(0, time.Hour, "cpu", "200"))
		finish("default", "p", hour(1), later)
		add(t, s, sample("p", "5"))
		bytes := measured(0, 30*time.Minute, "b", "12345678901234567890.000000000001")
		first := []usage.Measured{half, packets, gauge, bytes, measured(0, 30*time.Minute, "Z", "0")}
		finish("default", "p", noon, first...)
		want := []usage.Measured{first[4], bytes, packets, gauge, half}
		same(t, "the hour", fmt.Sprintf("%+v", read("default", "p", noon, hour(1))), fmt.Sprintf("%+v", want))
		same(t, "two hours", fmt.Sprintf("%+v", read("default", "p", noon, hour(2))), fmt.Sprintf("%+v", append(want, later)))
		same(t, "no hour begins", len(read("default", "p", noon.Add(time.Microsecond), hour(1))), 0)
		same(t, "the second hour begins", len(read("default", "p", noon.Add(time.Microsecond), hour(1).Add(time.Microsecond))), 1)
		same(t, "another project", read("default", "q", noon, hour(2)), []usage.Measured{measured(0, time.Hour, "cpu", "100")})
		same(t, "another cloud", read("west", "p", noon, hour(2)), []usage.Measured{measured(0, time.Hour, "cpu", "200")})

		add(t, s, sample("p", "6"))
		finish("default", "p", noon, gauge) // replaces the usage of this hour, and of no other hour
		same(t, "the replaced hour", read("default", "p", noon, hour(2)), []usage.Measured{gauge, later})

		// FinishHour changes nothing if a row cannot be stored.
		add(t, s, sample("p", "7"))
		due, _ := take(t, s, noon, 10)
		if err := s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], []usage.Measured{half, half}, []time.Time{hour(9)})); err == nil {
			t.Error("an amount was stored twice")
		}
		same(t, "the hour after an error", read("default", "p", noon, hour(2)), []usage.Measured{gauge, later})
		must(t, s.DB().Exec("UPDATE usage_amounts SET amount = 'much'").Error)
		if _, _, err := s.Usage().Measured(t.Context(), "default", "p", usage.Range{From: noon, To: hour(2)}, 10_000); err == nil {
			t.Error("an amount that is not a number was read")
		}
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], nil, nil)))
		same(t, "the hour without usage", len(read("default", "p", noon, hour(1))), 0)
	})
}

// A project with many meters has more rows than one statement can insert.
func TestManyAmounts(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1"))
		due, _ := take(t, s, noon, 1)
		var want []usage.Measured
		for i := range 6500 {
			want = append(want, measured(0, time.Hour, fmt.Sprintf("m%04d", i), "1"))
		}
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], want, nil)))
		got, _, err := s.Usage().Measured(t.Context(), "default", "p", usage.Hour(noon), 10_000)
		must(t, err)
		if !slices.EqualFunc(got, want, func(a, b usage.Measured) bool { return a.Meter == b.Meter }) {
			t.Errorf("%d amounts were read", len(got))
		}
	})
}

// The migration to the earlier schema makes the hours due that were taken or computed, and the migration to this schema can be repeated.
func TestMigrationOfUsageHours(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		add(t, s, sample("p", "1"), sample("p", "2", point(usage.Delta, time.Hour, 1)), sample("p", "3", point(usage.Delta, 2*time.Hour, 1)))
		add(t, s, sample("p", "4", point(usage.Delta, 3*time.Hour, 1)))
		due, _ := take(t, s, noon, 4)
		must(t, s.Usage().FinishHour(t.Context(), noon, due[0], finished(due[0], nil, hours(0, 2))))
		computed := usage.Measured{
			Range: usage.Range{From: noon.Add(3 * time.Hour), To: noon.Add(4 * time.Hour)}, Meter: "cpu", Kind: usage.Delta, Amount: decimal.NewFromInt(1),
		}
		must(t, s.Usage().FinishHour(t.Context(), noon, due[3], finished(due[3], []usage.Measured{computed}, nil)))
		provider := migrations(t, s)
		for range 2 {
			_, err := provider.DownTo(t.Context(), 19)
			must(t, err)
			want := []string{}
			for i := range 4 {
				want = append(want, fmt.Sprint(noon.Add(time.Duration(i)*time.Hour).UnixMicro(), " "))
			}
			if got := rowsOf(t, s, "SELECT hour FROM usage_due ORDER BY hour"); !slices.Equal(got, want) {
				t.Errorf("the due hours are %q, want %q", got, want)
			}
			_, err = s.Migrate(t.Context())
			must(t, err)
		}
		_, plain := take(t, s, noon, 10)
		same(t, "the hours", plain, []usage.Due{dueHour("p", 0, true), dueHour("p", time.Hour, true), dueHour("p", 2*time.Hour, true), dueHour("p", 3*time.Hour, true)})
	})
}

// BenchmarkUsageHour reads the samples of one hour of a project with 1,000 series, and with 60 points of each series per hour. The samples
// of earlier and later hours must not make this slower.
func BenchmarkUsageHour(b *testing.B) {
	const series, points = 1000, 60
	for _, hours := range []int{1, 50} {
		b.Run(fmt.Sprint("hours=", hours), func(b *testing.B) {
			url := storetest.PostgreSQL(b)
			s := open(b, url, secret)
			if _, err := s.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			fillHours(b, url, series, points, hours)
			d := usage.Due{Cloud: "default", Project: "p", Hour: noon.Add(time.Duration(hours/2) * time.Hour)}
			for b.Loop() {
				found, err := allRecorded(s, d)
				if err != nil || len(found) != series || len(found[series-1].Points) < points {
					b.Fatalf("%d series, %v", len(found), err)
				}
			}
		})
	}
}

// fillHours inserts samples. The first hour begins at noon.
func fillHours(b *testing.B, url string, series, points, hours int) {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close(ctx)
	_, err = db.Exec(ctx, `INSERT INTO series (id, cloud, source, project_id, resource_id, meter, kind, unit, last_day)
		SELECT left(md5(i::text), 22), 'default', 'openstack', 'p', md5(i::text), 'cpu', 'cumulative', 'ns', 100000
		FROM generate_series(1, $1::int) i`, series)
	if err == nil {
		_, err = db.Exec(ctx, `INSERT INTO samples (cloud, day, id, series_id, at, volume)
			SELECT 'default', 0, gen_random_uuid(), left(md5(i::text), 22), $4::bigint + n * (3600000000 / $2::bigint), n * 59999999999
			FROM generate_series(0, $2::bigint * $3 - 1) n, generate_series(1, $1::int) i`, series, points, hours, noon.UnixMicro())
	}
	if err == nil {
		_, err = db.Exec(ctx, "VACUUM ANALYZE samples, series")
	}
	if err != nil {
		b.Fatal(err)
	}
}

// The function `finished` returns the usage of an hour. The merchant has the name of the cloud, and the subscription the name of the project.
func finished(d usage.Due, found []usage.Measured, again []time.Time) usage.Finished {
	return usage.Finished{Usage: found, Merchant: d.Cloud, Subscription: d.Project, Again: again}
}
