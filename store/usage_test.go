package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/usage"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

func onEach(t *testing.T, test func(t *testing.T, s *store.Store)) {
	for name, url := range map[string]func(testing.TB) string{"SQLite": template.SQLite, "PostgreSQL": template.PostgreSQL} {
		t.Run(name, func(t *testing.T) { test(t, migrated(t, url(t))) })
	}
}

func TestMeterKeys(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
		first, _, err := usage.NewKey(rand.Reader, "default", now)
		must(t, err)
		second, _, err := usage.NewKey(rand.Reader, "west", now.Add(time.Second))
		must(t, err)
		must(t, s.Usage().CreateMeterKey(t.Context(), first))
		must(t, s.Usage().CreateMeterKey(t.Context(), second))
		if err := s.Usage().CreateMeterKey(t.Context(), first); err == nil {
			t.Error("a key was stored twice")
		}
		got, err := s.Usage().MeterKey(t.Context(), first.Key)
		must(t, err)
		same(t, "the key", got, first)
		for _, later := range []time.Duration{time.Hour, 2 * time.Hour} { // the second revocation changes nothing
			got, err = s.Usage().RevokeMeterKey(t.Context(), first.Key, now.Add(later))
			must(t, err)
			revoked := now.Add(time.Hour)
			first.RevokedAt = &revoked
			same(t, "the revoked key", got, first)
		}
		all, err := s.Usage().MeterKeys(t.Context())
		must(t, err)
		if !reflect.DeepEqual(all, []usage.MeterKey{first, second}) {
			t.Errorf("the keys are %+v", all)
		}
		if _, err := s.Usage().MeterKey(t.Context(), "tm_none"); !errors.Is(err, usage.ErrNoKey) {
			t.Errorf("no such key: %v", err)
		}
		if _, err := s.Usage().RevokeMeterKey(t.Context(), "tm_none", now); !errors.Is(err, usage.ErrNoKey) {
			t.Errorf("no such key to revoke: %v", err)
		}
	})
}

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// The function `sample` returns a sample of the project that was measured at noon.
func sample(project, id string, change ...func(*usage.Sample)) usage.Sample {
	s := usage.Sample{
		Series: usage.Series{Cloud: "default", Source: "openstack", Project: project, Resource: "vm", Meter: "cpu", Kind: usage.Cumulative},
		ID:     id, Unit: "ns", Volume: decimal.RequireFromString("12345678901234567890.5"), At: noon,
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

// The function `tenants` stores a run that has made the projects.
func tenants(t *testing.T, s *store.Store, cloud string, projects ...string) {
	t.Helper()
	var objects []saga.Object
	for _, p := range projects {
		objects = append(objects, saga.Object{Step: "a", Kind: "project", Cloud: cloud, ID: p, Name: "bs-subscription-" + p, Origin: saga.Own})
	}
	storetest.Record(t, s, objects...)
}

// rowsOf returns the rows of a query, one text each.
func rowsOf(t *testing.T, s *store.Store, query string) (all []string) {
	t.Helper()
	rows, err := s.DB().Raw(query).Rows()
	must(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		must(t, rows.Scan(values...))
		text := ""
		for _, v := range values {
			text += fmt.Sprint(*v.(*any), " ")
		}
		all = append(all, text)
	}
	must(t, rows.Err())
	return all
}

func TestSamplesAreStoredOnce(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p", "q")
		tenants(t, s, "west", "w")
		at := func(d time.Duration) func(*usage.Sample) { return func(s *usage.Sample) { s.At = s.At.Add(d) } }
		gauge := func(s *usage.Sample) { s.Kind, s.Meter = usage.Gauge, "vcpus" }
		other := func(s *usage.Sample) { s.Cloud = "west" }
		b := usage.Batch{
			Samples: []usage.Sample{
				sample("p", "1"), sample("p", "2", at(time.Minute)), sample("p", "1"), // the last one is a duplicate
				sample("p", "1", at(24*time.Hour)), // another day: Ceilometer does not use an id twice
				sample("q", "3", gauge, at(30*time.Minute)),
				sample("stranger", "4"), sample("stranger", "5", at(-time.Hour)),
				sample("w", "6"), sample("w", "1", other), // project w belongs to the cloud west
			},
			Apart: []usage.Apart{{Cloud: "default", Reason: "no project", Raw: `{"id": "7"}`}, {Cloud: "default", Reason: "no project", Raw: `{"id": "7"}`}},
		}
		added, err := s.Usage().Add(t.Context(), noon, b)
		must(t, err)
		same(t, "the first time", added, usage.Added{Stored: 5, Known: 1, Foreign: 3})
		added, err = s.Usage().Add(t.Context(), noon.Add(time.Minute), b)
		must(t, err)
		same(t, "again", added, usage.Added{Known: 6, Foreign: 3})

		cpu, vcpus, west := sample("p", "").Series.ID(), sample("q", "", gauge).Series.ID(), sample("w", "", other).Series.ID()
		micro := func(d time.Duration) int64 { return noon.Add(d).UnixMicro() }
		day := noon.Unix() / (24 * 60 * 60)
		for query, want := range map[string][]string{
			"SELECT cloud, id, series_id, at, volume FROM samples ORDER BY cloud, id, at": {
				fmt.Sprint("default 1 ", cpu, " ", micro(0), " 12345678901234567890.5 "),
				fmt.Sprint("default 1 ", cpu, " ", micro(24*time.Hour), " 12345678901234567890.5 "),
				fmt.Sprint("default 2 ", cpu, " ", micro(time.Minute), " 12345678901234567890.5 "),
				fmt.Sprint("default 3 ", vcpus, " ", micro(30*time.Minute), " 12345678901234567890.5 "),
				fmt.Sprint("west 1 ", west, " ", micro(0), " 12345678901234567890.5 "),
			},
			"SELECT cloud, project_id, resource_id, meter, kind, unit, last_day FROM series ORDER BY cloud, project_id": {
				fmt.Sprint("default p vm cpu cumulative ns ", day+1, " "), fmt.Sprint("default q vm vcpus gauge ns ", day, " "),
				fmt.Sprint("west w vm cpu cumulative ns ", day, " "),
			},
			"SELECT cloud, project_id, hour FROM usage_due ORDER BY cloud, project_id, hour": {
				fmt.Sprint("default p ", micro(0), " "), fmt.Sprint("default p ", micro(24*time.Hour), " "),
				fmt.Sprint("default q ", micro(0), " "), fmt.Sprint("default q ", micro(time.Hour), " "), fmt.Sprint("west w ", micro(0), " "),
			},
			"SELECT * FROM foreign_meters":                                 {fmt.Sprint("default cpu 6 ", micro(-time.Hour), " ", micro(0), " ")},
			"SELECT cloud, reason, sample, received_at FROM apart_samples": {fmt.Sprint(`default no project {"id": "7"} `, noon.UnixMicro(), " ")},
		} {
			if got := rowsOf(t, s, query); !slices.Equal(got, want) {
				t.Errorf("%s:\n got %q\nwant %q", query, got, want)
			}
		}
	})
}

func TestOldSamplesAreDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		before := noon.Add(-36 * 24 * time.Hour)
		add := func(now time.Time, id string, at time.Time) {
			t.Helper()
			_, err := s.Usage().Add(t.Context(), now, usage.Batch{
				Samples: []usage.Sample{sample("p", id, func(s *usage.Sample) { s.At = at })},
				Apart:   []usage.Apart{{Cloud: "default", Reason: id}},
			})
			must(t, err)
		}
		add(noon.Add(-31*24*time.Hour), "old", before.Truncate(24*time.Hour).Add(-time.Microsecond))
		add(noon.Add(-29*24*time.Hour), "young", before)
		add(noon, "new", noon)
		for range 2 {
			must(t, s.Usage().DeleteOld(t.Context(), before, noon.Add(-30*24*time.Hour)))
			if got := rowsOf(t, s, "SELECT id FROM samples ORDER BY at"); !slices.Equal(got, []string{"young ", "new "}) {
				t.Errorf("the samples are %q", got)
			}
			if got := rowsOf(t, s, "SELECT reason FROM apart_samples ORDER BY received_at"); !slices.Equal(got, []string{"young ", "new "}) {
				t.Errorf("the samples apart are %q", got)
			}
		}
	})
}

// The number of foreign meters is limited for each cloud, also if several replicas count new meters at the same time.
func TestForeignMetersAreLimited(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		var all sync.WaitGroup
		const workers, rounds, meters = 6, 10, 50
		for worker := range workers {
			all.Go(func() {
				for n := range rounds {
					var b usage.Batch
					for i := range meters {
						change := func(s *usage.Sample) { s.Meter = fmt.Sprint(worker, "-", n, "-", i) }
						b.Samples = append(b.Samples, sample("stranger", fmt.Sprint(worker, "-", n, "-", i), change), sample("stranger", fmt.Sprint("common", i), func(s *usage.Sample) {
							s.Meter = fmt.Sprint("common", i%7)
						}))
					}
					b.Samples = append(b.Samples, sample("stranger", "w", func(s *usage.Sample) { s.Cloud = "west" }))
					added, err := s.Usage().Add(context.Background(), noon, b)
					if err != nil || added != (usage.Added{Foreign: 2*meters + 1}) {
						t.Errorf("worker %d: %+v, %v", worker, added, err)
					}
				}
			})
		}
		all.Wait()
		const total = workers * rounds * meters
		for query, want := range map[string]string{
			"SELECT COUNT(*) FROM foreign_meters WHERE cloud = 'default'":                           "1001 ",
			"SELECT SUM(samples) FROM foreign_meters WHERE cloud = 'default'":                       fmt.Sprint(2*total, " "),
			"SELECT samples FROM foreign_meters WHERE cloud = 'default' AND meter = '(others)'":     fmt.Sprint(total-(1000-7), " "),
			"SELECT SUM(samples) FROM foreign_meters WHERE cloud = 'default' AND meter LIKE 'com%'": fmt.Sprint(total, " "),
			"SELECT meter, samples FROM foreign_meters WHERE cloud = 'west'":                        fmt.Sprint("cpu ", workers*rounds, " "),
		} {
			if got := rowsOf(t, s, query); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: got %q, want %q", query, got, want)
			}
		}
	})
}

