package stories_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `pause` is the request or statement during which the test stops a replica. If refused is true, BillingStack refuses to
// attach the tenant, and the run is compensated. The compensation must find and remove the late effect of the request that the test
// blocked.
type pause struct {
	call    string // a name from callOf; or "store STEP STATE" for the statement that stores this state of the step
	refused bool
}

// The variable `pauses` has every write of a run to an upstream, every read that an Undo makes before a write, and some statements
// that store a step's state.
var pauses = []pause{
	{call: "POST customers"},
	{call: "POST projects bs-customer"},
	{call: "PUT roles/member on bs-customer"},
	{call: "PUT roles/bs-admin on bs-customer"},
	{call: "POST tokens"},
	{call: "POST subscriptions"},
	{call: "POST projects bs-subscription"},
	{call: "PUT roles/member on bs-subscription"},
	{call: "PATCH subscriptions"},

	{"POST customers", true},
	{"POST projects bs-customer", true},
	{"PUT roles/member on bs-customer", true},
	{"PUT roles/bs-admin on bs-customer", true},
	{"POST subscriptions", true},
	{"POST projects bs-subscription", true},
	{"PUT roles/member on bs-subscription", true},

	{"DELETE projects bs-subscription", true},
	{"DELETE subscriptions", true},
	{"DELETE projects bs-customer", true},
	{"DELETE customers", true},
	{"GET projects", true},
	{"GET subscriptions", true},
	{"GET customers", true},

	{call: "store check succeeded"},
	{call: "store create-customer succeeded"},
	{"store create-customer undoing", true},
	{"store create-customer undone", true},
}

const (
	pairs       = 10 // number of pairs of replicas; each pair has its own database
	pausesAPair = 20
	// The constant `latest` is the maximum time for which the test blocks a request after it has stopped the replica.
	// pausedLateWindow is longer than latest.
	latest           = 1700 * time.Millisecond
	pausedLateWindow = 2 * time.Second
	bothWork         = "SELECT count(*) = 2 FROM replicas"
)

// The test stops a replica during a call, for longer than the replica's lease. Another replica takes over the run and finishes the
// run. The upstream carries out the stopped replica's call late. When the stopped replica continues, it must write nothing. No
// object may exist twice. A compensated run must leave no object.
func TestPausedForLongerThanItsLeaseAReplicaWritesNothing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var all sync.WaitGroup
	var lateEffects atomic.Int64
	for n := range pairs {
		all.Go(func() {
			t.Run(fmt.Sprint("pair ", n), func(t *testing.T) {
				p := newPair(t, rand.New(rand.NewPCG(seed, uint64(n))))
				for i := range pausesAPair {
					p.pause(pauses[(n*pausesAPair+i)%len(pauses)])
				}
				var removed int64
				p.site.ok(ask(t.Context(), p.database, &removed, "SELECT count(*) FROM events WHERE kind = $1", saga.EventLateEffect))
				lateEffects.Add(removed)
			})
		})
	}
	all.Wait()
	t.Logf("%d late effects were removed", lateEffects.Load())
	if lateEffects.Load() == 0 {
		t.Error("no late effect had to be removed")
	}
}

// The type `pair` is a pair of replicas with one database. Each replica calls the database and the upstreams at its own addresses,
// so that the test can tell the replicas' calls apart.
type pair struct {
	t        *testing.T
	cloud    cloud
	site     *site
	rng      *rand.Rand
	database string
	replicas [2]*replica

	mu      sync.Mutex
	next    pause         // the next request or statement to block; none if next.call is empty
	begun   chan struct{} // closed when the request or statement is blocked
	refuse  bool          // if true, BillingStack refuses to attach a tenant
	held    chan held     // receives the blocked request or statement
	leases  [2]string     // the id that each replica had when it last joined
	stopped int           // index of the stopped replica until it joins again; -1 if no replica is stopped
	// From the end of the stopped replica's lease until the replica joins again, sleeper is the index of this replica, which must not
	// write. Otherwise, sleeper is -1.
	sleeper int
	awake   chan struct{} // closed when the stopped replica joins again
	strays  []string      // writes that the paused replica sent; the test expects none
}

