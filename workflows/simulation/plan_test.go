package simulation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `plan` lists all faults and all requests of one world. newPlan makes a plan from a seed. drawPlan draws a plan for a
// property test, which can shrink the plan.
type plan struct {
	Seed       uint64 // seed of the latencies and of other small random decisions
	Replicas   int
	TokenLife  time.Duration // lifetime of all tokens, including the service's tokens
	Orders     []orderPlan
	Mishaps    []mishap   // faults of single calls
	Outages    []outage   // times when the database or an upstream is unreachable
	Incidents  []incident // crashes, pauses and shutdowns of replicas
	Actions    []actionPlan
	ClockError []time.Duration // error of each replica's clock
	Aftermath  *aftermath      // nil in most plans
	Bills      []billPlan      // usage that is billed; none in most plans
	Second     bool            // the service uses Identity v2.0; no plan that is drawn has it

	KeepPassword time.Duration // see engine.Options; zero in most plans
	ChangeFirst  bool          // new users of Keystone must change their passwords; never in worlds with Identity v2.0
}

// orderPlan is one order of a portal. The portal repeats the order until it gets a final answer.
type orderPlan struct {
	Trial    int // index into trials
	Of       int // N > 0: the order changes the subscription of order N-1; the trial's field Follows is set
	Plan     int // index into the merchant's plans, if the order changes the plan
	At       time.Duration
	Merchant int           // 0 or 1
	Customer int           // 0: a new customer; 1 or 2: an existing customer of the merchant
	Twice    bool          // the portal sends two requests with the same key at once
	Patience time.Duration // time after which the portal hangs up and repeats the request
	AddUser  bool
	User     int // index into world.users: the user who orders; used if Customer is 0 or AddUser is true
	Night    int // N > 0: the order is placed shortly before or after the Nth re-check of the simulation; 0: it is placed with the first orders
	SignUp   signUpPlan
}

// The method `registers` reports whether the order creates a user.
func (o orderPlan) registers() bool { return o.Trial == register || o.Trial == visitor }

// noOrder is the value of mishap.Order for runs without an order of a portal, such as the runs of follow-ups and repairs.
const noOrder = -1

// The type `mishap` is the fault of one call. If Step is empty, the mishap affects the Nth call to the target To. If Step is set,
// the mishap affects the Nth write that the step makes for the order. The step "checkpoint" stands for the commits to the database.
type mishap struct {
	To      target
	Nth     int
	Order   int
	Step    string
	Undo    bool
	Recheck bool // the undo is part of a re-check
	Stays   bool // the mishap affects the Nth write and all later writes of the step, even when all other faults are over
	Kind    kind
	For     time.Duration // delay of a late commit, or time for which a replica is away
}

type kind int

const (
	lostRequest kind = iota // the connection breaks before the request is executed
	lostAnswer              // the connection breaks after the request was executed
	silentRequest
	silentAnswer
	lateCommit // no answer; the request is executed after a delay
	unreachable
	refused400
	refused403
	busy429
	broken500
	broken500Done // the answer is 500, although the request is executed
	away503
	crashBefore // the replica crashes during the call
	crashAfter
	freeze // the replica is paused and continues later
	kinds
)

func (k kind) String() string {
	return [...]string{
		"lost request", "lost answer", "silent request", "silent answer", "late commit", "unreachable", "400", "403",
		"429", "500", "500 although done", "503", "crash before", "crash after", "freeze",
	}[k]
}

func (m mishap) String() string {
	where := fmt.Sprintf("call %d to the %s", m.Nth, m.To)
	if m.Step != "" {
		where = fmt.Sprintf("order %d, %s, undo %t, recheck %t, write %d", m.Order, m.Step, m.Undo, m.Recheck, m.Nth)
	}
	return fmt.Sprintf("%s: %s (%v)", where, m.Kind, m.For)
}

// The variable `writes` contains those steps of the workflow `subscribe` that write to an upstream.
var writes = []string{
	"create-customer", "create-customer-tenant", "assign-customer-role/member", "assign-customer-role/bs-admin",
	"scope-token", "create-subscription", "create-subscription-tenant", "assign-subscription-role/member", "attach-tenant",
}

