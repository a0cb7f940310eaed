package workflows_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/orchestrator/upstream/gate"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
	"github.com/tenantry/tenantry/workflows/workflowstest/transcript"
)

// world is everything that a run of subscribe touches, over real HTTP on a real database.
type world struct {
	t        *testing.T
	store    *store.Store
	engine   *engine.Engine
	cloud    *keystonetest.Keystone
	billing  *billing.Client // without faults
	identity keystone.Identity
	settings changedMerchant
	books    string // the address of BillingStack
	handover workflows.Handover
	faults   faults
	removed  workflowstest.Recorder
	story    *transcript.Story
	byHand   sync.Mutex            // of others
	others   workflowstest.Outside // what the test has made by hand, and the runs have to leave
	guarded  atomic.Bool           // no domain may be written

	definitions []*saga.Definition // of all trials

	merchant, other billing.Merchant
	plan            billing.Plan
	roles           []keystone.Role // member, bs-admin
}

func newWorld(t *testing.T, database string) *world {
	t.Helper()
	w := &world{t: t, cloud: keystonetest.New(keystonetest.Options{}), story: transcript.New(t, "workflows")}
	w.store = openStore(t, database)
	w.removed.Tags, w.removed.Now = workflowstest.TagsIn(w.cloud), time.Now
	w.faults.of, w.faults.late = map[string]*fault{}, map[string]*sync.WaitGroup{}

	keystoneURL, stop, err := w.cloud.Start()
	w.ok(err)
	t.Cleanup(stop)
	w.cloud.AddRole("bs-admin")
	w.identity = w.newIdentity(keystoneURL)
	w.roles, err = w.identity.Roles(t.Context(), []string{"member", "bs-admin"})
	w.ok(err)

	bs := httptest.NewServer(server.New(openStore(t, storetest.SQLite(t)).Billing(), func(r *http.Request, err error) { t.Errorf("%s %s: %v", r.Method, r.URL, err) }))
	t.Cleanup(bs.Close)
	w.books = bs.URL
	w.billing, err = billing.New(billing.Config{URL: bs.URL + "/v2", Connections: 16})
	w.ok(err)
	faulty, err := billing.New(billing.Config{
		URL: bs.URL + "/v2", Connections: 64, Timeout: upstreamTimeout,
		Wrap: func(next http.RoundTripper) http.RoundTripper {
			return gate.Fence(w.faults.around(w.removed.Around(w.story.Around(transcript.BillingStack, next))))
		},
	})
	w.ok(err)
	w.merchant, err = w.billing.CreateMerchant(t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "ACME", Currency: "eur", Language: "eng"})
	w.ok(err)
	w.other, err = w.billing.CreateMerchant(t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "Other", Currency: "eur", Language: "eng"})
	w.ok(err)
	w.plan, err = w.billing.CreatePlan(t.Context(), w.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "small"})
	w.ok(err)

	w.definitions, err = workflowstest.Definitions(workflows.Deps{
		Identity: func(string) (keystone.Identity, error) { return w.identity, nil },
		Billing:  faulty, Merchants: &w.settings, Reads: &coalesce.Reads{}, Handover: &w.handover, Now: time.Now, Installation: installation,
		Defaults: usualDefaults,
	})
	w.ok(err)
	o := engine.Options{
		Store: w.store, Queue: w.store, Tokens: w.store, Workflows: w.definitions, NewID: newID, Executors: 200,
		Lease: 5 * time.Second, LateWindow: lateWindow, Poll: 500 * time.Millisecond, Deadline: deadline,
		OnFault: func(err error) { t.Log("engine:", err) },
	}
	w.engine = engine.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.engine.Serve(ctx, 2*time.Second); close(done) }()
	w.others, err = workflowstest.Look(t.Context(), w.cloud, w.billing)
	w.ok(err)
	w.story.Begin()
	t.Cleanup(func() { cancel(); <-done; w.check() })
	return w
}

// check ends every test: whatever it did, no promise may be broken.
func (w *world) check() {
	ctx := context.Background()
	seen := workflowstest.Seen{Installation: installation, Others: w.others, Removals: w.removed.Removals(), Skew: time.Second}
	var err error
	if seen.Now, err = workflowstest.Look(ctx, w.cloud, w.billing, w.merchant.ID, w.other.ID); err != nil {
		w.t.Error(err)
	}
	if seen.Runs, seen.Events, err = workflowstest.LookAtRuns(ctx, w.store); err != nil {
		w.t.Error(err)
	}
	for _, broken := range workflowstest.Check(seen) {
		w.t.Error(broken)
	}
}

