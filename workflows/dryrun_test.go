package workflows_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// readOnly lets requests through until it is closed. Then it refuses each request that may change something, except logins. It stores
// the last refused request.
type readOnly struct {
	closed  atomic.Bool
	refused atomic.Pointer[string]
}

func (r *readOnly) around(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		login := strings.HasSuffix(req.URL.Path, "/auth/tokens") || strings.HasSuffix(req.URL.Path, "/v2.0/tokens")
		// Logins pass, because there may be no token for the audit credential yet.
		if r.closed.Load() && req.Method != http.MethodGet && req.Method != http.MethodHead && !login {
			request := req.Method + " " + req.URL.Path
			r.refused.Store(&request)
			return nil, fmt.Errorf("the test refuses %s", request)
		}
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// The method `grounds` returns a function for each situation. The keys of the map are the names of the situations. Each function
// changes the ground of an order to fit its situation.
func (w *world) grounds() map[string]func(g *workflowstest.Ground) {
	tenant := "tenantry-merchant-" + w.Merchant.ID
	return map[string]func(g *workflowstest.Ground){
		"a new customer":         func(*workflowstest.Ground) {},
		"a customer's tenant":    func(g *workflowstest.Ground) { g.CustomerID = w.oldCustomer(tenant) },
		"a foreign tenant":       func(g *workflowstest.Ground) { g.CustomerID = w.oldCustomer() },
		"a disabled tenant":      func(g *workflowstest.Ground) { g.CustomerID = w.oldCustomer(tenant); w.disableByHand(g.CustomerID) },
		"a user with all roles":  func(g *workflowstest.Ground) { g.CustomerID = w.oldCustomer(tenant); w.assignByHand(*g, w.roles) },
		"a user with one role":   func(g *workflowstest.Ground) { g.CustomerID = w.oldCustomer(tenant); w.assignByHand(*g, w.roles[:1]) },
		"a customer that is not": func(g *workflowstest.Ground) { g.CustomerID, g.CheckedAt = uuid.NewString(), time.Time{} },
		"a plan that is not":     func(g *workflowstest.Ground) { g.PlanID, g.CheckedAt = uuid.NewString(), time.Time{} },
		"a customer without tenant": func(g *workflowstest.Ground) {
			c, err := w.Billing.EnsureCustomer(w.t.Context(), billing.Customer{
				ID: uuid.NewString(), MerchantID: w.Merchant.ID, Name: "old", Currency: "eur", Language: "eng",
			})
			w.ok(err)
			w.byHand.Lock()
			defer w.byHand.Unlock()
			w.others.Customers, g.CustomerID = append(w.others.Customers, c), c.ID
		},
	}
}

// tenantOf returns a pointer to the element of w.others.Projects that is the customer's tenant.
func (w *world) tenantOf(customerID string) *keystone.Project {
	i := slices.IndexFunc(w.others.Projects, func(p keystone.Project) bool { return p.Name == keystone.CustomerTenant(customerID) })
	return &w.others.Projects[i]
}

func (w *world) disableByHand(customerID string) {
	p := w.tenantOf(customerID)
	w.Keystone.EnableProject(p.ID, false)
	p.Enabled = false
}

func (w *world) assignByHand(g workflowstest.Ground, roles []keystone.Role) {
	for _, r := range roles {
		a := keystone.Assignment{ProjectID: w.tenantOf(g.CustomerID).ID, UserID: g.User, RoleID: r.ID}
		w.Keystone.Assign(a)
		w.others.Assignments = append(w.others.Assignments, a)
	}
}

// unchecked lists the situations that the workflow workflowstest.StrangerName does not check.
var unchecked = []string{"a foreign tenant", "a disabled tenant", "a plan that is not"}

// TestADryRunOfEachWorkflow makes a dry run of each workflow in each situation, while the upstreams refuse every write. The run
// after the dry run must match the result of the dry run.
func TestADryRunOfEachWorkflow(t *testing.T) {
	dryRuns := func(t *testing.T, database string, keystone keystonetest.Options) {
		var gate readOnly
		w := newWorldOn(t, database, keystone, func(o *service.Options) {
			before := o.Around
			o.Around = func(name string, next http.RoundTripper) http.RoundTripper { return gate.around(before(name, next)) }
		})
		seen := map[saga.DryOutcome]int{}
		for _, trial := range workflowstest.Trials() {
			for situation, prepare := range w.grounds() {
				if situation != "a new customer" && trial.Follows != nil {
					continue // the run of trial.Follows has created the customer
				}
				g, token := w.groundOf(t, trial)
				prepare(&g)
				q := trial.Request(g)
				if q.Workflow == workflowstest.StrangerName && slices.Contains(unchecked, situation) {
					continue
				}
				t.Run(q.Workflow+" of "+situation, func(t *testing.T) {
					before, rows := w.outside(), storetest.Rows(t, database)
					gate.closed.Store(true)
					d, err := w.Service.Runs.DryRun(t.Context(), q)
					gate.closed.Store(false)
					if refused := gate.refused.Swap(nil); err != nil || refused != nil {
						if refused == nil {
							refused = new("")
						}
						t.Fatalf("the dry run returned the error %v and tried the write %q; want neither", err, *refused)
					}
					if after := storetest.Rows(t, database); !maps.Equal(after, rows) {
						t.Errorf("the dry run has changed the database: %v, before %v", after, rows)
					}
					for _, s := range d.Steps {
						seen[s.Outcome]++
					}
					w.accept(q, token)
					run := w.until(t, q.ID, (*saga.Run).AtRest)
					for _, differs := range workflowstest.DryRunDiffers(d, run, before) {
						t.Errorf("%s\n%s", differs, describe(run))
					}
					if !over(run) {
						w.compensate(t, run.ID)
					}
				})
			}
		}
		for _, outcome := range []saga.DryOutcome{
			saga.WouldCreate, saga.WouldChange, saga.WouldRemove, saga.WouldAdopt, saga.InConflict, saga.OnlyReads, saga.NothingToDo, saga.Undecided,
		} {
			if seen[outcome] == 0 {
				t.Errorf("no step was %s: %v", outcome, seen)
			}
		}
	}
	onBoth(t, func(t *testing.T, database string) { dryRuns(t, database, keystonetest.Options{}) })
	t.Run("Identity v2.0", func(t *testing.T) { dryRuns(t, storetest.SQLite(t), keystonetest.Options{Pike: true}) })
}

// The method `compensate` requests the compensation of a run that waits for an operator. Then it waits until the run has ended or is
// stuck.
func (w *world) compensate(t *testing.T, runID string) {
	t.Helper()
	_, err := w.Service.Runs.Act(t.Context(), saga.Action{RunID: runID, Name: saga.Compensate, Who: "test", Why: "a test"})
	w.ok(err)
	w.until(t, runID, over)
}

func (w *world) outside() workflowstest.Outside {
	w.t.Helper()
	seen, err := workflowstest.Look(w.t.Context(), w.Keystone, w.Billing, w.Merchant.ID, w.Other.ID)
	w.ok(err)
	return seen
}
