package stories_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The type `site` is one installation, with a cloud, a BillingStack, a database, and environment variables.
type site struct {
	t          testing.TB
	cloud      cloud
	billing    *billing.Client
	billingURL string
	// billingFile is the URL of BillingStack's database.
	billingFile string
	env         []string
	log         *logFile
	database    string // the replicas' database
	replica     func() (*exec.Cmd, error)
	web         http.Client // calls the replicas, and trusts their certificate if they have one

	merchant billing.Merchant
	plan     billing.Plan
	newPlan  billing.Plan
	apiKey   string
	secret   string

	others workflowstest.Outside // runs may adopt these objects, but must not change them
	byHand []saga.ObjectRef      // objects that runs have created and the test has changed

	mu      sync.Mutex
	answers bytes.Buffer           // the bodies of all answers
	finals  []workflowstest.Answer // the final answers
	tokens  []string               // tokens of users
}

// The method `installation` reads the installation's id from the database. Each tenant that a run creates has a tag with this id.
func (s *site) installation() string {
	s.t.Helper()
	st, err := store.Open(context.Background(), s.database, secretKey)
	s.ok(err)
	defer func() { _ = st.Close() }()
	id, err := st.InstallationID(context.Background())
	s.ok(err)
	return id
}

// newSite prepares an installation that uses the Keystone c, with a merchant and two plans. The argument `in` is the proxy between the replicas
// and BillingStack.
func newSite(t testing.TB, database string, c cloud, in *upstream) *site {
	t.Helper()
	s := emptySite(t, database, c, in)
	var err error
	s.merchant, err = s.billing.CreateMerchant(t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "ACME", Currency: "eur", Language: "eng"})
	s.ok(err)
	s.plan, err = s.billing.CreatePlan(t.Context(), s.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "small"})
	s.ok(err)
	s.newPlan, err = s.billing.CreatePlan(t.Context(), s.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "large"})
	s.ok(err)

	var made struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	s.unmarshal(s.run("merchant", "create", s.merchant.ID, "--name", "ACME", "--sign-up", "-f", "json"), &made)
	s.apiKey, s.secret = made.APIKey, made.APISecret
	if s.apiKey == "" || s.secret == "" {
		t.Fatal("`tenantry merchant create` printed no key")
	}
	if c.all != nil {
		s.checkAtTheEnd(database)
	}
	return s
}

// emptySite prepares an installation without a merchant. Its BillingStack is the embedded BillingStack, which the test serves itself, so that
// the proxy `in` is between the replicas and BillingStack.
func emptySite(t testing.TB, database string, c cloud, in *upstream) *site {
	t.Helper()
	s := &site{t: t, cloud: c, database: database, replica: tenantryServe, log: &logFile{path: filepath.Join(t.TempDir(), "log")}}

	s.billingFile = storetest.SQLite(t)
	billingTemplate.Fill(t, s.billingFile)
	st, err := store.Open(t.Context(), s.billingFile, make([]byte, store.KeySize))
	s.ok(err)
	t.Cleanup(func() { _ = st.Close() })
	_, err = st.Migrate(t.Context())
	s.ok(err)
	in.next = server.New(st.Billing(), func(*http.Request, error) {})
	if c.all != nil {
		in.next = c.removed.Handler(in.next)
	}
	bs := httptest.NewServer(in)
	t.Cleanup(bs.Close)
	s.billingURL = bs.URL + "/v2"
	s.billing, err = billing.New(billing.Config{URL: s.billingURL, Connections: 4})
	s.ok(err)

	s.env = append(append(os.Environ(), c.env()...),
		"TENANTRY_DATABASE_URL="+database, "TENANTRY_SECRET_KEY="+base64.StdEncoding.EncodeToString(secretKey),
		"TENANTRY_BILLING_URL="+bs.URL+"/v2", "TENANTRY_BILLING_CONNECTIONS=8", "TENANTRY_LEASE=1s", "TENANTRY_LATE_WINDOW=1s",
		"TENANTRY_LOG_LEVEL=debug", "HOME="+t.TempDir(), "XDG_DATA_HOME="+t.TempDir())
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, "TENANTRY_TEST_") })
	return s
}

// billingTemplate saves the migrations of each BillingStack, and siteTemplate those of the installations in the crash matrix.
var (
	billingTemplate = storetest.Template{Migrate: migrateWith(make([]byte, store.KeySize))}
	siteTemplate    = storetest.Template{Migrate: migrateWith(secretKey)}
)

func migrateWith(key []byte) func(context.Context, string) error {
	return func(ctx context.Context, url string) error {
		s, err := store.Open(ctx, url, key)
		if err != nil {
			return err
		}
		_, err = s.Migrate(ctx)
		return errors.Join(err, s.Close())
	}
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

// The method `run` executes a `tenantry` command, and returns the command's output.
func (s *site) run(args ...string) []byte {
	s.t.Helper()
	out, code, stderr := s.exits(args...)
	if code != 0 {
		s.t.Fatalf("tenantry %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return out
}

// The method `exits` executes a `tenantry` command, and returns the command's output, exit code and error output.
func (s *site) exits(args ...string) (out []byte, code int, stderr []byte) {
	s.t.Helper()
	path, err := binary()
	s.ok(err)
	cmd := exec.CommandContext(s.t.Context(), path, args...)
	cmd.Env = s.env
	out, err = cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out, exit.ExitCode(), exit.Stderr
	}
	s.ok(err)
	return out, 0, nil
}
