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

// pause is what a run has under way when its replica is stopped: a request, or a statement. Where BillingStack refuses to attach the tenant the run
// compensates, and what is carried out late is left over, unless somebody looks for it.
type pause struct {
	call    string // as callOf names it; or "store", a step, and the state that it is brought to
	refused bool
}

// pauses hold up every write of a run, every read that an Undo makes before it writes, and checkpoints.
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
	pairs       = 10 // of replicas, each pair on a database of its own
	pausesAPair = 20
	// latest is how long after its replica was stopped a request is held up at most; pausedLateWindow is longer.
	latest           = 1700 * time.Millisecond
	pausedLateWindow = 2 * time.Second
	bothWork         = "SELECT count(*) = 2 FROM replicas"
)

// A replica is stopped in the middle of a call for longer than its lease, another takes the run over and ends it, the call is
// carried out late, and the replica goes on: it writes nothing any more, and nothing is doubled or left over.
func TestPausedForLongerThanItsLeaseAReplicaWritesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d chooses the moments", seed)
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
	t.Logf("%d things that came late were removed", lateEffects.Load())
	if lateEffects.Load() == 0 {
		t.Error("nothing came late enough to be left over")
	}
}

// pair is two replicas on one database, each calling it and the upstreams by addresses of its own, so that it is known who calls.
type pair struct {
	t        *testing.T
	cloud    cloud
	site     *site
	rng      *rand.Rand
	database string
	replicas [2]*replica

	mu      sync.Mutex
	next    pause         // what is to be held up; without a call nothing
	begun   chan struct{} // closed when it is held up
	refuse  bool          // BillingStack attaches no tenant
	held    chan held     // gets what was held up
	sleeper int           // the replica that has slept past its lease and may write nothing; -1: none
	strays  []string      // what it wrote all the same
}

// held is a request or a statement under way that waits for its release.
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

// pause makes one run, and stops the replica that works on it. On a busy machine the replica may lose its lease of a second
// before it is stopped; then that is done with another run.
func (p *pair) pause(what pause) {
	p.t.Helper()
	for range 3 {
		if p.stopIn(what) {
			return
		}
	}
	p.t.Fatalf("%v: the replica lost its lease before it could be stopped, three times: %s", what, p.site.log.read())
}

// stopIn tells whether the replica still worked on the run when it was to be stopped.
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
		p.t.Fatalf("%v: nobody made this call: %s", what, p.site.log.read())
	}
	if !strings.HasPrefix(what.call, "store") {
		// Its siblings end first, lest one of them is between its last look at the lease and the wire.
		if err := awaitTrue(p.t.Context(), p.database, oneStepUnderWay); err != nil {
			close(call.release)
			<-call.done
			var lost bool
			p.site.ok(ask(p.t.Context(), p.database, &lost, "SELECT epoch > 1 FROM runs WHERE idempotency_key = $1", key))
			if !lost {
				p.t.Fatalf("%v: its siblings do not end: %v: %s", what, err, p.site.log.read())
			}
			p.t.Log(what, "was left alone: ", err)
			p.want(what, p.site.insist(p.replicas[0].url, order))
			return false
		}
	}
	stopped, other := p.replicas[call.replica], p.replicas[1-call.replica]
	p.site.ok(stopped.cmd.Process.Signal(syscall.SIGSTOP))

	late := time.Duration(p.rng.Int64N(int64(latest)))
	if what.refused { // rather after its undo
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
		err := awaitTrue(p.t.Context(), p.database, "SELECT count(*) = 1 FROM replicas") // its lease has ended
		<-time.After(asleep)
		p.mu.Lock()
		p.sleeper = call.replica // not before: what it had sent may have been on its way
		p.mu.Unlock()
		if err := errors.Join(err, stopped.cmd.Process.Signal(syscall.SIGCONT)); err != nil {
			p.t.Error(err)
		}
	})
	answer := p.site.insist(other.url, order)
	p.site.insist(other.url, order)
	moments.Wait()
	p.site.ok(awaitTrue(p.t.Context(), p.database, bothWork)) // it has a new lease, and all that it did under the old one is over
	p.t.Logf("run %s: %s held up for %s, refused %t, gone on %s after the lease", answer.Run, what.call, late, what.refused, asleep)

	p.mu.Lock()
	defer p.mu.Unlock()
	p.sleeper = -1
	for _, stray := range p.strays {
		p.t.Errorf("run %s: the replica that had slept past its lease sent %s", answer.Run, stray)
	}
	p.want(what, answer)
	return true
}

// want looks whether an order was answered as it should be.
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

// request carries out what an upstream is asked for, late if it is to be held up.
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
		// Not before what is to be held up forward has begun: nothing begins any more once a step has failed.
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
		// An upstream that has a request carries it out, whether the caller still waits or not.
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

// hold keeps a request or a statement of a replica until it is released. The caller says when it is done.
func (p *pair) hold(replica int) (done func()) {
	h := held{replica, make(chan struct{}), make(chan struct{})}
	p.held <- h
	<-h.release
	return func() { close(h.done) }
}
