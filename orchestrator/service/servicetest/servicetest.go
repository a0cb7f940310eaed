// Package servicetest makes one whole installation for tests: a Keystone in memory, a BillingStack over HTTP, a database, two
// merchants that have been in use, and the service itself, built as in production.
package servicetest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
	"github.com/tenantry/tenantry/workflows/workflowstest/transcript"
)

// Options are an installation's; the zero value will do.
type Options struct {
	// Database is what storetest makes; empty means SQLite.
	Database string
	// Package is the directory that the recording of the test's exchanges is kept under; see [transcript.New]. Empty: none is
	// made. What passes Around is not recorded unless it is sent.
	Package string
	// Workflows defines what can be run; nil means [workflows.All].
	Workflows func(workflows.Deps) ([]*saga.Definition, error)
	// Around goes around the transport of the service's requests to an upstream, as [service.Options] has it: it counts, delays,
	// loses or refuses them. The installation's own clients do not pass it.
	Around func(upstream string, next http.RoundTripper) http.RoundTripper
	// TLS serves the API with a certificate, which Client trusts.
	TLS bool
	// Change changes what the service is built from, after all of this.
	Change func(*service.Options)
	// AtEnd checks, once the service has stopped, what is left: Keystone, BillingStack and the store are still there.
	AtEnd func(*Installation)
}

// Installation is a service that runs until the test ends, and what it works on.
type Installation struct {
	URL     string       // of the API
	Client  *http.Client // for the API
	Service *service.Service
	Log     *Log // of the service, with all that it has to say

	Keystone    *keystonetest.Keystone
	KeystoneURL string
	Identity    *v3.Cloud // the admin's
	BillingURL  string
	Billing     *billing.Client
	Store       *store.Store // of the service's database, but not the service's own

	Merchant, Other Merchant
	User            string // whose customer is Merchant.Customer
	UserToken       string // unscoped
	OperatorToken   string
}

// AdminRole is the role of operators.
const AdminRole = "tenantry-admin"

// New makes an installation, with a service that has started. Everything is stopped when the test ends; a fault of BillingStack's server fails the test.
func New(t testing.TB, o Options) *Installation {
	t.Helper()
	if o.Database == "" {
		o.Database = storetest.SQLite(t)
	}
	var story *transcript.Story
	if o.Package != "" {
		story = transcript.New(t, o.Package)
	}
	in := &Installation{Client: &http.Client{Timeout: time.Minute}, Log: &Log{}}
	in.startUpstreams(t)
	in.Store = openStore(t, o.Database)
	must(t, in.seed(t.Context(), story))
	if o.AtEnd != nil {
		t.Cleanup(func() { o.AtEnd(in) })
	}

	options := in.options(o, story)
	if o.TLS {
		options.TLSCert, options.TLSKey, in.Client = certify(t)
	}
	if o.Change != nil {
		o.Change(&options)
	}
	in.serve(t, options)
	in.URL = in.Service.URL
	if story != nil && !o.TLS { // no proxy records what is malformed
		front := httptest.NewServer(story.Handler(transcript.API, in.Service.Handler))
		t.Cleanup(front.Close)
		in.URL = front.URL
	}
	story.Begin()
	return in
}

func (in *Installation) startUpstreams(t testing.TB) {
	t.Helper()
	in.Keystone = keystonetest.New(keystonetest.Options{})
	url, stop, err := in.Keystone.Start()
	must(t, err)
	t.Cleanup(stop)
	in.KeystoneURL = url
	in.Identity, err = v3.New(in.admin())
	must(t, err)

	stack := httptest.NewServer(server.New(openStore(t, storetest.SQLite(t)).Billing(), func(r *http.Request, err error) {
		t.Errorf("BillingStack: %s %s: %v", r.Method, r.URL, err)
	}))
	t.Cleanup(stack.Close)
	in.BillingURL = stack.URL + "/v2"
	in.Billing, err = billing.New(billing.Config{URL: in.BillingURL, Connections: connections})
	must(t, err)
}

// connections is how many requests an upstream gets at once.
const connections = 64

// admin is the credential of the service and of the test.
func (in *Installation) admin() v3.Config {
	return v3.Config{
		URL: in.KeystoneURL,
		Credential: v3.Credential{
			Username: "admin", Password: "secret", UserDomainID: keystonetest.DefaultDomain,
			ProjectName: "admin", ProjectDomainID: keystonetest.DefaultDomain,
		},
		MayWriteDomain: func(id string) bool { return id == keystonetest.DefaultDomain },
	}
}

var secretKey = bytes.Repeat([]byte{7}, store.KeySize)

func openStore(t testing.TB, database string) *store.Store {
	t.Helper()
	s, _, err := service.Open(t.Context(), service.Config{DatabaseURL: database, SecretKey: secretKey})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// options are a service's with short times, which only knows the default cloud.
func (in *Installation) options(o Options, story *transcript.Story) service.Options {
	return service.Options{
		Config: service.Config{
			Listen: "127.0.0.1:0", DatabaseURL: o.Database, SecretKey: secretKey,
			KeystoneConnections: connections, BillingURL: in.BillingURL, BillingConnections: connections,
			CustomerRoles: []string{"member", "bs-admin"}, SubscriptionRoles: []string{"member"}, Domain: "Default",
			AdminRole: AdminRole, MaxLiveRuns: 1000, LateWindow: time.Millisecond,
		},
		Cloud: func(name string) (v3.Config, error) {
			if name != merchants.DefaultCloud {
				return v3.Config{}, fmt.Errorf("there is no cloud %q", name)
			}
			return in.admin(), nil
		},
		Workflows: o.Workflows,
		Around: func(upstream string, next http.RoundTripper) http.RoundTripper {
			recorded := transcript.Keystone
			if upstream == service.BillingStack {
				recorded = transcript.BillingStack
			}
			next = story.Around(recorded, next)
			if o.Around != nil {
				next = o.Around(upstream, next)
			}
			return next
		},
		Version: "test", Log: zerolog.New(in.Log).Level(zerolog.DebugLevel),
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
