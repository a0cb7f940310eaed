package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/model"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

var (
	customerRoles     = []string{"member", "bs-admin"}
	subscriptionRoles = []string{"member"}
	verbs             = []saga.VerbName{saga.Retry, saga.SkipStep, saga.Compensate, saga.Hold, saga.Cancel}
)

const (
	servicePassword = "canary-service-password"
	userPassword    = "canary-user-password"
)

// world is one simulated installation and what is asked of it.
type world struct {
	t      testing.TB
	plan   *plan
	driver *driver
	calm   bool // nothing goes wrong any more

	store     *model.Store
	cloud     *keystonetest.Keystone
	billing   *billingtest.QuirkServer
	merchants *knownMerchants
	direct    *billing.Client // past the driver

	replicas []*replica
	started  []*replica // all that ever were
	open     int        // portals that have no final answer yet
	over     bool       // nobody asks any more
	users    []string   // by order
	sellers  []seller
	before   workflowstest.Outside
	seen     workflowstest.Seen
	broken   []workflowstest.Broken // what was seen at once

	mutations
}

// simulate runs a plan to its end, when nothing goes wrong any more and everything has come to rest, and checks it.
func simulate(t testing.TB, p *plan, m mutations, keep bool) *world {
	w := &world{t: t, plan: p, mutations: m, store: model.New(time.Now), seen: workflowstest.Seen{Texts: map[string]string{}}}
	fates := p.fates(time.Now())
	w.driver = newDriver(p.Seed, func(c call) fate {
		if w.calm && !c.probe {
			return fine
		}
		return fates(c)
	})
	w.driver.keep = keep
	w.store.Unfenced = m.unfenced
	w.cloud = keystonetest.New(keystonetest.Options{
		AdminPassword: servicePassword, TokenLifetime: p.TokenLife, Random: rand.NewChaCha8([32]byte{byte(p.Seed), byte(p.Seed >> 8)}),
	})
	w.billing = billingtest.NewQuirkServer(billingtest.Options{})
	w.furnish()
	w.play()
	w.calm = true
	w.rest()
	if !w.rested() {
		w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "a run has not ended, or a portal has no answer"})
	}
	if !p.probesNeeded() {
		w.broken = append(w.broken, w.check()...)
	}
	w.night()
	w.broken = append(w.broken, w.check()...)
	w.end()
	text, err := w.store.Everything().Text()
	w.ok(err)
	w.driver.note("in the end there is %s", text)
	return w
}

// play has everything planned happen, until no portal waits any more and all troubles are over.
func (w *world) play() {
	for i := range w.plan.Replicas {
		w.replicas = append(w.replicas, w.startReplica(w.plan.ClockError[i]))
	}
	last := time.Duration(0)
	for _, i := range w.plan.Incidents {
		w.driver.after(nil, i.At, "incident", func() { w.befall(i.Replica, i.Kind, i.For) })
		last = max(last, i.At+i.For)
	}
	for n, v := range w.plan.Verbs {
		w.driver.after(nil, v.At, fmt.Sprint("verb ", n), func() { go w.askFor(n, v) })
		last = max(last, v.At)
	}
	for _, o := range w.plan.Outages {
		last = max(last, o.To)
	}
	for n, o := range w.plan.Orders {
		if o.Night == 0 {
			w.expect(n, o)
			last = max(last, o.At)
		}
	}
	w.until(last+time.Second, func() bool { return false })
}

// expect has an order come from now on.
func (w *world) expect(n int, o orderPlan) {
	for twin := range map[bool]int{false: 1, true: 2}[o.Twice] {
		w.driver.mu.Lock()
		w.open++
		w.driver.mu.Unlock()
		p := newPortal(w, n, twin, o)
		w.driver.after(nil, o.At, p.name, func() { go p.order() })
	}
}

// until drives the world for a while, or until enough is so.
func (w *world) until(limit time.Duration, enough func() bool) {
	over := false
	off := w.driver.after(nil, limit, "limit", func() { over = true })
	defer off()
	w.driver.drive(func() bool { return over || enough() })
}