// checkRun tells what is broken of one run that has ended.
func (w *world) checkRun(r *saga.Run) (all []workflowstest.Broken) {
	i := slices.IndexFunc(w.definitions, func(d *saga.Definition) bool { return d.Name == r.Workflow })
	expected, err := w.definitions[i].Expect(r)
	w.ok(err)
	now := workflowstest.Outside{Projects: w.cloud.Projects(), Assignments: w.cloud.Assignments()}
	ctx := context.Background()
	for _, e := range expected { // of a merchant there are too many to read all for each run
		if c, err := w.billing.Customer(ctx, r.Merchant, e.ID); err == nil && e.Kind == "customer" {
			now.Customers = append(now.Customers, c)
		}
		if s, err := w.billing.Subscription(ctx, r.Merchant, e.ID); err == nil && e.Kind == "subscription" {
			now.Subscriptions = append(now.Subscriptions, s)
		}
	}
	w.byHand.Lock()
	others := w.others
	w.byHand.Unlock()
	for _, b := range workflowstest.Check(workflowstest.Seen{Installation: installation, Runs: []*saga.Run{r}, Now: now, Others: others}) {
		if b.Run == r.ID && (b.Invariant == "succeeded-whole" || b.Invariant == "compensated-clean") {
			all = append(all, b)
		}
	}
	return all
}

const (
	upstreamTimeout = 2 * time.Second
	installation    = "i-1"
	lateWindow      = 2400 * time.Millisecond
	deadline        = 4 * time.Second
)

func (w *world) newIdentity(url string) keystone.Identity {
	cloud, err := v3.New(v3.Config{
		URL: url, Timeout: upstreamTimeout,
		Credential: v3.Credential{
			Username: "admin", Password: "secret", UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
		},
		Base:           gate.Fence(w.faults.around(w.removed.Around(w.story.Around(transcript.Keystone, v3.NewTransport(nil))))),
		MayWriteDomain: func(id string) bool { return id == keystonetest.DefaultDomain && !w.guarded.Load() },
	})
	w.ok(err)
	return cloud
}

