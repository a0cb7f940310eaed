package api_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	billingserver "github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream/coalesce"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest/transcript"
)

const adminRole = "tenantry-admin"

// world is a whole service over an in-memory Keystone and an embedded BillingStack, and what it was given to begin with.
type world struct {
	t        *testing.T
	url      string
	handler  http.Handler
	store    *store.Store
	engine   *engine.Engine
	reads    coalesce.Reads
	handover workflows.Handover
	keystone *keystonetest.Keystone
	cloud    *v3.Cloud
	billing  *billing.Client
	log      *lockedBuffer
	steps    *standIn
	document *contract
	story    *transcript.Story

	upstreamDown   atomic.Bool  // Keystone answers 503
	billingDown    atomic.Bool  // and BillingStack
	keystoneReads  atomic.Int32 // requests other than writes
	billingReads   atomic.Int32
	upstreamWrites atomic.Int32 // requests that may change something

	merchant, other portal // two merchants with keys
	plan, otherPlan string // of each
	customer        string // of the first, with a tenant on which user has a role
	otherCustomer   string
	user            string
	userToken       string // unscoped
	operatorToken   string
}

// portal is a merchant's way in.
type portal struct{ id, key, secret string }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// onBoth runs a test on both databases.
func onBoth(t *testing.T, test func(t *testing.T, database string)) {
	t.Run("SQLite", func(t *testing.T) { test(t, storetest.SQLite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { test(t, storetest.PostgreSQL(t)) })
}

// newWorld makes a world on SQLite whose workflow is the stand-in.
func newWorld(t *testing.T, change ...func(*api.Options)) *world {
	t.Helper()
	return newWorldOn(t, storetest.SQLite(t), change...)
}

func newWorldOn(t *testing.T, database string, change ...func(*api.Options)) *world {
	t.Helper()
	w := startUpstreams(t, database)
	workflow, err := saga.Define(w.steps.workflow())
	must(t, err)
	w.serve([]*saga.Definition{workflow}, append([]func(*api.Options){func(o *api.Options) {
		o.ScopedTokens = w.steps
	}}, change...)...)
	return w
}

// serve starts the engine and the API, and seeds the world.
func (w *world) serve(definitions []*saga.Definition, change ...func(*api.Options)) {
	t := w.t
	w.engine = engine.New(engine.Options{
		Store: w.store, Queue: w.store, Tokens: w.store, Workflows: definitions, NewID: newID, LateWindow: time.Millisecond,
	})
	w.serveEngine()

	options := api.Options{
		Runs: w.engine, Starter: w.engine, Actions: w.engine, Admit: w.deps(), Merchants: w.store.Merchants(), Billing: w.billing,
		Identity: w.identity, Now: w.engine.Clock.Now, Random: rand.Reader, MaxLiveRuns: 1000,
		AdminRole: adminRole, KeystoneURL: "https://keystone.example.org/v3", Version: "test",
		Log: zerolog.New(w.log).Level(zerolog.DebugLevel),
	}
	for _, c := range change {
		c(&options)
	}
	var err error
	w.handler, err = api.New(options)
	must(t, err)
	front := httptest.NewServer(w.story.Handler(transcript.API, w.handler))
	t.Cleanup(front.Close)
	w.url = front.URL
	w.document = readContract(t, front.URL)
	w.seed()
	w.upstreamWrites.Store(0)
	w.story.Begin()
}

func (w *world) identity(cloud string) (keystone.Identity, error) {
	if cloud != merchants.DefaultCloud {
		return nil, fmt.Errorf("there is no cloud %q", cloud)
	}
	return w.cloud, nil
}

// deps are what the workflows and their admission work on.
func (w *world) deps() workflows.Deps {
	return workflows.Deps{
		Identity: w.identity, Billing: w.billing, Merchants: w.store.Merchants(), Reads: &w.reads, Handover: &w.handover, Now: time.Now, NewID: newID,
		Defaults: workflows.Defaults{CustomerRoles: []string{"member", "bs-admin"}, SubscriptionRoles: []string{"member"}, Domain: "Default"},
	}
}

func openStore(t *testing.T, database string) *store.Store {
	s, err := store.Open(t.Context(), database, bytes.Repeat([]byte{7}, store.KeySize))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	_, err = s.Migrate(t.Context())
	must(t, err)
	return s
}

// startUpstreams makes a world without a service.
func startUpstreams(t *testing.T, database string) *world {
	w := &world{t: t, log: &lockedBuffer{}, story: transcript.New(t, "orchestrator/api"), store: openStore(t, database)}
	w.keystone = keystonetest.New(keystonetest.Options{})
	w.keystone.AddRole("bs-admin")
	front := httptest.NewServer(w.story.Handler(transcript.Keystone, w.counted(w.keystone, &w.upstreamDown, &w.keystoneReads)))
	w.t.Cleanup(front.Close)
	var err error
	w.cloud, err = v3.New(v3.Config{URL: front.URL + "/v3", Credential: v3.Credential{
		Username: "admin", Password: "secret", UserDomainID: keystonetest.DefaultDomain,
		ProjectName: "admin", ProjectDomainID: keystonetest.DefaultDomain,
	}, MayWriteDomain: func(id string) bool { return id == keystonetest.DefaultDomain }})
	must(w.t, err)

	stack := billingserver.New(w.store.Billing(), func(r *http.Request, err error) { w.t.Errorf("BillingStack: %s %s: %v", r.Method, r.URL, err) })
	back := httptest.NewServer(w.story.Handler(transcript.BillingStack, w.counted(stack, &w.billingDown, &w.billingReads)))
	w.t.Cleanup(back.Close)
	w.billing, err = billing.New(billing.Config{URL: back.URL + "/v2", Connections: 8})
	must(w.t, err)
	w.steps = &standIn{billing: w.billing, token: make(chan string, 1)}
	return w
}

// counted counts what comes, and can be out of order.
func (w *world) counted(next http.Handler, down *atomic.Bool, reads *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodGet, r.Method == http.MethodHead, strings.HasSuffix(r.URL.Path, "/auth/tokens"):
			reads.Add(1)
		default:
			w.upstreamWrites.Add(1)
		}
		if down.Load() {
			out.Header().Set("Retry-After", "17")
			http.Error(out, "the canary of an upstream's text", http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(out, r)
	})
}

func (w *world) serveEngine() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.engine.Serve(ctx, time.Second); close(done) }()
	w.t.Cleanup(func() { w.steps.open(); cancel(); <-done })
}