// The type `held` describes a request or an SQL statement that the test blocks.
type held struct {
	replica int
	release chan struct{}
	done    chan struct{}
}

func newPair(t *testing.T, rng *rand.Rand) *pair {
	p := &pair{t: t, rng: rng, database: storetest.PostgreSQL(t), held: make(chan held, 1), stopped: -1, sleeper: -1}
	keystone, billing := &upstream{around: p.request}, &upstream{around: p.request}
	p.cloud = memoryCloud(t, keystone)
	p.site = newSite(t, p.database, p.cloud, billing)
	for i := range p.replicas {
		own := func(u *upstream) string {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				u.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), replicaKey{}, i)))
			}))
			t.Cleanup(srv.Close)
			return srv.URL
		}
		database := proxied(t, p.database, func(sql string, parameters [][]byte) (bool, func()) {
			p.statement(i, sql, parameters)
			return true, nil
		})
		p.replicas[i] = p.site.serve("OS_AUTH_URL="+own(keystone)+"/v3", "TENANTRY_BILLING_URL="+own(billing)+"/v2",
			"TENANTRY_DATABASE_URL="+database, "TENANTRY_LATE_WINDOW="+pausedLateWindow.String())
	}
	p.site.ok(awaitTrue(t.Context(), p.database, bothWork))
	return p
}

type replicaKey struct{}

// The method `pause` sends one order, and stops the replica that executes the run. On a busy machine, the replica's lease of 1 s
// may end before `pause` stops the replica. In this case, `pause` sends another order. It sends at most three orders.
func (p *pair) pause(what pause) {
	p.t.Helper()
	for range 3 {
		if p.stopIn(what) {
			return
		}
	}
	p.t.Fatalf("%v: three times, the replica lost its lease before it could be stopped: %s", what, p.site.log.read())
}

// stopIn sends one order, and tries once to stop the replica that executes the run. The result is false if the replica lost its
// lease before stopIn could stop it.
func (p *pair) stopIn(what pause) bool {
	p.t.Helper()
	token, key := p.site.newToken(), uuid.NewString()
	order := p.site.portal(order{key: key, token: token})
	p.mu.Lock()
	p.next, p.begun, p.refuse, p.strays = what, make(chan struct{}), what.refused, nil
	p.mu.Unlock()
	var portal sync.WaitGroup
	portal.Go(func() { _, _ = p.site.subscribe(p.replicas[0].url, key, token, "Prefer", "respond-async") }) // the answer may be lost
	defer portal.Wait()

	var call held
	select {
	case call = <-p.held:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%v: no replica made this call: %s", what, p.site.log.read())
	}
	if !strings.HasPrefix(what.call, "store") {
		// Wait for the run's other calls. Otherwise, the replica could check the lease for a call, stop, and send the call later.
		if err := awaitTrue(p.t.Context(), p.database, oneStepUnderWay); err != nil {
			close(call.release)
			<-call.done
			var lost bool
			p.site.ok(ask(p.t.Context(), p.database, &lost, "SELECT epoch > 1 FROM runs WHERE idempotency_key = $1", key))
			if !lost {
				p.t.Fatalf("%v: the run's other calls do not end: %v: %s", what, err, p.site.log.read())
			}
			p.t.Log(what, "was not tested: ", err)
			p.want(what, p.site.insist(p.replicas[0].url, order))
			return false
		}
	}
	stopped, other := p.replicas[call.replica], p.replicas[1-call.replica]
	p.site.ok(stopped.cmd.Process.Signal(syscall.SIGSTOP))
	p.mu.Lock()
	lease, awake := p.leases[call.replica], make(chan struct{})
	p.stopped, p.awake = call.replica, awake
	p.mu.Unlock()

	late := time.Duration(p.rng.Int64N(int64(latest)))
	if what.refused { // with this delay, most requests take effect after their undo
		late = (late + latest) / 2
	}
	asleep := time.Duration(p.rng.Int64N(int64(time.Second)))
	var moments sync.WaitGroup
	moments.Go(func() {
		<-time.After(late)
		close(call.release)
		<-call.done
	})
	moments.Go(func() {
		// Wait until the other replica has ended the stopped replica's lease. The query does not count the replicas, because on a busy
		// machine the other replica may have lost its own lease too.
		err := awaitTrue(p.t.Context(), p.database, "SELECT NOT EXISTS (SELECT FROM replicas WHERE id = $1)", lease)
		<-time.After(asleep)
		p.mu.Lock()
		p.sleeper = p.stopped // not set earlier, so that the replica's earlier writes do not count as strays
		p.mu.Unlock()
		if err := errors.Join(err, stopped.cmd.Process.Signal(syscall.SIGCONT)); err != nil {
			p.t.Error(err)
		}
	})
	answer := p.site.insist(other.url, order)
	p.site.insist(other.url, order)
	moments.Wait()
	// Wait until the replica has joined again. By then, all calls of the replica under its old lease have ended.
	select {
	case <-awake:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("%v: the replica did not join again: %s", what, p.site.log.read())
	}
	p.site.ok(awaitTrue(p.t.Context(), p.database, bothWork))
	p.t.Logf("run %s: %s blocked for %s, refused %t, continued %s after the lease", answer.Run, what.call, late, what.refused, asleep)

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stray := range p.strays {
		p.t.Errorf("run %s: the replica that was paused past its lease sent %s", answer.Run, stray)
	}
	p.want(what, answer)
	return true
}