// The variable `trials` contains the workflows that portals can order. The first workflow is `subscribe`.
var trials = workflowstest.Trials()

// In every fourth plan, portals order other workflows too. For the seed of such a plan, seed % mixed is mixed-1.
const mixed = 4

// The constant `stranger` is the index of the stranger's trial. Only this trial and the trial of `subscribe` need no earlier run.
const stranger = 1

// The variable `changes` contains the trials that change subscriptions, by operation.
var changes = changing()

func changing() map[string]int {
	all := map[string]int{}
	for n, t := range trials {
		if t.Operation != "" {
			all[t.Operation] = n
		}
	}
	return all
}

// nextChange draws the operation that follows another operation on a subscription. Most of the drawn operations are possible in the
// subscription's state.
func nextChange(r *rand.Rand, last string) string {
	sensible := map[string]string{"unsubscribe": "restore", "suspend": "resume"}
	if next := sensible[last]; next != "" && r.IntN(3) > 0 {
		return next
	}
	all := slices.Sorted(maps.Keys(changes))
	if r.IntN(2) > 0 {
		all = slices.DeleteFunc(all, func(name string) bool { return name == "restore" || name == "resume" })
	}
	return all[r.IntN(len(all))]
}

// changePlan is the index of the trial that changes the plan of a subscription.
var changePlan = slices.IndexFunc(trials, func(t workflowstest.Trial) bool { return t.Operation == workflows.ChangePlanName })

// plansPerMerchant is the number of plans that each merchant has.
const plansPerMerchant = 3

// writesOf returns those steps of a trial that write to an upstream.
func writesOf(trial int) []string {
	if trial == 0 {
		return writes
	}
	all := slices.Sorted(maps.Keys(trials[trial].Do))
	switch trial {
	case register:
		all = append(all, "set-password") // this step has no trial, because most runs do not need the step
	case visitor:
		all = append(all, writes...)
	}
	return all
}

// The type `outage` is a period during which a target cannot be reached.
type outage struct {
	Of       target
	From, To time.Duration
}

// The type `incident` is a crash, a pause or a shutdown of a replica. A replica that has crashed or shut down is restarted later.
type incident struct {
	At      time.Duration
	Replica int
	Kind    incidentKind
	For     time.Duration
}

type incidentKind int

const (
	crashes incidentKind = iota
	freezes
	leaves
)

func (k incidentKind) String() string { return [...]string{"crashes", "freezes", "leaves"}[k] }

// actionPlan is an action that an operator asks for. The run may refuse the action.
type actionPlan struct {
	At     time.Duration
	Order  int // number of the order whose run gets the action
	Action int // index into actions
	Step   int // number of the step, if the action is a skip
	Via    int // index of the replica that gets the request
}

// The type `fate` contains the fault of one call, if any, and the time at which the call takes effect.
type fate struct {
	done   bool          // the request is executed
	late   time.Duration // the request is executed after this time, without an answer
	silent bool          // there is no answer
	err    error         // error that the caller gets instead of an answer
	host   incidentKind  // crash, pause or shutdown of the replica, if `away` is not zero
	away   time.Duration // time for which the replica is away
	what   string
}

func (f fate) String() string { return f.what }

var fine = fate{done: true, what: "carried out"}

// The method `fates` returns a function that decides the fate of each call. The parameter `began` is the time when the world began. In
// a calm world, all faults are over except three kinds of mishaps: mishaps of re-checks, mishaps of runs without an order, and mishaps
// whose field Stays is true.
func (p *plan) fates(began time.Time) func(c call, calm bool) fate {
	left := slices.Clone(p.Mishaps)
	return func(c call, calm bool) fate {
		for _, o := range p.Outages {
			if !calm && o.Of == c.to && c.at.Sub(began) >= o.From && c.at.Sub(began) < o.To {
				return fate{err: errUnreachable, what: "away"}
			}
		}
		for i, m := range left {
			switch {
			case !m.meets(c), calm && !c.recheck && !m.Stays && m.Order != noOrder:
				continue
			case !m.Stays:
				left = slices.Delete(left, i, i+1)
			}
			return m.fate()
		}
		return fine
	}
}

