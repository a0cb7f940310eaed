package stories_test

import (
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantry/tenantry/billing"
	metering "github.com/tenantry/tenantry/orchestrator/usage"
)

// Ceilometer posts the samples of an hour while BillingStack closes each connection without an answer, from a post of usage on. Meanwhile, PostgreSQL is stopped, and the
// replica is killed with posts in its spool. Each post that is answered with 2xx is answered in time, each of its samples is in the database
// once, and in the end the usage is in BillingStack once. BillingStack has another value under the id of one row: the value stays, and is
// reported. TENANTRY_TEST_AWAY is the time for which PostgreSQL is stopped.
func TestNoUsageIsLostWhilePostgreSQLAndBillingStackAreAway(t *testing.T) {
	t.Parallel()
	away := 20 * time.Second
	if given := os.Getenv("TENANTRY_TEST_AWAY"); given != "" {
		var err error
		if away, err = time.ParseDuration(given); err != nil {
			t.Fatalf("TENANTRY_TEST_AWAY: %v", err)
		}
	}
	pg := newPostgres(t, newHome(t))
	var lastPost, down atomic.Bool // if lastPost is true, BillingStack goes away at the next post of usage
	var refused atomic.Int64
	s := newSite(t, pg.url, memoryCloud(t, &upstream{}), &upstream{around: func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
		if lastPost.Load() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/usage") {
			down.Store(true)
		}
		if down.Load() {
			refused.Add(1)
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	}})
	product := s.sells("requests", 0.05)
	env := "TENANTRY_USAGE_SPOOL=" + filepath.Join(t.TempDir(), "spool")
	first := s.serve(env)
	m := s.metered(first.url)
	if listed := string(s.run("meter-key", "list")); !strings.Contains(listed, m.key) || strings.Contains(listed, m.secret) {
		t.Errorf("the keys are %s", listed)
	}
	hour := time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)
	foreign := metering.RowID(m.subscription, product.ID, metering.Hour(hour), 0)
	_, err := s.billing.CreateUsage(t.Context(), s.merchant.ID, billing.Usage{
		ID: foreign, SubscriptionID: m.subscription, ProductID: product.ID, Measure: "requests", Value: new(float64(999)),
	})
	s.ok(err)
	m.posts(first.url, m.used(hour, 2), m.used(hour.Add(time.Minute), 3))
	m.foreign = map[string]bool{foreign: true}
	differing := func(url string) bool {
		return slices.ContainsFunc(m.account(url).Rows, func(r usageRow) bool { return r.ID == foreign && r.State == "differing" })
	}

	lastPost.Store(true)
	var mu sync.Mutex
	var sent, answered []measurement
	var waiting int
	// The function `many` posts samples with several workers for the duration `long`.
	many := func(long time.Duration, url string) {
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				began := time.Now()
				for n := 0; time.Since(began) < long; n++ {
					at := hour.Add(time.Hour + time.Duration(n%3000)*time.Second).Add(time.Duration(worker) * time.Millisecond)
					samples := []measurement{m.used(at, 1), m.used(at, 2)}
					begun := time.Now()
					status, spooled, err := m.post(url, samples...)
					took := time.Since(begun)
					mu.Lock()
					sent = append(sent, samples...)
					switch {
					case err != nil: // the replica was killed
					case status != http.StatusAccepted || took > 5*time.Second:
						t.Errorf("a post was answered with %d after %v", status, took)
					default:
						answered = append(answered, samples...)
					}
					if spooled {
						waiting++
					}
					mu.Unlock()
					time.Sleep(30 * time.Millisecond)
				}
			})
		}
		all.Wait()
	}
	many(time.Second, first.url)
	s.eventually("a post of usage is refused", func() bool { return refused.Load() > 0 })
	if !pg.down(syscall.SIGINT, away) {
		t.Fatal("PostgreSQL was not running")
	}
	stopped := time.Now()
	many(away-3*time.Second, first.url)
	first.kill() // with posts in the spool
	mu.Lock()
	if waiting == 0 {
		t.Error("no post went to the spool")
	}
	mu.Unlock()
	pg.await(func() error {
		conn, err := pgx.Connect(t.Context(), pg.url)
		if err != nil {
			return err
		}
		return conn.Close(t.Context())
	})
	t.Log("PostgreSQL was down for", time.Since(stopped).Round(time.Second))
	s.fiveMinutesPass()
	lastPost.Store(false)
	down.Store(false)
	second := s.serve(env)
	many(time.Second, second.url)

	// Posts that were not answered, because the replica was killed, may be in the database or not.
	s.eventually("all answered samples are in the database", func() bool {
		stored := s.storedSamples()
		return !slices.ContainsFunc(answered, func(one measurement) bool { return !stored[one.ID] })
	})
	m.isBilled(func() string { return second.url }, true, func() map[string]*big.Rat {
		stored := s.storedSamples()
		return expected(slices.DeleteFunc(slices.Clone(sent), func(one measurement) bool { return !stored[one.ID] }))
	})
	s.eventually("BillingStack's other value is found", func() bool { return differing(second.url) })
	if u := m.inBillingStack()[foreign]; *u.Value != 999 {
		t.Errorf("BillingStack has %+v", u)
	}
	var unmatched struct{ Unmatched []map[string]any }
	s.env = append(s.env, "TENANTRY_URL="+second.url)
	s.unmarshal(s.run("usage", "unmatched", "--merchant", s.merchant.ID, "-f", "json"), &unmatched)
	want := []map[string]any{{
		"reason": "differs", "meter": "requests", "subscription_id": m.subscription, "amount": "5",
		"first_hour": hour.Format(time.RFC3339), "last_hour": hour.Format(time.RFC3339),
	}}
	if !reflect.DeepEqual(unmatched.Unmatched, want) {
		t.Errorf("the unmatched usage is %v, want %v", unmatched.Unmatched, want)
	}
	t.Log(len(answered), "samples,", waiting, "posts in the spool,", refused.Load(), "calls to BillingStack refused,", len(m.inBillingStack()), "rows")
}

// storedSamples returns the ids of the samples in the database. If a sample is stored twice, the test fails.
func (s *site) storedSamples() map[string]bool {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.database)
	s.ok(err)
	defer func() { _ = conn.Close(s.t.Context()) }()
	rows, err := conn.Query(s.t.Context(), "SELECT id FROM samples")
	s.ok(err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.ok(err)
	stored := map[string]bool{}
	for _, id := range ids {
		if stored[id] {
			s.t.Errorf("the sample %s is stored twice", id)
		}
		stored[id] = true
	}
	return stored
}