// The method `want` checks the status of the answer to an order.
func (p *pair) want(what pause, answer workflowstest.Answer) {
	p.t.Helper()
	want := http.StatusCreated
	if what.refused {
		want = http.StatusConflict
	}
	if answer.Status != want {
		p.t.Errorf("run %s: %d %s, want %d", answer.Run, answer.Status, answer.Body, want)
	}
}

// The method `request` handles a replica's request to an upstream. If p.next names this request, the method blocks the request until the
// test releases it.
func (p *pair) request(w *httptest.ResponseRecorder, r *http.Request, next http.Handler) {
	call := callOf(p.cloud.memory, r)
	replica, ours := r.Context().Value(replicaKey{}).(int)
	p.mu.Lock()
	if ours && replica == p.sleeper && r.Method != http.MethodGet && r.Method != http.MethodHead && call != "login" {
		p.strays = append(p.strays, call)
	}
	switch {
	case !ours:
	case p.refuse && call == "PATCH subscriptions":
		// Refuse the PATCH only after the call in p.next has begun. After a refusal, the run begins no new step, and would not
		// make that call.
		begun, forward := p.begun, strings.HasPrefix(p.next.call, "P")
		p.mu.Unlock()
		if forward {
			<-begun
		}
		http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
		return
	case p.next.call == call:
		p.take()
		p.mu.Unlock()
		done := p.hold(replica)
		defer done()
		// An upstream carries out a request even if the replica no longer waits for the answer.
		next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
		return
	}
	p.mu.Unlock()
	next.ServeHTTP(w, r)
}

// The method `statement` receives each SQL statement that a replica sends. If p.next names the SQL statement, the method blocks the
// statement until the test releases it. When a replica joins, it may write again under its new lease.
func (p *pair) statement(replica int, sql string, parameters [][]byte) {
	p.mu.Lock()
	if strings.HasPrefix(sql, "INSERT INTO replicas") {
		p.leases[replica] = string(parameters[0])
		if p.stopped == replica {
			p.stopped, p.sleeper = -1, -1
			close(p.awake)
		}
	}
	for step, state := range stepStates(parameters) {
		if p.next.call == "store "+step+" "+state {
			p.take()
			p.mu.Unlock()
			p.hold(replica)()
			return
		}
	}
	p.mu.Unlock()
}

// The method `take` clears p.next, and closes p.begun because the request or SQL statement has begun. The caller must hold p.mu.
func (p *pair) take() {
	p.next = pause{}
	close(p.begun)
}

// The method `hold` blocks a request or SQL statement of a replica until the test releases it. The caller must call the function
// `done` when the request or SQL statement has ended.
func (p *pair) hold(replica int) (done func()) {
	h := held{replica, make(chan struct{}), make(chan struct{})}
	p.held <- h
	<-h.release
	return func() { close(h.done) }
}
