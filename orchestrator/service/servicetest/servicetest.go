// Package servicetest builds a complete installation for tests: a Keystone in memory, a BillingStack over HTTP, a database with two
// merchants, and the service itself. The service is built as in production.
package servicetest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// Options configures an Installation. The zero value is valid.
type Options struct {
	// Database is the URL of a database that storetest created; empty means SQLite.
	Database string
	// Keystone are the options of the in-memory Keystone. If Keystone.Pike is true, the service uses Identity v2.0.
	Keystone keystonetest.Options
	// Workflows returns the workflows of the service; nil means [workflows.All].
	Workflows func(workflows.Deps) ([]*saga.Definition, error)
	// Around wraps the HTTP transport of an upstream, like Around in [service.Options]. The wrapper can count, delay, lose or refuse
	// the service's requests. The clients Identity and Billing of the Installation do not use the wrapper.
	Around func(upstream string, next http.RoundTripper) http.RoundTripper
	// If TLS is true, the service serves the API over TLS. Client trusts the certificate.
	TLS bool
	// If Portal is true, the service serves the portals of both merchants.
	Portal bool
	// Change can change the service's options after the other fields of Options were applied.
	Change func(*service.Options)
	// AtEnd can check the effects of the test. AtEnd is called after the service has stopped. Keystone, BillingStack and the store can
	// still be read.
	AtEnd func(*Installation)
}

// Installation is a service with its upstreams and its database. All of them run until the test ends.
type Installation struct {
	URL     string       // URL of the API
	Client  *http.Client // client for the API
	Service *service.Service
	Log     *Log // the service's log, at all levels

	Keystone    *keystonetest.Keystone
	KeystoneURL string
	pike        bool           // the service uses Identity v2.0
	Identity    keystone.Cloud // a client with the admin's credential
	BillingURL  string
	Billing     *billing.Client
	Store       *store.Store // a second Store on the service's database

	Merchant, Other Merchant
	User            string // id of the user whose customer is Merchant.Customer
	UserToken       string // unscoped
	OperatorToken   string
}

// AdminRole is the Keystone role of operators.
const AdminRole = "tenantry-admin"

// New returns an Installation whose service has started. Everything is stopped when the test ends. An internal error of the
// BillingStack server fails the test.
func New(t testing.TB, o Options) *Installation {
	t.Helper()
	if o.Database == "" {
		o.Database = storetest.SQLite(t)
	}
	in := &Installation{Client: &http.Client{Timeout: time.Minute}, Log: &Log{}}
	in.startUpstreams(t, o.Keystone)
	in.Store = openStore(t, o.Database)
	must(t, in.seed(t.Context()))
	if o.AtEnd != nil {
		t.Cleanup(func() { o.AtEnd(in) })
	}

	options := in.options(o)
	if o.TLS {
		options.TLSCert, options.TLSKey, in.Client = certify(t)
	}
	if o.Portal {
		options.Portals = portals(t, in.Merchant, in.Other)
	}
	if o.Change != nil {
		o.Change(&options)
	}
	in.serve(t, options)
	awaitReplica(t, o.Database)
	in.URL = in.Service.URL
	return in
}

func (in *Installation) startUpstreams(t testing.TB, o keystonetest.Options) {
	t.Helper()
	in.Keystone = keystonetest.New(o)
	start := in.Keystone.Start
	if o.Pike {
		start = func() (string, func(), error) {
			public, _, stop, err := in.Keystone.StartBoth()
			return public, stop, err
		}
		in.Keystone.AddRole("member")
	}
	url, stop, err := start()
	must(t, err)
	t.Cleanup(stop)
	in.KeystoneURL, in.pike = url, o.Pike
	in.Identity, err = clouds.Open(in.admin())
	must(t, err)

	stack := httptest.NewServer(server.New(openStore(t, storetest.SQLite(t)).Billing(), func(r *http.Request, err error) {
		if r.Context().Err() == nil { // otherwise the client has gone away: for example, because the service has stopped during an audit
			t.Errorf("BillingStack: %s %s: %v", r.Method, r.URL, err)
		}
	}))
	t.Cleanup(stack.Close)
	in.BillingURL = stack.URL + "/v2"
	in.Billing, err = billing.New(billing.Config{URL: in.BillingURL, Connections: connections})
	must(t, err)
}

// The constant `connections` is the maximum number of concurrent requests to an upstream.
const connections = 64

// The method `admin` returns the Keystone configuration that the service and the test use.
func (in *Installation) admin() conn.Config {
	cfg := conn.Config{
		URL:            in.KeystoneURL,
		Credential:     conn.Credential{Username: "admin", Password: "secret", ProjectName: "admin"},
		MayWriteDomain: func(id string) bool { return id == keystonetest.DefaultDomain },
	}
	if in.pike {
		cfg.Version = "2.0"
		return cfg
	}
	cfg.Credential.UserDomainID, cfg.Credential.ProjectDomainID = keystonetest.DefaultDomain, keystonetest.DefaultDomain
	return cfg
}

var secretKey = bytes.Repeat([]byte{7}, store.KeySize)

func openStore(t testing.TB, database string) *store.Store {
	t.Helper()
	template.Fill(t, database)
	s, _, err := service.Open(t.Context(), service.Config{DatabaseURL: database, SecretKey: secretKey})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// The variable `template` saves the migrations of each SQLite database.
var template = storetest.Template{Migrate: func(ctx context.Context, url string) error {
	s, _, err := service.Open(ctx, service.Config{DatabaseURL: url, SecretKey: secretKey})
	if err != nil {
		return err
	}
	return s.Close()
}}

// The method `options` returns the options of a service with a short late window. The service knows only the default cloud.
func (in *Installation) options(o Options) service.Options {
	return service.Options{
		Config: service.Config{
			Listen: "127.0.0.1:0", DatabaseURL: o.Database, SecretKey: secretKey,
			KeystoneConnections: connections, BillingURL: in.BillingURL, BillingConnections: connections,
			CustomerRoles: []string{"member", "bs-admin"}, SubscriptionRoles: []string{"member"}, Domain: "Default",
			AdminRole: AdminRole, MaxLiveRuns: 1000, LateWindow: time.Millisecond,
		},
		Cloud: func(name string) (conn.Config, error) {
			if name != merchants.DefaultCloud {
				return conn.Config{}, fmt.Errorf("there is no cloud %q", name)
			}
			return in.admin(), nil
		},
		Workflows:   o.Workflows,
		Resources:   workflowstest.NoResources{},
		Around:      o.Around,
		CheckByHand: true, // so that tests see only the requests that they cause
		Version:     "test", Log: zerolog.New(in.Log).Level(zerolog.DebugLevel),
	}
}

func (in *Installation) serve(t testing.TB, o service.Options) {
	t.Helper()
	var err error
	in.Service, err = service.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() {
		if err := in.Service.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}

// awaitReplica waits until the service's replica has joined, which stores a row in the table `replicas`. Without this wait, the row could
// appear while a test compares the rows before and after a request.
func awaitReplica(t testing.TB, database string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for storetest.Rows(t, database)["replicas"] == 0 {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatal("the replica of the service has not joined within a minute")
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