// befall has an incident happen to a replica.
func (w *world) befall(i int, kind incidentKind, away time.Duration) {
	if w.calm || i < 0 || w.replicas[i].dead || w.replicas[i].hasEnded() {
		return
	}
	r := w.replicas[i]
	w.driver.note("%s %s for %v", r.name, kind, away)
	switch kind {
	case freezes:
		r.asleep = time.Now().Add(away)
	case crashes:
		w.driver.crash(r.host)
		r.stop()
	case leaves:
		r.stop()
	}
	if kind != freezes {
		w.driver.after(nil, away, "restart "+r.name, func() {
			if !w.calm { // else everybody is restarted
				w.restart(i)
			}
		})
	}
}

// leaves looks whether a request that leaves a replica for a run leaves the one that holds the run's lease.
func (w *world) leaves(r *replica, c *saga.Call) {
	if c.RunID == "" {
		return
	}
	run, err := w.store.Run(context.Background(), c.RunID)
	if err == nil && run.Replica == r.id {
		return
	}
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.broken = append(w.broken, workflowstest.Broken{
		Invariant: "one-worker", Run: c.RunID, Detail: fmt.Sprintf("%s sent a request of %s without its lease", r.name, c.Step),
	})
}

// orderOf tells which order a run is for; -1: none.
func (w *world) orderOf(runID string) int {
	order := -1
	if run, err := w.store.Run(context.Background(), runID); err == nil {
		_, _ = fmt.Sscanf(run.Key, "key-%d", &order)
	}
	return order
}

// rest lets the world come to rest: operators see to what waits for them, portals ask until they are answered.
func (w *world) rest() {
	for range 60 {
		for i := range w.replicas { // one may just have been leaving
			w.restart(i)
		}
		w.until(3*time.Minute, w.rested)
		if w.rested() {
			return
		}
		runs := w.store.Everything().Runs
		for n, r := range runs {
			if waitsForOperator(r) {
				go w.ask(fmt.Sprint("repair ", n), w.replicas[0], saga.Verb{RunID: r.ID, Name: saga.Retry, Who: "op", Why: "repaired"})
			}
		}
	}
}

// restart starts a replica anew if it has ended.
func (w *world) restart(i int) {
	if r := w.replicas[i]; r.dead || r.hasEnded() {
		w.replicas[i] = w.startReplica(w.plan.ClockError[i])
	}
}

func waitsForOperator(r *saga.Run) bool {
	return !r.State.Ended() && r.Reason != nil && r.Reason.Kind == saga.WaitsForOperator
}

func (w *world) rested() bool {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	return w.open == 0 && w.store.AllEnded()
}

// beforeProbe is how long before the probes the first orders of the night come.
const beforeProbe = 400 * time.Millisecond

// night lets the probes of compensated runs be made: between them nobody is there, which costs nothing to simulate.
func (w *world) night() {
	w.stopAll()
	for n := 1; n < 50; n++ {
		due := w.nextProbe()
		if due.IsZero() {
			return
		}
		w.until(time.Until(due)-10*time.Second, func() bool { return false })
		w.replicas = []*replica{w.startReplica(0)}
		w.until(time.Until(due)-beforeProbe, func() bool { return false })
		for i, o := range w.plan.Orders {
			if o.Night == n {
				w.expect(i, o)
			}
		}
		w.until(time.Until(due), func() bool { return false })
		w.replicas = append(w.replicas, w.startReplica(0)) // it claims as soon as it has joined
		w.until(2*time.Minute, func() bool { return false })
		w.rest()
		w.stopAll()
	}
	w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "a run is probed without end"})
}

// nextProbe is when the next probe is due; zero: none is.
func (w *world) nextProbe() (due time.Time) {
	runs := w.store.Everything().Runs
	for _, r := range runs {
		if r.Probes > 0 && (due.IsZero() || r.DueAt.Before(due)) {
			due = *r.DueAt
		}
	}
	return due
}

// stopAll has all replicas leave in good order.
func (w *world) stopAll() {
	for _, r := range w.replicas {
		r.stop()
	}
	w.until(time.Minute, func() bool {
		for _, r := range w.replicas {
			if !r.dead && !r.hasEnded() {
				return false
			}
		}
		return true
	})
	w.replicas = nil
}

