package workflows_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/billingtest"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/store/model"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// inProcess is an upstream that is called without a network. Each call takes some time, and the upstream can be down.
type inProcess struct {
	http.Handler
	down  atomic.Bool
	calls atomic.Int32
	most  atomic.Int32 // the maximum number of concurrent calls so far
	now   atomic.Int32
}

func (u *inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	u.calls.Add(1)
	if u.down.Load() {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	u.most.Store(max(u.most.Load(), u.now.Add(1)))
	defer u.now.Add(-1)
	time.Sleep(20 * time.Millisecond)
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody // as in a real server, the body is not nil
	}
	out := httptest.NewRecorder()
	u.ServeHTTP(out, in)
	return out.Result(), nil
}

// The type `outage` is an engine with one upstream of each kind, on simulated time.
type outage struct {
	t                 *testing.T
	cloud             *keystonetest.Keystone
	keystone, billing inProcess
	faults            faults
	store             *model.Store
	bill              *billing.Client
	engine            *engine.Engine
	merchant          billing.Merchant
	plan              billing.Plan
	roles             []keystone.Role
	identity          keystone.Identity

	mu    sync.Mutex
	ended []string // runs that succeeded, in the sequence in which they ended
	tried int      // attempts that failed
}

const outageExecutors, outageConnections = 8, 4

func newOutage(t *testing.T, giveUpAfter time.Duration) *outage {
	o := &outage{
		t: t, cloud: keystonetest.New(keystonetest.Options{}), store: model.New(time.Now),
	}
	o.faults.of = map[string]*fault{}
	o.keystone.Handler, o.billing.Handler = o.cloud, billingtest.NewQuirkServer(billingtest.Options{})
	o.cloud.AddRole("bs-admin")
	var gates gate.Gates
	toKeystone, toBilling := gates.Of("keystone/default", outageConnections), gates.Of("billingstack", outageConnections)
	identity, err := clouds.Open(conn.Config{
		URL: "http://keystone/v3", Base: gate.Fence(o.faults.around(&o.keystone)), Enter: toKeystone.Enter,
		Credential: conn.Credential{
			Username: "admin", Password: "secret", UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
		},
		MayWriteDomain: func(id string) bool { return id == keystonetest.DefaultDomain },
	})
	o.ok(err)
	o.identity = identity
	o.roles, err = identity.Roles(t.Context(), []string{"member", "bs-admin"})
	o.ok(err)
	o.bill, err = billing.New(billing.Config{
		URL: "http://billing/v2", Connections: outageConnections, Enter: toBilling.Enter,
		Wrap: func(http.RoundTripper) http.RoundTripper {
			return gate.Fence(o.faults.around(&o.billing))
		},
	})
	o.ok(err)
	toKeystone.TryBy(identity.Ping)
	toBilling.TryBy(o.bill.Ping)
	o.seed(o.bill)
	definitions, err := workflows.All(workflows.Deps{
		Identity: func(string) (keystone.Identity, error) { return identity, nil },
		Billing:  o.bill, Merchants: knownMerchant(o.merchant.ID), Reads: &coalesce.Reads{}, Handover: &workflows.Handover{}, Now: time.Now,
		Ledger: o.store, Books: workflowstest.NoBooks{}, Installation: "outage", Defaults: usualDefaults,
	})
	o.ok(err)
	o.engine = engine.New(engine.Options{
		Store: o.store, Queue: o.store, Tokens: o.store, Workflows: definitions, NewID: newID, Executors: outageExecutors, Down: gates.Open,
		GiveUpAfter: giveUpAfter,
		OnEvent:     o.note, OnFault: func(err error) { t.Log("engine:", err) },
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { o.engine.Serve(ctx, time.Second); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return o
}

// usualDefaults contains the roles and the domain of the orders in the tests.
var usualDefaults = workflows.Defaults{
	CustomerRoles: []string{"member", "bs-admin"}, SubscriptionRoles: []string{"member"}, Domain: keystonetest.DefaultDomain,
}

// knownMerchant is the id of the only merchant in the test.
type knownMerchant string

// Merchant implements [workflows.Merchants].
func (k knownMerchant) Merchant(_ context.Context, id string) (merchants.Merchant, error) {
	if id != string(k) {
		return merchants.Merchant{}, merchants.ErrNotFound
	}
	return merchants.Merchant{ID: id, Cloud: merchants.DefaultCloud}, nil
}

func (o *outage) seed(bill *billing.Client) {
	o.ok(bill.CreateCurrency(o.t.Context(), "eur"))
	o.ok(bill.CreateLanguage(o.t.Context(), "eng"))
	var err error
	o.merchant, err = bill.CreateMerchant(o.t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "ACME", Currency: "eur", Language: "eng"})
	o.ok(err)
	o.plan, err = bill.CreatePlan(o.t.Context(), o.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "small"})
	o.ok(err)
}

func (o *outage) note(r *saga.Run, e saga.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch e.Kind {
	case saga.EventRunSucceeded:
		o.ended = append(o.ended, r.ID)
	case saga.EventAttempt, saga.EventUnknown:
		o.tried++
	}
}

func (o *outage) ok(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// The method `accept` accepts n orders.
func (o *outage) accept(n int) (ids []string) {
	o.t.Helper()
	for range n {
		ids = append(ids, newID())
		o.start(ids[len(ids)-1], o.order())
	}
	return ids
}

// The method `order` returns an order of a new user for a new customer.
func (o *outage) order() workflows.Order {
	return workflows.Order{
		Asked: workflows.Asked{
			MerchantID:  o.merchant.ID,
			PlanID:      o.plan.ID,
			NewCustomer: &workflows.NewCustomer{Name: "Customer", Currency: "eur", Language: "eng"},
		},
		Resolved: workflows.Resolved{
			Cloud:             "default",
			DomainID:          keystonetest.DefaultDomain,
			UserID:            o.cloud.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"}),
			CustomerRoles:     o.roles,
			SubscriptionRoles: o.roles[:1],
			CheckedAt:         time.Now(),
		},
	}
}

// The method `start` starts a run with the given id and order.
func (o *outage) start(id string, order workflows.Order) {
	o.t.Helper()
	q := order.Request(id, "")
	q.Token, q.TokenExpiresAt = o.cloud.IssueToken(order.UserID), time.Now().Add(time.Hour)
	o.request(q)
}

// The method `request` starts a run. The run's id is also the idempotency key.
func (o *outage) request(q saga.Request) {
	o.t.Helper()
	q.Key = q.ID
	_, err := o.engine.Start(o.t.Context(), q)
	o.ok(err)
}

func TestAnUpstreamThatIsDownForAnHourCostsNoRunAndTheyDrainInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const runs = 300
		o := newOutage(t, 0)
		o.keystone.down.Store(true)
		calls := o.keystone.calls.Load()
		ids := o.accept(runs)
		time.Sleep(time.Hour)

		// During the outage, the engine must call Keystone only about once every ten seconds. The number of failed attempts must stay
		// small.
		if n := o.keystone.calls.Load() - calls; n > 500 {
			t.Errorf("Keystone was called %d times while it was down, want at most 500", n)
		}
		if o.tried > 10*runs+360*2*outageExecutors {
			t.Errorf("%d attempts failed while Keystone was down, want at most %d", o.tried, 10*runs+360*2*outageExecutors)
		}
		for _, id := range ids {
			run, err := o.engine.Store.Run(t.Context(), id)
			o.ok(err)
			if run.State != saga.Waiting || run.Reason.Kind != saga.WaitsForUpstream || run.Reason.Until == nil ||
				run.Reason.FixBy != saga.FixByAdministrator || run.Reason.Service != "keystone" {
				t.Fatalf("after an hour: %s", describe(run))
			}
		}
		o.keystone.down.Store(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(o.ended) != runs {
			t.Fatalf("%d runs have succeeded two minutes after Keystone came back, want %d", len(o.ended), runs)
		}
		for at, id := range ids {
			if got := slices.Index(o.ended, id); got > at+2*outageExecutors || got < at-2*outageExecutors {
				t.Errorf("the run that was accepted as number %d ended as number %d, want a difference of at most %d", at, got, 2*outageExecutors)
			}
		}
		if most := o.keystone.most.Load(); most != outageConnections {
			t.Errorf("%d calls were under way at once, want %d", most, outageConnections)
		}
	})
}

