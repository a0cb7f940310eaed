package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/model"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

var (
	customerRoles     = []string{"member", "bs-admin"}
	subscriptionRoles = []string{"member"}
	actions           = []saga.ActionName{saga.Retry, saga.SkipStep, saga.Compensate, saga.Hold, saga.Cancel}
)

const (
	servicePassword = "canary-service-password"
	userPassword    = "canary-user-password"
)

// The type `world` is one simulated installation and the requests to it.
type world struct {
	t      testing.TB
	plan   *plan
	driver *driver
	calm   bool // most faults are over: see the method `fates`

	store     *model.Store
	cloud     *keystonetest.Keystone
	billing   *billingtest.QuirkServer
	merchants *knownMerchants
	direct    *billing.Client // a client whose calls do not pass through the driver

	replicas []*replica
	started  []*replica      // all replicas, including replicas that have ended
	open     int             // number of portals without a final answer
	over     bool            // true if portals must stop repeating their orders
	users    []string        // one user for each order
	roles    []keystone.Role // customerRoles
	sellers  []seller
	before   workflowstest.Outside
	recorder *workflowstest.Recorder
	seen     workflowstest.Seen
	broken   []workflowstest.Broken // violations seen during the simulation
	record   *record                // nil if not requested

	faults    func(c call, calm bool) fate
	findings  map[string]audit.Finding // the findings of the operator's last audit, by id
	planned   int                      // number of repair plans so far
	refused   map[string]saga.Code     // the codes with which repairs were refused, by idempotency key
	hopeless  map[string]bool          // the ids of findings whose repairs were refused although no faults happened
	touched   map[string]bool          // the subjects that the vandal has damaged again, after the first repairs
	lost      []saga.ObjectRef         // the objects that the vandal has deleted
	strangers []keystone.Project       // the projects that the vandal has created; no run may change them
	renamed   []saga.ObjectRef         // the tenants that the vandal has renamed

	signUps *signUps // nil if the plan has no registrations
	books   books
	skipped bool // the world waited until a run expired; re-checks of other runs may be in progress before the night

	mutations
	late     []lateChange   // changes that took effect after the late window
	leftOver []audit.Object // objects that runs have left because of a skipped undo; found by the last audit
}

// The function `simulate` runs a plan until all faults are over and the world is at rest. `simulate` then checks the invariants.
func simulate(t testing.TB, p *plan, m mutations, keep bool) *world {
	w := &world{
		t: t, plan: p, mutations: m, store: model.New(time.Now), seen: workflowstest.Seen{Installation: installation, Texts: map[string]string{}},
		refused: map[string]saga.Code{}, hopeless: map[string]bool{}, touched: map[string]bool{},
	}
	w.faults = p.fates(time.Now())
	w.driver = newDriver(p.Seed, func(c call) fate { return w.faults(c, w.calm) })
	w.driver.keep = keep
	w.store.Unfenced = m.unfenced
	if keep || *recordFlag != "" {
		w.record = &record{}
	}
	var rules keystonetest.PasswordRules
	if p.registers() {
		w.signUps = newSignUps()
		rules = keystonetest.PasswordRules{Regex: acceptable, ChangeUponFirstUse: p.ChangeFirst && !p.Second}
	}
	w.cloud = keystonetest.New(keystonetest.Options{
		AdminPassword: servicePassword, TokenLifetime: p.TokenLife, Pike: p.Second, PasswordRules: rules,
		Random: rand.NewChaCha8([32]byte{byte(p.Seed), byte(p.Seed >> 8)}),
	})
	w.recorder = &workflowstest.Recorder{Tags: workflowstest.TagsIn(w.cloud), Now: time.Now}
	w.billing = billingtest.NewQuirkServer(billingtest.Options{})
	w.furnish()
	w.play()
	w.calm = true
	w.comesToRest()
	if !p.rechecksNeeded() && !w.skipped {
		w.broken = append(w.broken, w.check()...)
	}
	if w.driver.restless == "" {
		w.night(p.Orders)
		w.broken = append(w.broken, w.check()...)
		w.broken = append(w.broken, w.audit()...)
	}
	if p.Aftermath != nil && len(w.broken) == 0 && w.driver.restless == "" {
		w.repairAll(p.Aftermath)
	}
	if w.driver.restless != "" {
		w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: w.driver.restless})
	}
	w.end()
	all := w.store.Everything()
	w.record.told(all.Runs, all.Events)
	text, err := all.Text()
	w.ok(err)
	if strings.Contains(text, canaryPassword) {
		w.violate("no-secret", "", "the database contains a password")
	}
	w.driver.note("in the end there is %s", text)
	return w
}

