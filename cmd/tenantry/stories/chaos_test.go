package stories_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `chaos` has the parameters of a chaos test.
type chaos struct {
	subscribes, portals, users, customers int

	postgres, keystone, replicas faults
	full                         time.Duration // time for which the disk is full
	short                        bool
}

// The type `faults` describes the faults of one part, such as Keystone. The fields `from` and `to` are the minimum and maximum time
// between two faults. The field `most` is the maximum number of faults; 0 means no limit.
type faults struct {
	from, to time.Duration
	most     int
}

// The function `short` returns the parameters for `make test`, with few orders and with few faults at short intervals.
func short() chaos {
	return chaos{
		subscribes: 30, portals: 6, users: 5, customers: 2,
		postgres: faults{time.Second, 2 * time.Second, 5}, keystone: faults{500 * time.Millisecond, time.Second, 1},
		replicas: faults{time.Second, 2 * time.Second, 5}, full: time.Second, short: true,
	}
}

// The function `long` returns the parameters for `make chaos`.
func long(subscribes int) chaos {
	return chaos{
		subscribes: subscribes, portals: 24, users: 100, customers: 20,
		postgres: faults{from: 5 * time.Second, to: 40 * time.Second}, keystone: faults{from: 30 * time.Second, to: 60 * time.Second},
		replicas: faults{from: 2 * time.Second, to: 10 * time.Second}, full: 10 * time.Second,
	}
}

