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

// pause is the request or statement during which a replica is stopped. If BillingStack refuses to attach the tenant, the run
// compensates. Then a request that is carried out late leaves an effect that must be found and removed.
type pause struct {
	call    string // as callOf names it; or "store", a step, and the state that is stored
	refused bool
}

// pauses covers every write of a run, every read that an Undo makes before it writes, and checkpoints.
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
	pairs       = 10 // pairs of replicas, each with a database of its own
	pausesAPair = 20
	// latest is the longest time for which a request is held up after its replica was stopped. pausedLateWindow is longer.
	latest           = 1700 * time.Millisecond
	pausedLateWindow = 2 * time.Second
	bothWork         = "SELECT count(*) = 2 FROM replicas"
)

// A replica is stopped during a call for longer than its lease. Another replica takes the run over and ends it, and the call is
// carried out late. When the first replica continues, it must write nothing, and nothing may be doubled or left over.
func TestPausedForLongerThanItsLeaseAReplicaWritesNothing(t *testing.T) {
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

// pair is two replicas on one database. Each has its own addresses of the database and the upstreams, so that the test knows
// which replica calls.
type pair struct {
	t        *testing.T
	cloud    cloud
	site     *site
	rng      *rand.Rand
	database string
	replicas [2]*replica

	mu      sync.Mutex
	next    pause         // what is to be held up; nothing if call is empty
	begun   chan struct{} // closed when it is held up
	refuse  bool          // BillingStack refuses to attach a tenant
	held    chan held     // receives what is held up
	sleeper int           // the replica that was paused past its lease and must write nothing, or -1
	strays  []string      // what it wrote nevertheless
}

// held is a request or a statement that waits for its release.
type held struct {
	replica int
	release chan struct{}
	done    chan struct{}
}

func newPair(t *testing.T, rng *rand.Rand) *pair {
	p := &pair{t: t, rng: rng, database: storetest.PostgreSQL(t), held: make(chan held, 1), sleeper: -1}
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
		database := proxied(t, p.database, func(parameters [][]byte) (bool, func()) { p.statement(i, parameters); return true, nil })
		p.replicas[i] = p.site.serve("OS_AUTH_URL="+own(keystone)+"/v3", "TENANTRY_BILLING_URL="+own(billing)+"/v2",
			"TENANTRY_DATABASE_URL="+database, "TENANTRY_LATE_WINDOW="+pausedLateWindow.String())
	}
	p.site.ok(awaitTrue(t.Context(), p.database, bothWork))
	return p
}

type replicaKey struct{}

// pause orders one run, and stops the replica that executes it. On a busy machine that replica may lose its lease of a second
// before it is stopped. Then pause tries again with another run.
func (p *pair) pause(what pause) {
	p.t.Helper()
	for range 3 {
		if p.stopIn(what) {
			return
		}
	}
	p.t.Fatalf("%v: the replica lost its lease before it could be stopped, three times: %s", what, p.site.log.read())
}

// stopIn reports whether the replica still had its lease when it was to be stopped.
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
		// The other calls end first, so that none of them is between its check of the lease and the network.
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

	late := time.Duration(p.rng.Int64N(int64(latest)))
	if what.refused { // usually late enough that the request takes effect after its undo
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
		err := awaitTrue(p.t.Context(), p.database, "SELECT count(*) = 1 FROM replicas") // the replica's lease has ended
		<-time.After(asleep)
		p.mu.Lock()
		p.sleeper = call.replica // only now: earlier writes may have been sent under the lease
		p.mu.Unlock()
		if err := errors.Join(err, stopped.cmd.Process.Signal(syscall.SIGCONT)); err != nil {
			p.t.Error(err)
		}
	})
	answer := p.site.insist(other.url, order)
	p.site.insist(other.url, order)
	moments.Wait()
	p.site.ok(awaitTrue(p.t.Context(), p.database, bothWork)) // the replica has a new lease, and all its calls under the old one have ended
	p.t.Logf("run %s: %s held up for %s, refused %t, continued %s after the lease", answer.Run, what.call, late, what.refused, asleep)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.sleeper = -1
	for _, stray := range p.strays {
		p.t.Errorf("run %s: the replica that was paused past its lease sent %s", answer.Run, stray)
	}
	p.want(what, answer)
	return true
}

// want checks the status of an order's answer.
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

// request serves a request to an upstream, late if it is to be held up.
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
		// The refusal waits until the call that is to be held up has begun: once a step has failed, no new step begins.
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
		// An upstream carries a request out even if the caller no longer waits.
		next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
		return
	}
	p.mu.Unlock()
	next.ServeHTTP(w, r)
}

// statement sees what a replica writes to the database.
func (p *pair) statement(replica int, parameters [][]byte) {
	p.mu.Lock()
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

// take notes that what was to be held up has begun. The caller holds the lock.
func (p *pair) take() {
	p.next = pause{}
	close(p.begun)
}

// hold blocks a request or a statement of a replica until it is released. The caller calls done when it has ended.
func (p *pair) hold(replica int) (done func()) {
	h := held{replica, make(chan struct{}), make(chan struct{})}
	p.held <- h
	<-h.release
	return func() { close(h.done) }
}
