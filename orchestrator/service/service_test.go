package service_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
)

func TestStartRefuses(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for name, c := range map[string]struct {
		change     func(*service.Options)
		configured bool // true: want a ConfigurationError; false: want an UnreachableError
		says       string
	}{
		"no such certificate":   {func(o *service.Options) { o.TLSCert, o.TLSKey = "/none", "/none" }, true, "open /none"},
		"an address in use":     {func(o *service.Options) { o.Listen = taken.Addr().String() }, true, "listening on"},
		"the embedded's in use": {func(o *service.Options) { o.BillingListen = taken.Addr().String() }, true, "listening on"},
		"no BillingStack's URL": {func(o *service.Options) { o.BillingURL = "http://127.0.0.1:1" }, true, "BillingStack URL"},
		"the embedded for all":  {func(o *service.Options) { o.BillingListen = ":0" }, true, "not a loopback address"},
		"no default cloud": {func(o *service.Options) {
			o.Cloud = func(string) (conn.Config, error) { return conn.Config{}, errors.New("none") }
		}, true, "none"},
		"no cloud for resources": {func(o *service.Options) {
			o.ResourcesCloud = "elsewhere"
			o.Cloud = func(name string) (conn.Config, error) {
				if name == o.ResourcesCloud {
					return conn.Config{}, errors.New("clouds.yaml lacks elsewhere")
				}
				return conn.Config{URL: "http://127.0.0.1:1/v3", Credential: anyCredential}, nil
			}
		}, true, "resources_cloud: clouds.yaml lacks elsewhere"},
		"a broken workflow": {func(o *service.Options) {
			o.Workflows = func(workflows.Deps) ([]*saga.Definition, error) { return nil, errors.New("broken") }
		}, true, "broken"},
		"no database there": {func(o *service.Options) { o.DatabaseURL = "postgres://127.0.0.1:1/none?connect_timeout=1" }, false, "127.0.0.1"},
		"a pooler, and no direct URL": {func(o *service.Options) {
			o.DatabaseURL = storetest.PgBouncer(t, storetest.PostgreSQL(t))
		}, true, "set database_listen_url"},
	} {
		t.Run(name, func(t *testing.T) {
			o := service.Options{
				Config: service.Config{
					Listen: "127.0.0.1:0", DatabaseURL: storetest.SQLite(t), SecretKey: make([]byte, store.KeySize), KeystoneConnections: 1,
					BillingListen: "127.0.0.1:0", BillingConnections: 1,
				},
				Cloud: func(string) (conn.Config, error) {
					return conn.Config{URL: "http://127.0.0.1:1/v3", Credential: anyCredential}, nil
				},
			}
			c.change(&o)
			s, err := service.Start(t.Context(), o)
			if err == nil {
				must(t, s.Stop())
			}
			_, configured := errors.AsType[*service.ConfigurationError](err)
			_, unreachable := errors.AsType[*service.UnreachableError](err)
			if configured != c.configured || unreachable == c.configured || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %T: %v, want %q", err, err, c.says)
			}
		})
	}
}

var anyCredential = conn.Credential{UserID: "u", Password: "p", ProjectID: "p"}

func TestTheEmbeddedBillingStackAnswersLoopbackNamesOnly(t *testing.T) {
	for name, c := range map[string]struct {
		listen string
		remote bool
		want   map[string]int // by the header Host
	}{
		"by default": {"127.0.0.1:0", false, map[string]int{"": 200, "localhost:9091": 200, "[::1]": 200, "evil.example.org": 403}},
		"for all":    {":0", true, map[string]int{"": 200, "billing.example.org:9091": 200}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := service.Start(t.Context(), service.Options{
				Config: service.Config{
					Listen: "127.0.0.1:0", DatabaseURL: storetest.SQLite(t), SecretKey: make([]byte, store.KeySize), KeystoneConnections: 1,
					BillingListen: c.listen, BillingRemote: c.remote, BillingConnections: 1,
				},
				Cloud: func(string) (conn.Config, error) {
					return conn.Config{URL: "http://127.0.0.1:1/v3", Credential: anyCredential}, nil
				},
			})
			must(t, err)
			defer func() { must(t, s.Stop()) }()
			for host, want := range c.want {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.BillingURL+"/merchants", http.NoBody)
				must(t, err)
				r.Host = host
				resp, err := http.DefaultClient.Do(r)
				must(t, err)
				must(t, resp.Body.Close())
				if resp.StatusCode != want {
					t.Errorf("host %q: got %d, want %d", host, resp.StatusCode, want)
				}
			}
		})
	}
}