// The type `call` contains the properties of a call that determine the call's mishap.
type call struct {
	to        target
	nth       int
	at        time.Time
	order     int // number of the order whose run makes the call, or -1
	step      string
	undo      bool
	recheck   bool
	nthOfStep int // number of earlier writes of this step
}

func (m mishap) meets(c call) bool {
	if m.Step == "" {
		return m.To == c.to && m.Nth == c.nth
	}
	return m.Order == c.order && m.Step == c.step && m.Undo == c.undo && m.Recheck == c.recheck &&
		(m.Nth == c.nthOfStep || m.Stays && m.Nth < c.nthOfStep)
}

func (m mishap) fate() fate {
	f := fate{what: m.Kind.String()}
	switch m.Kind {
	case lostRequest:
		f.err = errReset
	case lostAnswer:
		f.done, f.err = true, errReset
	case silentRequest:
		f.silent = true
	case silentAnswer:
		f.done, f.silent = true, true
	case lateCommit:
		f.late, f.silent = m.For, true
	case unreachable:
		f.err = errUnreachable
	case crashBefore:
		f.silent, f.host, f.away = true, crashes, m.For
	case crashAfter:
		f.done, f.silent, f.host, f.away = true, true, crashes, m.For
	case freeze:
		f.done, f.host, f.away = true, freezes, m.For
	case broken500Done:
		f.done, f.err = true, statusError(http.StatusInternalServerError)
	default:
		f.err = map[kind]statusError{
			refused400: http.StatusBadRequest, refused403: http.StatusForbidden, busy429: http.StatusTooManyRequests,
			broken500: http.StatusInternalServerError, away503: http.StatusServiceUnavailable,
		}[m.Kind]
	}
	return f
}

// rechecksNeeded reports whether a request may be executed so late that only a re-check finds the effect.
func (p *plan) rechecksNeeded() bool {
	return slices.ContainsFunc(p.Mishaps, mishap.late)
}

// The method `registers` reports whether portals register users.
func (p *plan) registers() bool {
	return slices.ContainsFunc(p.Orders, orderPlan.registers)
}

// keepTenant returns the time for which an ended subscription can be restored. In most plans, the tenant can be removed ten minutes
// after it was disabled. In some plans, no tenant is removed. The checker then sees the state in which the other workflows have left the
// tenants. If a plan has late requests, the time is 21 hours. Requests are up to 20 hours late, and could otherwise create a removed
// object again.
func (p *plan) keepTenant() time.Duration {
	switch {
	case p.Seed%(2*mixed) == mixed-1:
		return 10 * nightEnds
	case p.rechecksNeeded():
		return 21 * time.Hour
	}
	return time.Second
}

// mayBeLate reports whether the mishap may delay a request beyond the late window. For the undo of a role assignment, mayBeLate returns
// false. Another run may have assigned the same role in the meantime. A late undo would remove this assignment too, because assignments
// cannot be tagged. A re-check could not repair this. Only steps that assign roles have a "/" in their name.
func (m mishap) mayBeLate() bool { return !m.Undo || !strings.Contains(m.Step, "/") }

// The method `late` reports whether the request may be executed after the undos of its run.
func (m mishap) late() bool { return m.Kind == lateCommit && m.For > 85*time.Second }