func openStore(t *testing.T, database string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), database, make([]byte, store.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// usualDefaults are what the orders of the tests would be admitted with.
var usualDefaults = workflows.Defaults{
	CustomerRoles: []string{"member", "bs-admin"}, SubscriptionRoles: []string{"member"}, Domain: keystonetest.DefaultDomain,
}

// knownMerchant is the merchant whose runs there are.
type knownMerchant string

// Merchant implements [workflows.Merchants].
func (k knownMerchant) Merchant(_ context.Context, id string) (merchants.Merchant, error) {
	if id != string(k) {
		return merchants.Merchant{}, merchants.ErrNotFound
	}
	return merchants.Merchant{ID: id, Cloud: merchants.DefaultCloud}, nil
}

// order is a usual one, of a new user with an unscoped token.
func (w *world) order() (workflows.Order, string) {
	user := w.cloud.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"})
	return workflows.Order{
		Asked: workflows.Asked{
			MerchantID:  w.merchant.ID,
			PlanID:      w.plan.ID,
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
	}, w.cloud.IssueToken(user)
}

// ground is where an order of a new user is made, with the user's token.
func (w *world) ground() (workflowstest.Ground, string) {
	user := w.cloud.AddUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"})
	return workflowstest.Ground{
		RunID: newID(), MerchantID: w.merchant.ID, PlanID: w.plan.ID, User: user, Cloud: "default",
		DomainID: keystonetest.DefaultDomain, Roles: w.roles, CheckedAt: time.Now(),
	}, w.cloud.IssueToken(user)
}

// start begins a run of the order.
func (w *world) start(runID string, o workflows.Order, token string) {
	w.t.Helper()
	w.accept(o.Request(runID, ""), token)
}

// accept begins a run; its id is its key.
func (w *world) accept(q saga.Request, token string) {
	w.t.Helper()
	q.Key, q.Token, q.TokenExpiresAt = q.ID, token, time.Now().Add(time.Hour)
	_, err := w.engine.Start(w.t.Context(), q)
	w.ok(err)
}

// until waits for the run to come into a state that ok accepts.
func (w *world) until(t *testing.T, runID string, ok func(*saga.Run) bool) *saga.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last *saga.Run
	watcher := w.engine.Watch(runID)
	defer watcher.Close()
	err := watcher.See(ctx, nil, func(r *saga.Run) bool { last = r; return !ok(r) })
	if err != nil {
		t.Fatalf("waiting: %v; the run: %s", err, describe(last))
	}
	return last
}

func over(r *saga.Run) bool { return r.State.Ended() || r.State == saga.Stuck }

func describe(r *saga.Run) string {
	if r == nil {
		return "never seen"
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s reason=%+v cause=%+v", r.State, r.Reason, r.Cause)
	for _, step := range r.Steps {
		fmt.Fprintf(&s, "\n  %-32s %-10s attempts=%d undos=%d unknowns=%d error=%+v",
			step.Name, step.State, step.Attempts, step.Undos, step.Unknowns, step.Error)
	}
	return s.String()
}

// things tells what exists upstream of a run: customer, subscription, its resource, projects and role assignments.
func (w *world) things(t *testing.T, runID string) string {
	t.Helper()
	run, err := w.store.Run(t.Context(), runID)
	if err != nil {
		t.Fatal(err)
	}
	o := workflows.Order{
		Asked: workflows.Asked{
			NewCustomer: &workflows.NewCustomer{},
		},
	}.Named(runID)
	var all []string
	if _, err := w.billing.Customer(t.Context(), w.merchant.ID, o.CustomerID); err == nil {
		all = append(all, "customer")
	}
	projects := map[string]string{}
	for _, p := range w.cloud.Projects() {
		if !p.HasTag("tenantry-run-" + runID) {
			continue
		}
		name, _, _ := strings.Cut(p.Name, "-"+o.CustomerID)
		name, _, _ = strings.Cut(name, "-"+o.SubscriptionID)
		projects[p.ID] = name
		all = append(all, name)
	}
	for _, a := range w.cloud.Assignments() {
		if name, ok := projects[a.ProjectID]; ok && a.UserID == run.User {
			i := slices.IndexFunc(w.roles, func(r keystone.Role) bool { return r.ID == a.RoleID })
			all = append(all, name+"/"+w.roles[i].Name)
		}
	}
	if s, err := w.billing.Subscription(t.Context(), w.merchant.ID, o.SubscriptionID); err == nil {
		name, attached := projects[s.ResourceID]
		if !attached {
			name = "pending"
		}
		all = append(all, "subscription -> "+name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// whole is what a succeeded run has made: one of each thing.
const whole = "bs-customer, bs-customer/bs-admin, bs-customer/member, bs-subscription, bs-subscription/member, " +
	"customer, subscription -> bs-subscription"

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// faults are what happens to the writes of runs, by "run step".
type faults struct {
	mu   sync.Mutex
	of   map[string]*fault
	late map[string]*sync.WaitGroup // by run: requests that are carried out after their time-out
}

// lateCall notes one that will be carried out late; the result is called when it is.
func (f *faults) lateCall(runID string) (done func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late[runID] == nil {
		f.late[runID] = &sync.WaitGroup{}
	}
	f.late[runID].Add(1)
	return f.late[runID].Done
}

// awaitLate waits until all that a run has sent is carried out.
func (f *faults) awaitLate(runID string) {
	f.mu.Lock()
	late := f.late[runID]
	f.mu.Unlock()
	if late != nil {
		late.Wait()
	}
}

type fault struct {
	reads  string // the service whose reads are met; empty: the writes of all
	happen happening
	times  int
}

func (f *fault) meets(req *http.Request) bool {
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	service := "billing"
	if strings.Contains(req.URL.Path, "/v3/") {
		service = "keystone"
	}
	return f.times > 0 && (f.reads == "" && !read || read && f.reads == service)
}

func (f *faults) set(runID, step string, undo bool, times int, happen happening) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[faultKey(runID, step, undo)] = &fault{happen: happen, times: times}
}

// setReads has the reads of a step meet the fault.
func (f *faults) setReads(runID, step, service string, times int, happen happening) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[faultKey(runID, step, false)] = &fault{service, happen, times}
}

func (f *faults) lift(runID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.of {
		if strings.HasPrefix(key, runID) {
			delete(f.of, key)
		}
	}
}

func faultKey(runID, step string, undo bool) string { return fmt.Sprint(runID, " ", step, " ", undo) }

func (f *faults) around(next http.RoundTripper) http.RoundTripper { return faulty{f, next} }

type faulty struct {
	*faults
	next http.RoundTripper
}

func (f faulty) RoundTrip(req *http.Request) (*http.Response, error) {
	call := saga.CallOf(req.Context())
	login := strings.HasSuffix(req.URL.Path, "/auth/tokens") && call.Step != "scope-token"
	f.mu.Lock()
	fault := f.of[faultKey(call.RunID, call.Step, call.Undoes())]
	hit := fault != nil && !login && fault.meets(req)
	if hit {
		fault.times--
	}
	f.mu.Unlock()
	if !hit {
		return f.next.RoundTrip(req)
	}
	return fault.happen(f.next, req)
}

// onBoth runs a test on each kind of database.
func onBoth(t *testing.T, test func(t *testing.T, database string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, storetest.PostgreSQL(t)) })
}