// TestChaos runs three replicas of the real binary, with a real PostgreSQL and a real Keystone. The test kills and restarts
// replicas, PostgreSQL and Keystone while portals subscribe users. Every order must end, and no invariant may be violated.
func TestChaos(t *testing.T) {
	c := short()
	if n := os.Getenv("TENANTRY_TEST_CHAOS"); n != "" {
		subscribes, err := strconv.Atoi(n)
		if err != nil {
			t.Fatalf("TENANTRY_TEST_CHAOS, the number of subscribes: %v", err)
		}
		c = long(subscribes)
	}
	seed := rand.Uint64()
	if given := os.Getenv("TENANTRY_TEST_CHAOS_SEED"); given != "" {
		var err error
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("TENANTRY_TEST_CHAOS_SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	w := newWorld(t, c, seed)

	begun := time.Now()
	cease := w.breakThings()
	w.subscribeAll(cease)
	w.report(time.Since(begun))
}

// The type `world` is an installation in a chaos test.
type world struct {
	chaos

	t        *testing.T
	seed     uint64
	postgres *ownPostgres
	keystone *daemon
	site     *site
	replicas []*keptReplica
	orders   []order

	ended       atomic.Int64 // number of orders that have ended
	held        int          // number of retries by the operator
	onePostgres sync.Mutex   // locked during a fault of PostgreSQL

	mu        sync.Mutex
	counts    map[string]int // number of faults, by kind
	last      time.Time      // time of the last fault
	endedFull int            // number of times that PostgreSQL exited while its disk was full
}

func newWorld(t *testing.T, c chaos, seed uint64) *world {
	w := &world{chaos: c, t: t, seed: seed, counts: map[string]int{}}
	h := newHome(t)
	w.postgres = newPostgres(t, h)
	cloud, keystone := ownKeystone(t, h, &upstream{})
	w.keystone = keystone
	if w.postgres.disk == nil && !c.short {
		t.Fatal("run the test as root: only root can mount the small disk that the test fills")
	}
	if !c.short {
		_ = t.TempDir()      // creates the log's directory first, so that the directory is removed last
		t.Cleanup(w.keepLog) // runs after the site's checks, and before the log's directory is removed
	}
	w.site = newSite(t, w.postgres.url, cloud, &upstream{around: refuseEvery(6)})
	w.site.env = append(w.site.env, "TENANTRY_DOMAIN="+cloud.domain, "TENANTRY_LEASE=2s", "TENANTRY_LATE_WINDOW=3s")
	customers := make([]string, c.customers)
	for i := range customers {
		customers[i] = w.site.existing()
	}
	tokens := make([]string, c.users)
	for i := range tokens {
		tokens[i] = w.site.newToken()
	}
	for i := range c.subscribes {
		o := order{key: fmt.Sprint("order-", i), token: tokens[i%len(tokens)]}
		if i%7 == 3 {
			o.customer = customers[i/7%len(customers)]
		}
		w.orders = append(w.orders, o)
	}
	var err error
	w.site.others, err = workflowstest.Look(t.Context(), cloud.all, w.site.billing, w.site.merchant.ID)
	w.site.ok(err)
	for range 3 {
		w.replicas = append(w.replicas, w.site.keepReplica())
	}
	return w
}

// subscribeAll places all orders, several at a time, and repeats each call until its answer is final. subscribeAll stops the
// injection of faults when the last order has started.
func (w *world) subscribeAll(cease func()) {
	orders := make(chan int)
	var portals sync.WaitGroup
	stop := make(chan struct{})
	var operator sync.WaitGroup
	operator.Go(func() { w.held = w.site.operate(stop, func(n int) string { return w.somewhere(n)() }) })
	for range w.portals {
		portals.Go(func() {
			for i := range orders {
				if _, err := w.site.insistAt(w.somewhere(i), w.site.portal(w.orders[i]), patience); err != nil {
					w.t.Error(err)
				}
				w.ended.Add(1)
			}
		})
	}
	for i := range w.orders {
		orders <- i
	}
	close(orders)
	cease()
	portals.Wait()
	close(stop)
	operator.Wait()
	for i := range w.orders { // a repeated order must get the same answer as before
		if _, err := w.site.insistAt(w.somewhere(i), w.site.portal(w.orders[i]), patience); err != nil {
			w.t.Error(err)
		}
	}
}

// The method `somewhere` returns a function that chooses a replica. Each call of this function returns the address of the next
// replica that is up.
func (w *world) somewhere(from int) func() string {
	return func() string {
		for range len(w.replicas) {
			from++
			if url := w.replicas[from%len(w.replicas)].address(); url != "" {
				return url
			}
		}
		return "http://127.0.0.1:1"
	}
}

// The method `report` prints the faults and the results.
func (w *world) report(took time.Duration) {
	t := w.t
	var succeeded, compensated, last int64
	const ended = "SELECT count(*) FROM runs WHERE state = $1"
	w.site.ok(ask(t.Context(), w.postgres.url, &succeeded, ended, "succeeded"))
	w.site.ok(ask(t.Context(), w.postgres.url, &compensated, ended, "compensated"))
	w.site.ok(ask(t.Context(), w.postgres.url, &last, "SELECT max(ended_at) FROM runs"))
	for _, what := range []string{frozen, shutDown, crashed, fullDisk, down, killed} {
		t.Logf("%4d times: %s", w.counted(what), what)
	}
	for what, n := range map[string]int{
		"PostgreSQL was never broken": w.counted(frozen) + w.counted(shutDown) + w.counted(crashed),
		"Keystone was never killed":   w.counted(down), "no replica was ever killed": w.counted(killed),
	} {
		if n == 0 {
			t.Error(what)
		}
	}
	noRoom := w.postgres.noRoom()
	t.Logf("on the full disk PostgreSQL failed to write %d times, and ended %d times", noRoom, w.endedFull)
	if w.postgres.disk != nil && noRoom == 0 {
		t.Error("PostgreSQL did not run out of disk space")
	}
	if compensated == 0 || succeeded == 0 || int(succeeded+compensated) != w.subscribes {
		t.Errorf("of %d orders %d succeeded and %d were compensated", w.subscribes, succeeded, compensated)
	}
	again := 0
	for _, r := range w.replicas {
		again += r.refusals()
	}
	t.Logf("%d times a replica did not start, because PostgreSQL was down", again)

	t.Logf("%d orders: %d runs succeeded, %d were compensated, in %s, %.1f a second", w.subscribes, succeeded, compensated,
		took.Round(time.Second/10), float64(w.subscribes)/took.Seconds())
	t.Logf("an operator retried %d runs that were taken over too often", w.held)
	t.Logf("the last run ended %s after the last fault", time.UnixMicro(last).Sub(w.last).Round(time.Second/10))
}

// keepLog writes the replicas' output to a file if the test has failed. If the test is repeated, it may succeed, and then does
// not show the cause.
func (w *world) keepLog() {
	if !w.t.Failed() || w.site == nil {
		return
	}
	path := filepath.Join(os.TempDir(), fmt.Sprint("tenantry-chaos-", w.seed, ".log"))
	if err := os.WriteFile(path, []byte(w.site.log.read()), 0o600); err != nil {
		w.t.Error(err)
	}
	w.t.Log("the output of the replicas is in " + path)
}