// newPlan makes the plan of a seed. Most plans have a few mishaps, some plans have no mishaps, and some plans have many.
func newPlan(seed uint64) *plan {
	r := rand.New(rand.NewPCG(seed, 0x7e4a47))
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(r.Int64N(int64(to-from))) }
	p := &plan{Seed: seed, Replicas: 1 + r.IntN(3), TokenLife: time.Hour}
	if r.IntN(4) == 0 {
		p.TokenLife = between(20*time.Second, 3*time.Minute)
	}
	const busy = 40 * time.Second // all orders are made within this time
	for range 3 + r.IntN(6) {
		p.Orders = append(p.Orders, orderPlan{
			At: between(0, busy), Merchant: r.IntN(2), Customer: max(0, r.IntN(6)-3), Twice: r.IntN(4) == 0,
			Patience: between(200*time.Millisecond, 25*time.Second), AddUser: r.IntN(3) > 0, User: len(p.Orders),
		})
	}
	for range r.IntN(1 + r.IntN(10)) {
		m := mishap{To: target(r.IntN(int(targets))), Kind: kind(r.IntN(int(kinds))), For: between(time.Second, 80*time.Second)}
		if m.To == database && m.Kind < crashBefore {
			m.Kind %= unreachable + 1 // errors of the database have no HTTP status
		}
		m.Nth = r.IntN(map[target]int{database: 300, keystoneAPI: 100, billingStack: 80}[m.To])
		p.Mishaps = append(p.Mishaps, m)
	}
	for n := range p.Orders {
		if r.IntN(2) == 0 { // the order cannot succeed
			m := mishap{Order: n, Step: writes[r.IntN(len(writes))], Kind: refused400 + kind(r.IntN(2))}
			p.Mishaps = append(p.Mishaps, m)
		}
		for range r.IntN(5) {
			m := mishap{
				Order: n, Step: writes[r.IntN(len(writes))], Kind: kind(r.IntN(int(kinds))),
				For: between(time.Second, 80*time.Second), Undo: r.IntN(3) == 0, Nth: max(0, r.IntN(4)-2),
			}
			if r.IntN(3) == 0 {
				m.Kind = lateCommit
			}
			if r.IntN(4) == 0 {
				m.Step, m.Undo, m.Nth = "checkpoint", false, r.IntN(16)
				if m.Kind < crashBefore {
					m.Kind %= unreachable + 1
				}
			}
			switch {
			case m.Kind == lateCommit && r.IntN(6) == 0 && m.mayBeLate():
				m.For = between(2*time.Minute, 20*time.Hour) // so late that only a re-check finds the effect
			case m.Kind == freeze && r.IntN(3) == 0:
				m.For = between(80*time.Second, 5*time.Minute) // longer than the late window
			}
			p.Mishaps = append(p.Mishaps, m)
		}
	}
	for range max(0, r.IntN(5)-2) {
		from := between(0, busy)
		lasts := between(time.Second, 30*time.Second)
		if r.IntN(5) == 0 {
			lasts = between(time.Minute, time.Hour)
		}
		p.Outages = append(p.Outages, outage{target(r.IntN(int(targets))), from, from + lasts})
	}
	for range max(0, r.IntN(6)-2) {
		p.Incidents = append(p.Incidents, incident{
			At: between(0, busy), Replica: r.IntN(p.Replicas), Kind: incidentKind(r.IntN(3)),
			For: between(time.Second, 40*time.Second),
		})
	}
	for range max(0, r.IntN(6)-2) {
		p.Actions = append(p.Actions, actionPlan{
			At: between(0, 2*busy), Order: r.IntN(len(p.Orders)), Action: r.IntN(len(actions)), Step: r.IntN(10),
			Via: r.IntN(p.Replicas),
		})
	}
	if r.IntN(5) == 0 { // an order for an existing customer fails, and one of its writes to the customer tenant is late
		n := r.IntN(len(p.Orders))
		p.Orders[n].Customer = 1 + r.IntN(2)
		late := mishap{Order: n, Step: writes[1+r.IntN(3)], Kind: lateCommit, For: between(2*time.Minute, 20*time.Hour)}
		p.Mishaps = append(p.Mishaps, late, mishap{Order: n, Step: "attach-tenant", Kind: refused400})
		if r.IntN(2) == 0 { // another call of the order gets no answer
			p.Mishaps = append(p.Mishaps, mishap{Order: n, Step: writes[1+r.IntN(3)], Kind: kind(r.IntN(int(unreachable)))})
		}
	}
	for _, m := range p.Mishaps { // add orders for the same customer, shortly before or after a re-check
		if m.late() {
			p.meet(r, m)
		}
	}
	for range p.Replicas {
		p.ClockError = append(p.ClockError, between(-time.Hour, time.Hour))
	}
	switch seed % mixed {
	case mixed - 1:
		p.mix(rand.New(rand.NewPCG(seed, 0x5712a)))
		p.Aftermath = newAftermath(p)
	case registering:
		p.signUp(rand.New(rand.NewPCG(seed, 0x516e)))
	}
	if hasUsage(seed) {
		p.bill(rand.New(rand.NewPCG(seed, 0xb111)))
	}
	return p
}