// check looks at everything there is.
func (w *world) check() []workflowstest.Broken {
	all := w.store.Everything()
	w.seen.Runs, w.seen.Events = all.Runs, all.Events
	w.seen.Now, w.seen.Others = w.look(), w.before
	w.seen.Secrets = append(w.seen.Secrets, servicePassword, userPassword)
	for _, s := range w.sellers {
		w.seen.Secrets = append(w.seen.Secrets, s.secret)
	}
	w.seen.Skew = 15 * time.Second
	return workflowstest.Check(w.seen)
}

// end lets everything that still moves come to its end, so that the bubble can be left.
func (w *world) end() {
	w.driver.mu.Lock()
	w.over = true
	w.driver.mu.Unlock()
	for _, r := range w.started {
		w.driver.crash(r.host)
		r.stop()
	}
	for range 5 {
		w.driver.drive(func() bool { return false })
		time.Sleep(2 * time.Minute) // the time-outs of clients
	}
}

func (w *world) isOver() bool {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	return w.over
}

// issueToken logs a user in.
func (w *world) issueToken(user string) string {
	token := w.cloud.IssueToken(user)
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.seen.Secrets = append(w.seen.Secrets, token)
	return token
}

// serviceToken logs the service in, past the driver.
func (w *world) serviceToken() string {
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},`+
		`"password":%q}}},"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`, servicePassword)
	answer := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPost, "/v3/auth/tokens", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	w.cloud.ServeHTTP(answer, req)
	return answer.Header().Get("X-Subject-Token")
}

// told notes what somebody read, to be searched for secrets.
func (w *world) told(who, text string) {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.seen.Texts["answer to "+who] = text
}

// answered notes what a portal was told.
func (w *world) answered(a workflowstest.Answer) {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	w.seen.Answers = append(w.seen.Answers, a)
}

func (w *world) look() workflowstest.Outside {
	o, err := workflowstest.Look(context.Background(), w.cloud, w.direct, w.merchantIDs()...)
	w.ok(err)
	return o
}

func (w *world) merchantIDs() (ids []string) {
	for _, s := range w.sellers {
		ids = append(ids, s.id)
	}
	return ids
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// fenced is the transport as cmd/tenantry wraps it.
func (w *world) fenced(next http.RoundTripper) http.RoundTripper {
	if w.transport != nil {
		return w.transport(next)
	}
	return saga.Fence(next)
}

// carriedOut notes what an upstream has removed.
func (w *world) carriedOut(req *http.Request, answer *httptest.ResponseRecorder, call *saga.Call, tags []string) {
	if req.Method != http.MethodDelete || answer.Code != http.StatusNoContent && answer.Code != http.StatusOK {
		return
	}
	parts := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	removal := workflowstest.Removal{At: time.Now(), Run: call.RunID, Step: call.Step, Tags: tags}
	switch n := len(parts); {
	case strings.Contains(req.URL.Path, "/roles/"): // /v3/projects/P/users/U/roles/R
		removal.Kind, removal.ID = "role-assignment", parts[n-5]+"/"+parts[n-3]+"/"+parts[n-1]
	default: // .../projects/P, .../customers/C, .../subscriptions/S
		removal.Kind, removal.ID = strings.TrimSuffix(parts[n-2], "s"), parts[n-1]
	}
	w.seen.Removals = append(w.seen.Removals, removal)
}

// tagsOf are the tags of the project that a request would remove.
func (w *world) tagsOf(req *http.Request) []string {
	for _, p := range w.cloud.Projects() {
		if req.Method == http.MethodDelete && strings.HasSuffix(req.URL.Path, "/projects/"+p.ID) {
			return p.Tags
		}
	}
	return nil
}

// newID makes the ids of a process: they sort by time and are the same in every replay.
func newID(process, nth int) string {
	now := time.Now().UnixMilli()
	return fmt.Sprintf("%08x-%04x-7%03x-8000-%012x", now>>16, now&0xffff, process, nth)
}

// inProcess calls a handler at once.
type inProcess struct{ http.Handler }

// RoundTrip implements [http.RoundTripper].
func (i inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	req.RequestURI = req.URL.RequestURI()
	answer := httptest.NewRecorder()
	i.ServeHTTP(answer, req)
	return answer.Result(), nil
}
