package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	billingserver "github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
)

// The type `ids` has the ids that differ from run to run.
type ids struct {
	Run, Merchant, User, Customer, Subscription, CustomerTenant, SubscriptionTenant string
}

// The type `original` has everything that the engine stored for one run. Finished runs and new runs are copies of an original.
type original struct {
	ids

	created     string // saga.NewRun, as JSON
	checkpoints []string
}

// The type `recorder` is a store that also keeps a copy of each run and each checkpoint in memory.
type recorder struct {
	*store.Store

	mu   sync.Mutex
	runs map[string]*original
}

// Create keeps a copy of the run, and stores the run.
func (r *recorder) Create(ctx context.Context, n saga.NewRun) error {
	encoded, err := json.Marshal(n)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.runs[n.Run.ID] = &original{created: string(encoded)}
	r.mu.Unlock()
	return r.Store.Create(ctx, n)
}

// Commit keeps a copy of the checkpoints, and writes the checkpoints to the store.
func (r *recorder) Commit(ctx context.Context, now time.Time, checkpoints []saga.Checkpoint) []saga.CommitResult {
	r.mu.Lock()
	for _, cp := range checkpoints {
		if encoded, err := json.Marshal(cp); err == nil {
			r.runs[cp.Run.ID].checkpoints = append(r.runs[cp.Run.ID].checkpoints, string(encoded))
		}
	}
	r.mu.Unlock()
	return r.Store.Commit(ctx, now, checkpoints)
}

// makeOriginals starts an engine, which executes two runs with an in-memory Keystone and the embedded BillingStack. The engine
// compensates the second run, because BillingStack refuses the last call of that run.
func makeOriginals(ctx context.Context, db *store.Store) ([]*original, error) {
	refuse := false
	ks := keystonetest.New(keystonetest.Options{})
	stack := billingserver.New(db.Billing(), func(_ *http.Request, err error) { note("embedded BillingStack: %v", err) })
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v3"):
			ks.ServeHTTP(w, r)
		case refuse && r.Method == http.MethodPatch:
			tell(w, http.StatusBadRequest, `{"faultcode": "Client", "faultstring": "the books are closed", "debuginfo": null}`)
		default:
			stack.ServeHTTP(w, r)
		}
	}))
	defer upstream.Close()
	seedKeystone(ks)
	s := site{Upstreams: upstream.URL, Merchant: uuid.NewString(), Plan: uuid.NewString()}
	c, err := newClients(ctx, s)
	if err != nil {
		return nil, err
	}
	_, err = c.billing.CreateMerchant(ctx, billing.Merchant{ID: s.Merchant, Name: "ACME Cloud", Currency: "eur", Language: "eng"})
	if err == nil {
		_, err = c.billing.CreatePlan(ctx, s.Merchant, billing.Plan{ID: s.Plan, Name: "small"})
	}
	if err != nil {
		return nil, err
	}
	r := &recorder{Store: db, runs: map[string]*original{}}
	e, stop, err := c.serveEngine(ctx, db, r)
	if err != nil {
		return nil, err
	}
	defer stop()
	var all []*original
	for i, want := range []saga.RunState{saga.Succeeded, saga.Compensated} {
		refuse = i == 1
		run, err := c.order(ctx, e, ks.IssueToken(ks.AddUser(keystonetest.User{Name: fmt.Sprint("user", i)})))
		if err != nil {
			return nil, err
		}
		if run.State != want {
			return nil, fmt.Errorf("run %s is %s, wanted %s: %+v", run.ID, run.State, want, run.Cause)
		}
		r.mu.Lock()
		o := r.runs[run.ID]
		r.mu.Unlock()
		o.ids = ids{Run: run.ID, Merchant: run.Merchant, User: run.User}
		o.name(run.Objects)
		all = append(all, o)
	}
	return all, nil
}

// The method `name` stores in o the ids of the objects that the run created.
func (o *original) name(objects []saga.Object) {
	for _, object := range objects {
		switch {
		case object.Kind == "customer":
			o.Customer = object.ID
		case object.Kind == "subscription":
			o.Subscription = object.ID
		case strings.HasPrefix(object.Name, keystone.CustomerTenant("")):
			o.CustomerTenant = object.ID
		case strings.HasPrefix(object.Name, keystone.SubscriptionTenant("")):
			o.SubscriptionTenant = object.ID
		}
	}
}

// seedKeystone creates the customers' role, and the service user whose credentials newClients uses.
func seedKeystone(ks *keystonetest.Keystone) {
	ks.AddRole(customerRoles[1])
	admin, err := ks.Role("admin")
	if err != nil {
		panic(err) // every in-memory Keystone has the role admin
	}
	ks.Assign(keystone.Assignment{
		UserID: ks.AddUser(keystonetest.User{Name: "tenantry", Password: "stub"}), ProjectID: ks.AddProject(keystone.Project{Name: "service"}),
		RoleID: admin.ID,
	})
}

// newIDs returns the ids of a new run of a new user.
func newIDs(merchant string) ids {
	tenant := func() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }
	return ids{newID(), merchant, tenant(), uuid.NewString(), uuid.NewString(), tenant(), tenant()}
}

func (o *original) replacer(n ids) *strings.Replacer {
	return strings.NewReplacer(
		o.Run, n.Run, o.Merchant, n.Merchant, o.User, n.User, o.Customer, n.Customer, o.Subscription, n.Subscription,
		o.CustomerTenant, n.CustomerTenant, o.SubscriptionTenant, n.SubscriptionTenant,
	)
}

// The method `another` returns a copy of the original, with the ids n in place of the original's ids. The parameter `replica` names
// the replica that executes the copy. If replica is empty, no replica executes the copy, and the copy is due.
func (o *original) another(n ids, replica string) (another saga.NewRun, err error) {
	err = decode(o.replacer(n).Replace(o.created), &another)
	if err != nil {
		return another, err
	}
	another.Run.Key, another.Run.Replica = uuid.NewString(), replica
	return another, nil
}

// The method `rest` returns the checkpoints of the original, with the ids n in place of the original's ids.
func (o *original) rest(n ids, replica string) ([]saga.Checkpoint, error) {
	all := make([]saga.Checkpoint, len(o.checkpoints))
	for i, text := range o.checkpoints {
		if err := decode(o.replacer(n).Replace(text), &all[i]); err != nil {
			return nil, err
		}
		all[i].Replica = replica
		if all[i].Run.Replica != "" {
			all[i].Run.Replica = replica
		}
	}
	return all, nil
}

func decode(text string, into any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