// The method `play` runs the plan until the last fault is over.
func (w *world) play() {
	for i := range w.plan.Replicas {
		w.replicas = append(w.replicas, w.startReplica(w.plan.ClockError[i]))
	}
	last := time.Duration(0)
	for _, i := range w.plan.Incidents {
		w.driver.after(nil, i.At, "incident", func() { w.befall(i.Replica, i.Kind, i.For) })
		last = max(last, i.At+i.For)
	}
	for n, v := range w.plan.Actions {
		w.driver.after(nil, v.At, fmt.Sprint("action ", n), func() { go w.askFor(n, v) })
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
	for n, b := range w.plan.Bills {
		w.bill(n, b)
		last = max(last, b.At+faultsAfterBill)
	}
	w.until(last+time.Second, func() bool { return false })
}

// The method `expect` schedules the requests of an order.
func (w *world) expect(n int, o orderPlan) {
	for twin := range map[bool]int{false: 1, true: 2}[o.Twice] {
		w.driver.mu.Lock()
		w.open++
		w.driver.mu.Unlock()
		p := newPortal(w, n, twin, o)
		w.driver.after(nil, o.At, p.name, func() { go p.order() })
	}
}

// The method `until` drives the world until the time limit has passed or the function enough() returns true.
func (w *world) until(limit time.Duration, enough func() bool) {
	over := false
	off := w.driver.after(nil, limit, "limit", func() { over = true })
	defer off()
	w.driver.drive(func() bool { return over || enough() })
}

// The method `befall` makes a replica crash, pause or shut down. After a crash or a shutdown, the replica is restarted.
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
			if !w.calm { // when the faults are over, the method `rest` restarts the replicas instead
				w.restart(i)
			}
		})
	}
}

// The method `rest` drives the world forward until all runs have ended and all portals have their answers. Operators retry the runs
// that wait for an operator.
func (w *world) rest() {
	for round := range 60 {
		for i := range w.replicas { // a replica that was shutting down may have ended in the meantime
			w.restart(i)
		}
		w.until(3*time.Minute, w.rested)
		if w.rested() || w.driver.restless != "" {
			return
		}
		w.skipToExpiry()
		runs := w.store.Everything().Runs
		for n, r := range runs {
			if waitsForOperator(r) {
				action := saga.Action{RunID: r.ID, Name: saga.Retry, Who: "op", Why: "repaired"}
				if w.findings != nil && round >= patience { // the cause is a damaged object, which nobody repairs while this run waits
					action = w.giveUp(r, action)
				}
				go w.ask(fmt.Sprint("repair ", n), w.replicas[0], action)
			}
		}
	}
}

// skipToExpiry shuts all replicas down until the first run expires, if all live runs wait for a password that no portal will send. This
// makes the simulation faster.
func (w *world) skipToExpiry() {
	due := w.awaitsExpiry()
	if due.IsZero() {
		return
	}
	many := len(w.replicas)
	w.skipped = true
	w.stopAll()
	w.until(time.Until(due), func() bool { return false })
	for i := range many {
		w.replicas = append(w.replicas, w.startReplica(w.plan.ClockError[i%len(w.plan.ClockError)]))
	}
}

// patience is the number of times that an operator retries a run. After that, the operator gives up the run. The limit applies only to
// worlds with a vandal.
const patience = 3

// giveUp returns an action that ends the run, even if objects are left behind. If no such action is possible, giveUp returns the
// parameter `retry`.
func (w *world) giveUp(r *saga.Run, retry saga.Action) saga.Action {
	switch {
	case slices.Contains(r.Actions(), saga.Compensate):
		return saga.Action{RunID: r.ID, Name: saga.Compensate, Who: "op", Why: "damaged"}
	case r.State == saga.Stuck && slices.Contains(r.Actions(), saga.SkipStep):
		return saga.Action{RunID: r.ID, Name: saga.SkipStep, Step: r.Reason.Step, Who: "op", Why: "damaged"}
	}
	return retry
}

// comesToRest drives the world forward as `rest` does. If the world does not come to rest, comesToRest adds a violation.
func (w *world) comesToRest() {
	w.rest()
	if !w.rested() {
		w.broken = append(w.broken, workflowstest.Broken{Invariant: "comes-to-rest", Detail: "a run has not ended, or a portal has no answer"})
	}
}

// The method `restart` starts a replica again if it has ended.
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

// stopAll shuts all replicas down.
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

// The method `end` makes all goroutines end, because package synctest requires this.
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
		time.Sleep(2 * time.Minute) // longer than the time-outs of clients
	}
}

func (w *world) isOver() bool {
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	return w.over
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}
