package workflows_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `world` is an installation for tests with faults. At the end of a test, the method `check` examines all runs.
type world struct {
	*servicetest.Installation
	t            *testing.T
	installation string          // the id of the installation
	roles        []keystone.Role // member, bs-admin
	faults       faults
	removed      workflowstest.Recorder
	definitions  []*saga.Definition // of all trials
	deps         workflows.Deps     // of the service
	newPlan      string             // id of the merchant's second plan

	byHand sync.Mutex            // locks `others` and `hurt`
	others workflowstest.Outside // objects that the test created; runs must not change or remove them
	hurt   []saga.ObjectRef      // objects of runs that were changed by the test: see workflowstest.Seen
}

const (
	upstreamTimeout = 2 * time.Second
	lateWindow      = 2400 * time.Millisecond
	deadline        = 4 * time.Second
)

func newWorld(t *testing.T, database string, change ...func(*service.Options)) *world {
	t.Helper()
	return newWorldOn(t, database, keystonetest.Options{}, change...)
}

// newWorldOn is like newWorld, but with options of the in-memory Keystone. If Options.Pike is true, the service uses Identity v2.0.
func newWorldOn(t *testing.T, database string, keystone keystonetest.Options, change ...func(*service.Options)) *world {
	t.Helper()
	w := &world{t: t}
	w.faults.of, w.faults.late = map[string]*fault{}, map[string]*sync.WaitGroup{}
	w.removed.Now = time.Now
	w.Installation = servicetest.New(t, servicetest.Options{
		Database: database, Keystone: keystone,
		Workflows: func(d workflows.Deps) (all []*saga.Definition, err error) {
			w.deps = d
			w.definitions, err = workflowstest.Definitions(d)
			return w.definitions, err
		},
		Around: func(_ string, next http.RoundTripper) http.RoundTripper {
			return w.faults.around(w.removed.Around(next))
		},
		Change: func(o *service.Options) {
			shorten(o)
			for _, c := range change {
				c(o)
			}
		},
		AtEnd: w.check,
	})
	w.removed.Tags = workflowstest.TagsIn(w.Keystone)
	var err error
	w.installation, err = w.Store.InstallationID(t.Context())
	w.ok(err)
	identity, err := w.deps.Identity(merchants.DefaultCloud) // the service's client, which caches the roles
	w.ok(err)
	w.roles, err = identity.Roles(t.Context(), []string{"member", "bs-admin"})
	w.ok(err)
	plan, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{Name: "another"})
	w.ok(err)
	w.newPlan = plan.ID
	w.others, err = workflowstest.Look(t.Context(), w.Keystone, w.Billing, w.Merchant.ID, w.Other.ID)
	w.ok(err)
	return w
}

// The function `shorten` sets short times in the options. `shorten` also makes all clouds use the Keystone of the default cloud.
func shorten(o *service.Options) {
	o.Lease, o.LateWindow, o.Deadline, o.Poll = 5*time.Second, lateWindow, deadline, 500*time.Millisecond
	o.Executors, o.BillingTimeout = 200, upstreamTimeout
	cloud := o.Cloud
	o.Cloud = func(string) (conn.Config, error) {
		c, err := cloud(merchants.DefaultCloud)
		c.Timeout, c.BulkTimeout = upstreamTimeout, upstreamTimeout
		return c, err
	}
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// The method `order` returns an order of a new user for a new customer, and the user's unscoped token.
func (w *world) order() (workflows.Order, string) {
	user := w.Keystone.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"})
	return workflows.Order{
		Asked: workflows.Asked{
			MerchantID:  w.Merchant.ID,
			PlanID:      w.Merchant.Plan,
			NewCustomer: &workflows.NewCustomer{Name: "Customer", Currency: "eur", Language: "eng"},
		},
		Resolved: workflows.Resolved{
			Cloud:             "default",
			DomainID:          keystonetest.DefaultDomain,
			UserID:            user,
			CustomerRoles:     w.roles,
			SubscriptionRoles: w.roles[:1],
			CheckedAt:         time.Now(),
		},
	}, w.Keystone.IssueToken(user)
}

// The method `ground` adds a user to Keystone, and returns the user's token and the objects for an order of this user.
func (w *world) ground() (workflowstest.Ground, string) {
	user := w.Keystone.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"})
	return workflowstest.Ground{
		RunID: newID(), MerchantID: w.Merchant.ID, PlanID: w.Merchant.Plan, NewPlanID: w.newPlan, User: user, Cloud: "default",
		DomainID: keystonetest.DefaultDomain, Roles: w.roles, CheckedAt: time.Now(),
	}, w.Keystone.IssueToken(user)
}

// groundOf is like `ground`. If the trial has the field Follows, groundOf first executes a run of the trial Follows. It then calls the
// Damage of the given trial.
func (w *world) groundOf(t *testing.T, trial workflowstest.Trial) (workflowstest.Ground, string) {
	t.Helper()
	if trial.Follows == nil {
		return w.ground()
	}
	g, token := w.groundOf(t, *trial.Follows)
	w.accept(trial.Follows.Request(g), token)
	g.Before = w.until(t, g.RunID, over)
	if g.First == nil {
		g.First = g.Before
	}
	if g.Before.State != saga.Succeeded {
		t.Fatalf("the previous run ended %q: %s", g.Before.State, describe(g.Before))
	}
	g.RunID = newID()
	if trial.Damage != nil {
		w.damage(trial, g)
	}
	return g, token
}

// The method `start` starts a run for the order.
func (w *world) start(runID string, o workflows.Order, token string) {
	w.t.Helper()
	w.accept(o.Request(runID, ""), token)
}

// The method `accept` starts a run. The run's id is also the idempotency key.
func (w *world) accept(q saga.Request, token string) {
	w.t.Helper()
	q.Key, q.Token, q.TokenExpiresAt = q.ID, token, time.Now().Add(time.Hour)
	_, err := w.Service.Runs.Start(w.t.Context(), q)
	w.ok(err)
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// The function `another` returns a new database of the same kind: SQLite or PostgreSQL.
func another(t *testing.T, database string) string {
	t.Helper()
	if strings.HasPrefix(database, "sqlite:") {
		return storetest.SQLite(t)
	}
	return storetest.PostgreSQL(t)
}

// onBoth runs a test on SQLite and on PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, database string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, storetest.PostgreSQL(t)) })
}