// The circuit of the upstream stays open until after the time limit of the runs. The runs are nevertheless given up at their time
// limit, and are compensated when the upstream is back.
func TestRunsThatWaitForAnUpstreamAreGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 20 * time.Minute
		o := newOutage(t, limit)
		o.keystone.down.Store(true)
		ids := o.accept(3 * outageExecutors)
		states := func() (n map[saga.RunState]int) {
			n = map[saga.RunState]int{}
			for _, id := range ids {
				run, err := o.engine.Store.Run(t.Context(), id)
				o.ok(err)
				n[run.State]++
				if c := run.Cause; c != nil && (c.Code != "deadline-exceeded" || c.FixBy != saga.FixByAdministrator) {
					t.Fatalf("the cause is %+v", c)
				}
			}
			return n
		}
		time.Sleep(limit - time.Second)
		if n := states(); n[saga.Waiting] != len(ids) {
			t.Fatalf("before the time limit: %v; want all runs to wait", n)
		}
		time.Sleep(10 * time.Second)
		if n := states(); n[saga.Waiting]+n[saga.Running] > 0 {
			t.Errorf("ten seconds after the time limit: %v; want no run to go forward", n)
		}
		o.keystone.down.Store(false)
		time.Sleep(10 * time.Minute)
		if n := states(); n[saga.Compensated] != len(ids) {
			t.Errorf("after the outage: %v; want all runs to be compensated", n)
		}
	})
}