// The tables of a database are new only at the first start, so that only the first start lets the doctor look at the set-up.
func TestTheTablesAreNewOnce(t *testing.T) {
	for _, url := range []string{storetest.SQLite(t), storetest.PostgreSQL(t)} {
		for _, first := range []bool{true, false} {
			s, err := service.Start(t.Context(), service.Options{
				Config: service.Config{
					Listen: "127.0.0.1:0", DatabaseURL: url, SecretKey: make([]byte, store.KeySize), KeystoneConnections: 1,
					BillingListen: "127.0.0.1:0", BillingConnections: 1,
				},
				Cloud: func(string) (conn.Config, error) {
					return conn.Config{URL: "http://127.0.0.1:1/v3", Credential: anyCredential}, nil
				},
			})
			must(t, err)
			must(t, s.Stop())
			if s.NewTables != first {
				t.Errorf("%s: the tables are new: %t, want %t", url, s.NewTables, first)
			}
		}
	}
}

// A test can run its own workflow on a complete service. The test's transport wrapper sees only the requests of the run. The run
// and BillingStack can be read after the service has stopped.
func TestAWorkflowOfATestRuns(t *testing.T) {
	var seen requests
	var runID string
	in := servicetest.New(t, servicetest.Options{
		Around: seen.around,
		Workflows: func(d workflows.Deps) ([]*saga.Definition, error) {
			definition, err := saga.Define(looking(d))
			return []*saga.Definition{definition}, err
		},
		AtEnd: func(in *servicetest.Installation) {
			ctx := context.Background()
			if r, err := in.Store.Run(ctx, runID); err != nil || r.State != saga.Succeeded {
				t.Errorf("the run at the end: got %+v, %v", r, err)
			}
			if _, err := in.Billing.Merchant(ctx, in.Merchant.ID); err != nil {
				t.Errorf("BillingStack at the end: %v", err)
			}
			if c, err := net.Dial("tcp", strings.TrimPrefix(in.Service.URL, "http://")); err == nil {
				_ = c.Close()
				t.Error("the service still listens")
			}
		},
	})
	run, err := in.Service.Runs.Start(t.Context(), saga.Request{
		ID: "00000000-0000-7000-8000-000000000001", Workflow: "look", Merchant: in.Merchant.ID, Subject: "s", Key: "k",
		OnFailure: saga.FailureCompensates, Input: look{in.Merchant.ID},
	})
	must(t, err)
	runID = run.ID
	watcher := in.Service.Runs.Watch(runID)
	defer watcher.Close()
	must(t, watcher.See(t.Context(), nil, func(r *saga.Run) bool { return !r.State.Ended() }))
	if _, err := in.Billing.Merchant(t.Context(), in.Other.ID); err != nil {
		t.Error(err)
	}
	if got := seen.all(); len(got) != 1 || !strings.HasPrefix(got[0], "billingstack GET") || !strings.HasSuffix(got[0], in.Merchant.ID) {
		t.Errorf("the upstreams' requests: got %q, want only the run's request", got)
	}
}

// The type `look` is an order whose workflow has one step. The step reads a merchant.
type look struct {
	Merchant string `json:"merchant"`
}

func looking(d workflows.Deps) saga.Workflow[look] {
	return saga.Workflow[look]{
		Name: "look", Version: 1,
		Classify: func(error) saga.Classification { return saga.Classification{} },
		Retry:    func(context.Context, look, string) (saga.Request, error) { return saga.Request{}, errors.New("never") },
		Result:   func(look) any { return nil },
		Expect:   func(look) []saga.Expected { return nil },
		Steps: []saga.Step[look]{{
			Name: "read", NoUndo: "it only reads",
			Do: func(ctx context.Context, l *look) error {
				_, err := d.Billing.Merchant(ctx, l.Merchant)
				return err
			},
		}},
	}
}

// The type `requests` contains a list of the requests that were sent to upstreams.
type requests struct {
	mu   sync.Mutex
	sent []string
}

func (r *requests) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.sent)
}

func (r *requests) around(upstream string, next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		r.mu.Lock()
		r.sent = append(r.sent, upstream+" "+req.Method+" "+req.URL.String())
		r.mu.Unlock()
		return next.RoundTrip(req)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