// The method `mix` changes the workflow of about half of the orders. The mishaps of a changed order then affect steps of the new
// workflow. `mix` then adds orders that change the subscriptions of other orders.
func (p *plan) mix(r *rand.Rand) {
	for n := range p.Orders {
		if r.IntN(2) == 0 {
			p.Orders[n].Trial = stranger
		}
	}
	defer p.change(r)
	for i, m := range p.Mishaps {
		if m.Step == "" || m.Step == "checkpoint" || p.Orders[m.Order].Trial == 0 {
			continue
		}
		trial := p.Orders[m.Order].Trial
		if m.Step == trials[0].Refused { // the last step of the new workflow must fail too
			p.Mishaps[i].Step = trials[trial].Refused
			continue
		}
		steps := slices.DeleteFunc(writesOf(trial), func(step string) bool {
			of := m
			of.Step = step
			return of.late() && !of.mayBeLate()
		})
		p.Mishaps[i].Step = steps[r.IntN(len(steps))]
	}
}

// The method `change` adds orders that change the subscriptions of other orders. The added orders suspend, resume, end or restore a
// subscription, or change its plan. `change` also adds mishaps for these orders.
func (p *plan) change(r *rand.Rand) {
	for n, o := range p.Orders {
		if o.Trial != 0 || o.Night > 0 {
			continue
		}
		onlyPlans, last := r.IntN(3) == 0, "" // if onlyPlans, all changes of this subscription are changes of its plan
		next := func(at time.Duration) orderPlan {
			if last = nextChange(r, last); onlyPlans {
				last = workflows.ChangePlanName
			}
			return orderPlan{
				Trial: changes[last], Of: n + 1, Plan: r.IntN(plansPerMerchant), At: at, Merchant: o.Merchant,
				User: o.User, Twice: r.IntN(4) == 0, Patience: o.Patience,
			}
		}
		at, many := o.At, r.IntN(5)
		for i := 0; i < many || i == many && last == workflows.UnsubscribeName && r.IntN(3) > 0; i++ {
			at += time.Duration(r.IntN(int(time.Minute)))
			change := next(at)
			if last == workflows.RestoreName && r.IntN(2) == 0 { // the order is placed near the time of the tenant's removal
				change.At += 10*time.Minute - time.Duration(r.IntN(int(time.Minute)))
				if r.IntN(2) == 0 { // the removal becomes due while the run is in progress
					p.Mishaps = append(p.Mishaps, mishap{Order: len(p.Orders), Step: "assign-role/member", Kind: silentRequest})
				}
			}
			p.changeBadly(r, change, next)
		}
	}
	for _, step := range []string{"delete-tenant", "delete-subscription", "delete-customer"} {
		if r.IntN(2) == 0 { // the first request of a follow-up's run takes effect late, and the second is refused
			late := mishap{Order: noOrder, Step: step, Kind: lateCommit, For: time.Second + time.Duration(r.IntN(int(79*time.Second)))}
			p.Mishaps = append(p.Mishaps, late, mishap{Order: noOrder, Step: step, Kind: refused400, Nth: 1})
		}
		if r.IntN(2) == 0 {
			p.Mishaps = append(p.Mishaps, mishap{
				Order: noOrder, Step: step, Kind: kind(r.IntN(int(kinds))), Nth: r.IntN(3), For: time.Second + time.Duration(r.IntN(int(79*time.Second))),
			})
		}
	}
}