// A series is deleted with its last sample. There are more series than one transaction deletes.
func TestSeriesWithoutSamplesAreDeleted(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		var b usage.Batch
		server := func(n int, at time.Time) {
			b.Samples = append(b.Samples, sample("p", fmt.Sprint(n, at), func(s *usage.Sample) { s.Resource, s.At = fmt.Sprint(n), at }))
		}
		old := noon.Add(-38 * 24 * time.Hour)
		for n := range 1300 {
			server(n, old)
			if n%100 == 0 { // this server still exists
				server(n, noon)
			}
		}
		_, err := s.Usage().Add(t.Context(), noon, b)
		must(t, err)
		for range 2 {
			must(t, s.Usage().DeleteOld(t.Context(), noon.Add(-37*24*time.Hour), noon))
			if got := rowsOf(t, s, "SELECT resource_id FROM series ORDER BY id"); len(got) != 13 || slices.Contains(got, "1 ") {
				t.Errorf("the series are those of the servers %q", got)
			}
			if got := rowsOf(t, s, "SELECT id FROM samples"); len(got) != 13 {
				t.Errorf("the samples are %q", got)
			}
		}
		add(t, s, sample("p", "again", func(s *usage.Sample) { s.Resource = "1" }))
		if got := rowsOf(t, s, "SELECT resource_id FROM series WHERE resource_id = '1'"); len(got) != 1 {
			t.Error("the series of a new sample was not stored again")
		}
	})
}

// A sample of a series without samples is being stored while DeleteOld runs. The series is not deleted, and DeleteOld does not keep other
// transactions from storing samples for long.
func TestASeriesIsNotDeletedWhileASampleIsBeingStored(t *testing.T) {
	s := migrated(t, template.PostgreSQL(t))
	tenants(t, s, "default", "p")
	add(t, s, sample("p", "1"))
	must(t, s.DB().Exec("DELETE FROM samples").Error)
	samples := s.DB().Begin()
	must(t, samples.Exec("SELECT pg_advisory_xact_lock_shared(2118797138)").Error) // usageLock
	must(t, samples.Exec("INSERT INTO samples (cloud, day, id, series_id, at, volume) SELECT 'default', 30000, '2', id, ?, '1' FROM series", noon.UnixMicro()).Error)
	ended := make(chan error)
	go func() { ended <- s.Usage().DeleteOld(t.Context(), noon.Add(-37*24*time.Hour), noon) }()
	began := time.Now()
	for i := 0; ; i++ {
		_, err := s.Usage().Add(limited(t, 2*time.Second), noon, usage.Batch{Samples: []usage.Sample{sample("p", fmt.Sprint("during", i), func(s *usage.Sample) { s.Resource = "other" })}})
		must(t, err)
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(err.Error(), "lock timeout") || time.Since(began) < 900*time.Millisecond {
				t.Errorf("a transaction was storing samples, but DeleteOld returned %v after %v", err, time.Since(began))
			}
			must(t, samples.Commit().Error)
			must(t, s.Usage().DeleteOld(t.Context(), noon.Add(-37*24*time.Hour), noon))
			if got := rowsOf(t, s, "SELECT resource_id FROM series ORDER BY resource_id"); !slices.Equal(got, []string{"other ", "vm "}) {
				t.Errorf("the series are %q", got)
			}
			return
		default:
		}
	}
}

