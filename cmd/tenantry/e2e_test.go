package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
	"github.com/tenantry/tenantry/workflows/workflowstest/transcript"
)

// These tests run the binary as an operator does and call it as a portal does: over HTTP, with what the README tells.

// binary builds the command once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tenantry-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "tenantry")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the command: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// site is one installation: a cloud, a BillingStack, a database, and the environment that names them.
type site struct {
	t        testing.TB
	cloud    cloud
	billing  *billing.Client
	env      []string
	log      *logFile
	database string // of the replicas

	merchant billing.Merchant
	plan     billing.Plan
	customer string // who is subscribed where nothing else is said; empty: a new one
	apiKey   string
	secret   string

	others workflowstest.Outside // what runs may adopt, but not touch

	mu      sync.Mutex
	answers bytes.Buffer           // the bodies of all
	finals  []workflowstest.Answer // those that told how a run ended
	tokens  []string               // of users
}

// installation is the id that the tenants bear, read from the database.
func (s *site) installation() string {
	s.t.Helper()
	st, err := store.Open(context.Background(), s.database, secretKey)
	s.ok(err)
	defer func() { _ = st.Close() }()
	id, err := st.InstallationID(context.Background())
	s.ok(err)
	return id
}

// upstream stands in front of Keystone and of BillingStack: before may look at each request, around carries it out by next,
// or does not.
type upstream struct {
	next   http.Handler
	before func(*http.Request)
	around func(w *httptest.ResponseRecorder, r *http.Request, next http.Handler)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	again := func() *http.Request { r.Body = io.NopCloser(bytes.NewReader(body)); return r }
	if u.before != nil {
		u.before(again())
	}
	if r.Context().Err() != nil {
		return
	}
	answer := httptest.NewRecorder()
	if u.around != nil {
		u.around(answer, again(), u.next)
	} else {
		u.next.ServeHTTP(answer, again())
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// newSite seeds an installation. in stands in front of BillingStack; the caller puts its own in front of Keystone.
func newSite(t testing.TB, database string, c cloud, in *upstream) *site {
	t.Helper()
	s := &site{t: t, cloud: c, database: database, log: &logFile{path: filepath.Join(t.TempDir(), "log")}}

	st, err := store.Open(t.Context(), storetest.SQLite(t), make([]byte, store.KeySize))
	s.ok(err)
	t.Cleanup(func() { _ = st.Close() })
	_, err = st.Migrate(t.Context())
	s.ok(err)
	in.next = server.New(st.Billing(), func(*http.Request, error) {})
	if c.all != nil {
		in.next = c.removed.Handler(in.next)
	}
	bs := httptest.NewServer(c.story.Handler(transcript.BillingStack, in))
	t.Cleanup(bs.Close)
	s.billing, err = billing.New(billing.Config{URL: bs.URL + "/v2", Connections: 4})
	s.ok(err)
	s.merchant, err = s.billing.CreateMerchant(t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "ACME", Currency: "eur", Language: "eng"})
	s.ok(err)
	s.plan, err = s.billing.CreatePlan(t.Context(), s.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "small"})
	s.ok(err)

	s.env = append(os.Environ(),
		"TENANTRY_DATABASE_URL="+database, "TENANTRY_SECRET_KEY="+base64.StdEncoding.EncodeToString(secretKey),
		"TENANTRY_BILLING_URL="+bs.URL+"/v2", "TENANTRY_BILLING_CONNECTIONS=8", "TENANTRY_LEASE=1s", "TENANTRY_LATE_WINDOW=1s",
		"TENANTRY_LOG_LEVEL=debug", "HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir(),
		"OS_AUTH_URL="+c.url, "OS_USERNAME=admin", "OS_PASSWORD="+c.password, "OS_PROJECT_NAME=admin",
		"OS_USER_DOMAIN_NAME=Default", "OS_PROJECT_DOMAIN_NAME=Default", "OS_IDENTITY_API_VERSION=3")
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "TENANTRY_TEST_") })

	var made struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	s.unmarshal(s.run("merchant", "create", s.merchant.ID, "--name", "ACME", "-f", "json"), &made)
	s.apiKey, s.secret = made.APIKey, made.APISecret
	if s.apiKey == "" || s.secret == "" {
		t.Fatal("merchant create printed no key")
	}
	if c.all != nil {
		s.checkAtTheEnd(database)
	}
	c.story.Begin()
	return s
}

func (s *site) ok(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) unmarshal(data []byte, v any) {
	s.t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		s.t.Fatalf("%v in %s", err, data)
	}
}