// changeBadly adds the order `change`, and mishaps for the calls of this order's run. The order changes a subscription. The function
// `next` returns a later change of this subscription.
func (p *plan) changeBadly(r *rand.Rand, change orderPlan, next func(at time.Duration) orderPlan) {
	of := mishap{Order: len(p.Orders), Step: trials[change.Trial].Refused, For: time.Second + time.Duration(r.IntN(int(79*time.Second)))}
	p.Orders = append(p.Orders, change)
	if r.IntN(3) == 0 { // the first request takes effect late, and all other requests are refused: the run is compensated
		late, refused := of, of
		late.Kind, refused.Kind, refused.Nth, refused.Stays = lateCommit, refused400, 1, true
		late.For = time.Minute + time.Duration(r.IntN(int(20*time.Second))) // by then, most clients have given up
		if r.IntN(2) == 0 {                                                 // so late that only a re-check finds the effect
			late.For = 2*time.Minute + time.Duration(r.IntN(int(18*time.Hour)))
			// Other changes follow, shortly before or after a re-check.
			for range r.IntN(3) {
				again := next(time.Duration(r.IntN(int(2 * beforeRecheck))))
				again.Night, again.Twice = 1+r.IntN(3), false
				p.Orders = append(p.Orders, again)
			}
		}
		p.Mishaps = append(p.Mishaps, late, refused)
	}
	if r.IntN(4) == 0 { // the run is compensated
		refused := of
		refused.Kind = refused400
		p.Mishaps = append(p.Mishaps, refused)
	}
	for range r.IntN(3) {
		other := of
		other.Kind, other.Nth, other.Undo = kind(r.IntN(int(kinds))), max(0, r.IntN(4)-2), r.IntN(4) == 0
		p.Mishaps = append(p.Mishaps, other)
	}
}

// The method `meet` adds orders for the same customer as the order with the late effect. These orders are placed shortly before or
// after a re-check. `meet` may also add a mishap for a call that the re-check makes.
func (p *plan) meet(r *rand.Rand, late mishap) {
	for range r.IntN(4) {
		o := p.Orders[late.Order]
		o.Night, o.At, o.Twice = 1+r.IntN(3), time.Duration(r.IntN(int(2*beforeRecheck))), false
		o.AddUser = o.AddUser != (r.IntN(4) == 0)
		p.Orders = append(p.Orders, o)
	}
	if r.IntN(2) == 0 {
		lost := late
		lost.Undo, lost.Recheck, lost.Nth = true, true, max(0, r.IntN(4)-2)
		lost.Kind, lost.For = kind(r.IntN(int(busy429))), time.Second+time.Duration(r.IntN(int(79*time.Second)))
		p.Mishaps = append(p.Mishaps, lost)
	}
}

// String returns a readable description of the plan.
func (p *plan) String() string {
	var s strings.Builder
	_, _ = fmt.Fprintf(&s, "seed %d, %d replicas with clocks off by %v, tokens live %v\n", p.Seed, p.Replicas, p.ClockError, p.TokenLife)
	if p.registers() {
		_, _ = fmt.Fprintf(&s, "  passwords are kept for %v, and must be changed first: %t\n", p.KeepPassword, p.ChangeFirst)
	}
	for i, o := range p.Orders {
		_, _ = fmt.Fprintf(&s, "  order %d: %+v\n", i, o)
	}
	for _, m := range p.Mishaps {
		_, _ = fmt.Fprintf(&s, "  %s\n", m)
	}
	for _, o := range p.Outages {
		_, _ = fmt.Fprintf(&s, "  %s away from %v to %v\n", o.Of, o.From, o.To)
	}
	for _, i := range p.Incidents {
		_, _ = fmt.Fprintf(&s, "  replica %d %s at %v for %v\n", i.Replica, i.Kind, i.At, i.For)
	}
	for _, v := range p.Actions {
		_, _ = fmt.Fprintf(&s, "  operator asks for %s of order %d at %v\n", actions[v.Action], v.Order, v.At)
	}
	for i, b := range p.Bills {
		_, _ = fmt.Fprintf(&s, "  bill %d: %+v\n", i, b)
	}
	return s.String() + p.Aftermath.String()
}