// seed makes what a service finds that has been in use.
func (w *world) seed() {
	t := w.t
	w.merchant, w.plan, w.customer = w.addMerchant("Shop")
	w.other, w.otherPlan, w.otherCustomer = w.addMerchant("Other")
	w.user = w.keystone.AddUser(keystonetest.User{Name: "ada", Password: "pw"})
	w.userToken = w.keystone.IssueToken(w.user)
	tenant := w.keystone.AddProject(keystone.Project{Name: "bs-customer-" + w.customer})
	member, err := w.keystone.Role("member")
	must(t, err)
	w.keystone.Assign(keystone.Assignment{ProjectID: tenant, UserID: w.user, RoleID: member.ID})

	role := w.keystone.AddRole(adminRole)
	operator := w.keystone.AddUser(keystonetest.User{Name: "olga", Password: "pw"})
	project := w.keystone.AddProject(keystone.Project{Name: "operations"})
	w.keystone.Assign(keystone.Assignment{ProjectID: project, UserID: operator, RoleID: role})
	w.operatorToken = w.scope(w.keystone.IssueToken(operator), project)
}

// scope makes a scoped token of an unscoped one.
func (w *world) scope(token, projectID string) string {
	w.t.Helper()
	scoped, err := w.cloud.ExchangeToken(w.t.Context(), token, projectID)
	must(w.t, err)
	return scoped.ID
}

func (w *world) addMerchant(name string) (p portal, plan, customer string) {
	t, ctx := w.t, w.t.Context()
	m, err := w.billing.CreateMerchant(ctx, billing.Merchant{Name: name, Currency: "nok", Language: "nor"})
	must(t, err)
	made, err := w.billing.CreatePlan(ctx, m.ID, billing.Plan{Name: name + "'s plan"})
	must(t, err)
	c, err := w.billing.EnsureCustomer(ctx, billing.Customer{
		ID: uuid.NewString(), MerchantID: m.ID, Name: "Customer of " + name, Currency: "nok", Language: "nor",
	})
	must(t, err)
	key, secret, err := merchants.NewKey(rand.Reader, m.ID, time.Now())
	must(t, err)
	must(t, w.store.Merchants().Create(ctx, merchants.Merchant{
		ID: m.ID, Name: name, Cloud: merchants.DefaultCloud, OnFailure: merchants.Compensate, CreatedAt: time.Now(),
	}, key))
	return portal{m.ID, key.Key, secret}, made.ID, c.ID
}

// request is one call of the API; zero fields are left out.
type request struct {
	method, path string
	body         string
	portal       portal
	operator     string
	header       http.Header
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// call sends a request and holds the answer against the document.
func (w *world) call(q request) answer {
	w.t.Helper()
	a, err := w.try(q)
	must(w.t, err)
	w.document.check(w.t, q, a)
	return a
}

func (w *world) try(q request) (answer, error) {
	r, err := http.NewRequestWithContext(w.t.Context(), cmp.Or(q.method, http.MethodGet), w.url+q.path, strings.NewReader(q.body))
	if err != nil {
		return answer{}, err
	}
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(r.Header, q.header)
	if q.portal.key != "" {
		r.SetBasicAuth(q.portal.key, q.portal.secret)
	}
	if q.operator != "" {
		r.Header.Set("X-Auth-Token", q.operator)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, errors.Join(err, resp.Body.Close())
}

// order is a good subscribe call, which a test spoils.
func (w *world) order(key string) request {
	return request{
		method: http.MethodPost, path: "/v1/merchants/" + w.merchant.id + "/subscriptions", portal: w.merchant,
		body: fmt.Sprintf(`{"plan_id": %q, "customer": {"name": "Ada", "currency": "nok", "language": "nor"}}`, w.plan),
		header: http.Header{
			"Idempotency-Key": {key}, "X-Subject-Token": {w.userToken},
		},
	}
}

// runs counts what was accepted.
func (w *world) runs() int {
	w.t.Helper()
	all, err := w.store.Runs(w.t.Context(), saga.Filter{Limit: 1000})
	must(w.t, err)
	return len(all)
}

// read decodes a body.
func read[T any](t *testing.T, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// refused sends a request that must be refused for that reason and write nothing.
func (w *world) refused(q request, status int, problem string) answer {
	w.t.Helper()
	runs := w.runs()
	a := w.call(q)
	if p := read[api.Problem](w.t, a); a.status != status || p.Type != "/problems/"+problem {
		w.t.Errorf("got %d %s, want %d %s: %s", a.status, p.Type, status, problem, a.body)
	}
	if after, writes := w.runs(), w.upstreamWrites.Load(); after != runs || writes != 0 {
		w.t.Errorf("the refused request made %d runs and %d writes upstream", after-runs, writes)
	}
	return a
}

// from asks as the merchant, from an address.
func (w *world) from(remote, path string) int {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = remote
	r.SetBasicAuth(w.merchant.key, w.merchant.secret)
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r)
	return out.Code
}