// run runs a command of the binary to its end.
func (s *site) run(args ...string) []byte {
	s.t.Helper()
	path, err := binary()
	s.ok(err)
	cmd := exec.CommandContext(s.t.Context(), path, args...)
	cmd.Env = s.env
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		s.t.Fatalf("tenantry %s: %v: %s", strings.Join(args, " "), err, exit.Stderr)
	}
	s.ok(err)
	return out
}

// answer is what came back of a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// run is a run as the API shows it.
type run struct {
	ID     string            `json:"id"`
	State  string            `json:"state"`
	Result map[string]string `json:"result"`
	Steps  []struct {
		Name     string `json:"name"`
		State    string `json:"state"`
		Attempts int    `json:"attempts"`
	} `json:"steps"`
}

// order is what a portal asks for.
type order struct {
	customer   string // who is subscribed; empty: a new one
	key, token string
}

// subscribe makes the portal's call.
func (s *site) subscribe(url, key, token string, header ...string) (answer, error) {
	return s.send(url, order{s.customer, key, token}, header...)
}

func (s *site) send(url string, o order, header ...string) (answer, error) {
	body := fmt.Sprintf(`{"plan_id":%q,"customer":{"name":"Jane","currency":"eur","language":"eng"}}`, s.plan.ID)
	if o.customer != "" {
		body = fmt.Sprintf(`{"plan_id":%q,"customer_id":%q,"add_user":true}`, s.plan.ID, o.customer)
	}
	req, err := http.NewRequest(http.MethodPost, url+"/v1/merchants/"+s.merchant.ID+"/subscriptions", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", o.key)
	req.Header.Set("X-Subject-Token", o.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return s.do(req)
}

// get reads something as the portal.
func (s *site) get(url, path string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, url+path, nil)
	if err != nil {
		return answer{}, err
	}
	return s.do(req)
}

func (s *site) do(req *http.Request) (answer, error) {
	req.SetBasicAuth(s.apiKey, s.secret)
	resp, err := (&http.Client{Timeout: 40 * time.Second}).Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers.Write(body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// until reads a run until it has ended.
func (s *site) until(url, id, state string) run {
	s.t.Helper()
	var r run
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		a, err := s.get(url, "/v1/runs/"+id)
		if err != nil || a.status != http.StatusOK {
			continue
		}
		s.unmarshal(a.body, &r)
		if r.State == state {
			return r
		}
	}
	s.t.Fatalf("run %s is %s, want %s: %+v\n%s", id, r.State, state, r, s.log.read())
	return r
}

// whole checks that exactly one of each thing exists for a succeeded run, and returns the customer tenant.
func (s *site) whole(r run, user string) (customer project) {
	s.t.Helper()
	customers, err := s.billing.Customers(s.t.Context(), s.merchant.ID)
	s.ok(err)
	subscriptions, err := s.billing.Subscriptions(s.t.Context(), s.merchant.ID)
	s.ok(err)
	if len(customers) != 1 || len(subscriptions) != 1 {
		s.t.Fatalf("%d customers and %d subscriptions exist, want one of each", len(customers), len(subscriptions))
	}
	customer = s.cloud.project(s.t, "bs-customer-"+customers[0].ID)
	subscription := s.cloud.project(s.t, "bs-subscription-"+subscriptions[0].ID)
	if subscriptions[0].ResourceID != subscription.ID {
		s.t.Errorf("the subscription's resource is %q, want %q", subscriptions[0].ResourceID, subscription.ID)
	}
	want := map[string]string{
		"plan_id": s.plan.ID, "customer_id": customers[0].ID, "customer_tenant_id": customer.ID,
		"subscription_id": subscriptions[0].ID, "subscription_tenant_id": subscription.ID,
	}
	if fmt.Sprint(r.Result) != fmt.Sprint(want) {
		s.t.Errorf("the run's result is %v, want %v", r.Result, want)
	}
	for _, p := range []project{customer, subscription} {
		tags := []string{"tenantry", "tenantry-installation-" + s.installation(), "tenantry-merchant-" + s.merchant.ID, "tenantry-run-" + r.ID}
		slices.Sort(p.Tags)
		if !slices.Equal(p.Tags, tags) || !p.Enabled {
			s.t.Errorf("project %s has tags %v, enabled %t; want %v", p.Name, p.Tags, p.Enabled, tags)
		}
	}
	if got := s.cloud.roles(s.t, customer.ID, user); !slices.Equal(got, []string{"bs-admin", "member"}) {
		s.t.Errorf("roles on the customer tenant: %v", got)
	}
	if got := s.cloud.roles(s.t, subscription.ID, user); !slices.Equal(got, []string{"member"}) {
		s.t.Errorf("roles on the subscription tenant: %v", got)
	}
	return customer
}