// Samples are stored and deleted at the same time. In the end, each sample has its series.
func TestEachSampleHasASeries(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p")
		var adders, deleter sync.WaitGroup
		stop := make(chan struct{})
		for worker := range 4 {
			adders.Go(func() {
				for n := range 400 {
					var b usage.Batch
					for i := range 5 {
						b.Samples = append(b.Samples, sample("p", fmt.Sprint(worker, "-", n, "-", i), func(s *usage.Sample) {
							s.Resource = fmt.Sprint(n/10*5 + i)
							if n%10 < 9 { // DeleteOld deletes this sample
								s.At = noon.Add(-38 * 24 * time.Hour)
							}
						}))
					}
					if _, err := s.Usage().Add(context.Background(), noon, b); err != nil {
						t.Error(err)
					}
				}
			})
		}
		deleter.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := s.Usage().DeleteOld(context.Background(), noon.Add(-37*24*time.Hour), noon)
				if err != nil && !strings.Contains(err.Error(), "lock timeout") {
					t.Error(err)
				}
				if orphans := rowsOf(t, s, "SELECT id FROM samples WHERE series_id NOT IN (SELECT id FROM series)"); len(orphans) > 0 {
					t.Errorf("these samples have no series: %q", orphans)
					return
				}
			}
		})
		adders.Wait()
		close(stop)
		deleter.Wait()
	})
}

// Ceilometer sends the same samples to several replicas, in different orders. The replicas store them at the same time.
func TestTheSameSamplesDoNotLockEachOtherOut(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p0", "p1", "p2")
		var all sync.WaitGroup
		var stored atomic.Int64
		for worker := range 8 {
			all.Go(func() {
				for n := range 10 {
					var b usage.Batch
					for i := range 200 {
						i = (i*(2*worker+1) + worker) % 200
						b.Samples = append(b.Samples, sample(fmt.Sprint("p", i%3), fmt.Sprint(n, "-", i)))
						b.Apart = append(b.Apart, usage.Apart{Cloud: "default", Reason: "bad", Raw: fmt.Sprint(n, "-", i)})
					}
					added, err := s.Usage().Add(context.Background(), noon, b)
					if err != nil {
						t.Errorf("worker %d: %v", worker, err)
					}
					stored.Add(int64(added.Stored))
				}
			})
		}
		all.Wait()
		if apart := rowsOf(t, s, "SELECT id FROM apart_samples"); stored.Load() != 10*200 || len(apart) != 10*200 {
			t.Errorf("%d samples were stored, and %d were kept apart", stored.Load(), len(apart))
		}
	})
}

// BenchmarkAddSamples stores batches with a sample of each project. The time per sample must not grow with the number of samples.
func BenchmarkAddSamples(b *testing.B) {
	for _, projects := range []int{250, 2000} {
		b.Run(fmt.Sprint("projects=", projects), func(b *testing.B) {
			s := open(b, storetest.PostgreSQL(b), secret)
			if _, err := s.Migrate(b.Context()); err != nil {
				b.Fatal(err)
			}
			var objects []saga.Object
			for i := range projects {
				objects = append(objects, saga.Object{Step: "a", Kind: "project", Cloud: "default", ID: fmt.Sprint("p", i), Origin: saga.Own})
			}
			storetest.Record(b, s, objects...)
			round := 0
			for b.Loop() {
				var batch usage.Batch
				for i := range projects {
					batch.Samples = append(batch.Samples, sample(fmt.Sprint("p", i), fmt.Sprint(round, "-", i)))
				}
				round++
				if added, err := s.Usage().Add(b.Context(), noon, batch); err != nil || added.Stored != projects {
					b.Fatalf("%+v, %v", added, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*projects), "us/sample")
		})
	}
}

// Replicas store samples of the same projects at the same time, in different orders.
func TestBatchesDoNotLockEachOtherOut(t *testing.T) {
	onEach(t, func(t *testing.T, s *store.Store) {
		tenants(t, s, "default", "p0", "p1", "p2", "p3")
		var all sync.WaitGroup
		var stored sync.Map
		for worker := range 8 {
			all.Go(func() {
				for n := range 10 {
					var b usage.Batch
					for i := range 20 {
						project := fmt.Sprint("p", (i*(worker+1)+n)%6) // p4 and p5 are strangers
						b.Samples = append(b.Samples, sample(project, fmt.Sprint(worker, "-", n, "-", i), func(s *usage.Sample) {
							s.Meter = fmt.Sprint("m", (i*(worker+3))%5)
						}))
					}
					added, err := s.Usage().Add(context.Background(), noon, b)
					if err != nil {
						t.Errorf("worker %d: %v", worker, err)
					}
					stored.Store(fmt.Sprint(worker, " ", n), added.Stored+added.Foreign)
				}
			})
		}
		all.Wait()
		total := 0
		stored.Range(func(_, n any) bool { total += n.(int); return true })
		if total != 8*10*20 {
			t.Errorf("%d samples were stored or counted", total)
		}
	})
}
