package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/billing/server"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// The type `house` is a test installation: a server, a Keystone, a BillingStack that is not embedded, and a merchant with a plan.
type house struct {
	t        *testing.T
	server   *served
	keystone *keystonetest.Keystone
	refuse   atomic.Bool // makes BillingStack refuse every PATCH
	billing  *billing.Client
	merchant billing.Merchant
	plan     billing.Plan
	env      []string // environment of the merchant's portal
	settings []string // settings of the server
}

// newHouse returns a new house. It calls each function in `before` with the URL of the database, and then starts the server.
func newHouse(t *testing.T, before ...func(database string)) *house {
	t.Helper()
	h := &house{t: t, keystone: keystonetest.New(keystonetest.Options{AdminPassword: "canary-password"})}
	h.keystone.AddRole("bs-admin")
	url, stop, err := h.keystone.Start()
	h.ok(err)
	t.Cleanup(stop)
	keystoneEnv(t, url)

	records, _, err := open(t.Context(), withDatabase("sqlite:"+filepath.Join(t.TempDir(), "b.db")))
	h.ok(err)
	next := server.New(records.Billing(), func(r *http.Request, err error) { t.Errorf("BillingStack: %s %s: %v", r.Method, r.URL, err) })
	billingStack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch && h.refuse.Load() {
			http.Error(w, `{"faultstring": "the books are closed"}`, http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { billingStack.Close(); _ = records.Close() })
	databaseURL := "sqlite:" + filepath.Join(t.TempDir(), "t.db")
	for _, call := range before {
		call(databaseURL)
	}
	database := "TENANTRY_DATABASE_URL=" + databaseURL
	billingURL := "TENANTRY_BILLING_URL=" + billingStack.URL + "/v2"
	h.settings = []string{database, billingURL}
	h.server = serveWith(t, database, billingURL, "TENANTRY_LOG_LEVEL=debug", "TENANTRY_LATE_WINDOW=1s")

	h.billing, err = billing.New(billing.Config{URL: billingStack.URL + "/v2"})
	h.ok(err)
	h.merchant, err = h.billing.CreateMerchant(t.Context(), billing.Merchant{ID: uuid.NewString(), Name: "ACME", Currency: "eur", Language: "eng"})
	h.ok(err)
	h.plan, err = h.billing.CreatePlan(t.Context(), h.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "small"})
	h.ok(err)
	code, out, stderr := line(t, h.settings, "merchant", "create", h.merchant.ID, "--name", "ACME", "-f", "json")
	var made client.MerchantCreated
	if code != 0 || json.Unmarshal([]byte(out), &made) != nil || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "wrote merchant") {
		t.Fatalf("creating the merchant: got %d, %s", code, stderr)
	}
	h.env = []string{"TENANTRY_URL=" + h.server.url, "TENANTRY_API_KEY=" + made.APIKey, "TENANTRY_API_SECRET=" + made.APISecret}
	return h
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// The method `subscribe` runs `tenantry subscribe` for a new user.
func (h *house) subscribe(env []string, more ...string) (code int, out, stderr string) {
	h.t.Helper()
	return h.subscribeUser(keystonetest.User{Name: uuid.NewString(), Password: "pw"}, env, more...)
}

func (h *house) subscribeUser(u keystonetest.User, env []string, more ...string) (code int, out, stderr string) {
	h.t.Helper()
	user := h.keystone.AddUser(u)
	args := []string{"subscribe", "--merchant", h.merchant.ID, "--plan", h.plan.ID, "--name", "Ann", "--currency", "eur", "--language", "eng"}
	return line(h.t, append(slices.Clone(env), "TENANTRY_USER_TOKEN="+h.keystone.IssueToken(user)), append(args, more...)...)
}

// The method `operator` returns the environment of an operator. The operator logs in with the OS_* variables that newHouse has set.
func (h *house) operator() []string { return []string{"TENANTRY_URL=" + h.server.url} }

func TestListingTheRunsOfAUserFromLDAP(t *testing.T) {
	h := newHouse(t)
	for i, id := range []string{"m@example.org", "Ann Lee", "50%2F", "x?y#z&user=a"} {
		key := fmt.Sprint("order-", i)
		if code, out, stderr := h.subscribeUser(keystonetest.User{ID: id, Name: id}, h.env, "--key", key); code != 0 {
			t.Fatalf("subscribing %q: got %d, %s%s", id, code, out, stderr)
		}
		code, out, stderr := line(t, h.operator(), "runs", "list", "--user", id)
		if code != 0 || strings.Count(out, "\n") != 2 {
			t.Errorf("the runs of %q: got %d, %s%s", id, code, out, stderr)
		}
	}
}

// wantAssignments checks the role assignments of a run. The output of `runs show` must have the step and the request id of each
// assignment, and `runs list` must find the run of the assignment.
func (h *house) wantAssignments(run client.Run, shown string) {
	h.t.Helper()
	assignments := 0
	for _, o := range run.Objects {
		if o.Kind != "role-assignment" {
			continue
		}
		assignments++
		object := "role-assignment:" + o.ID
		i := strings.Index(shown, "\n"+object+" ")
		if i < 0 {
			h.t.Errorf("runs show lacks %s:\n%s", object, shown)
			continue
		}
		row, _, _ := strings.Cut(shown[i+1:], "\n")
		if want := []string{object, valueOf(o.Name), "own", o.Step, "-", valueOf(o.RequestID)}; !slices.Equal(strings.Fields(row), want) {
			h.t.Errorf("runs show prints %q, want %q", strings.Fields(row), want)
		}
		code, out, stderr := line(h.t, h.operator(), "runs", "list", "--object", object)
		if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "\n"+run.ID+" ") {
			h.t.Errorf("runs list --object %s: got %d, %s%s", object, code, out, stderr)
		}
	}
	if assignments != 3 {
		h.t.Errorf("the run has %d role assignments, want 3", assignments)
	}
}

func TestSubscribeAndRuns(t *testing.T) {
	h := newHouse(t)
	code, out, stderr := h.subscribe(h.env, "--key", "first")
	if code != 0 || !strings.Contains(out, "✓ attach-tenant ") || !strings.Contains(out, "\nstate                succeeded\n") || stderr != "" {
		t.Fatalf("subscribing: got %d, %s%s", code, out, stderr)
	}
	code, out, stderr = h.subscribe(h.env, "--key", "first", "-f", "json")
	var run client.Run
	if err := json.Unmarshal([]byte(out), &run); err != nil || code != 0 || run.State != client.RunStateSucceeded ||
		!strings.Contains(stderr, "run succeeded") {
		t.Fatalf("again: got %d, %v, %s%s", code, err, out, stderr)
	}

	code, out, stderr = line(t, h.operator(), "runs", "list", "--object", fmt.Sprint("customer:", run.Result["customer_id"]), "--since", "1h")
	if code != 0 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "\n"+run.ID+"  succeeded  ") {
		t.Errorf("runs list: got %d, %s%s", code, out, stderr)
	}
	if code, out, _ = line(t, h.operator(), "runs", "list", "--state", "stuck", "-f", "json"); code != 0 || !strings.Contains(out, `"runs": []`) {
		t.Errorf("runs list --state stuck: got %d, %s", code, out)
	}
	code, out, _ = line(t, h.env, "runs", "show", run.ID)
	if code != 0 || !strings.Contains(out, "\nassign-customer-role/bs-admin ") || !strings.Contains(out, fmt.Sprint(run.Result["subscription_tenant_id"])) {
		t.Errorf("runs show: got %d, %s", code, out)
	}
	h.wantAssignments(run, out)
	if code, out, _ = line(t, h.env, "runs", "show", run.ID, "-f", "yaml"); code != 0 || !strings.Contains(out, "\nstate: succeeded\n") {
		t.Errorf("runs show -f yaml: got %d, %s", code, out)
	}
	if code, out, _ = line(t, h.operator(), "runs", "watch", run.ID); code != 0 || !strings.Contains(out, "run succeeded") {
		t.Errorf("runs watch: got %d, %s", code, out)
	}
	for _, secret := range []string{"canary", "ts_", "gAAAA"} {
		if strings.Contains(h.server.logged(), secret) {
			t.Errorf("the log contains %q:\n%s", secret, h.server.logged())
		}
	}
}

func TestSuspendingAndResuming(t *testing.T) {
	h := newHouse(t)
	_, out, _ := h.subscribe(h.env, "-f", "json")
	var run client.Run
	h.ok(json.Unmarshal([]byte(out), &run))
	id, merchant := fmt.Sprint(run.Result["subscription_id"]), "--merchant="+h.merchant.ID
	shows := func(state, run string) {
		t.Helper()
		for _, args := range [][]string{{"list"}, {"show", id}} {
			code, out, stderr := line(t, h.operator(), append(append([]string{"subscriptions"}, args...), merchant)...)
			_, rows, _ := strings.Cut(out, "\n")
			row := strings.Join(strings.Fields(rows), " ")
			if code != 0 || !strings.HasPrefix(row, id+" "+state+" ") || !strings.HasSuffix(row, " "+run+" -") {
				t.Errorf("subscriptions %s: got %d, %s%s; want %s and run %s", args[0], code, out, stderr, state, run)
			}
		}
	}
	change := func(env []string, name string, more ...string) (code int, out, stderr string) {
		t.Helper()
		return line(t, env, append([]string{"subscriptions", name, id, merchant, "--why", "a test"}, more...)...)
	}
	shows("active", run.ID)
	code, out, stderr := change(h.env, "suspend")
	if code != 0 || !strings.Contains(out, "✓ disable-tenant ") || !strings.Contains(stderr, "idempotency key") {
		t.Fatalf("suspending: got %d, %s%s", code, out, stderr)
	}
	code, out, stderr = change(h.operator(), "suspend", "--key", "k", "-f", "json")
	if err := json.Unmarshal([]byte(out), &run); err != nil || code != 0 || run.Workflow != "suspend" {
		t.Fatalf("suspending as an operator: got %d, %v, %s%s", code, err, out, stderr)
	}
	shows("suspended by an operator", run.ID)
	if code, _, stderr := change(h.env, "resume"); code != exitRefused || !strings.Contains(stderr, "an operator has suspended the subscription") {
		t.Errorf("resuming as a portal: got %d, %s", code, stderr)
	}
	if code, out, stderr := change(h.operator(), "resume"); code != 0 || !strings.Contains(out, "✓ enable-tenant ") {
		t.Errorf("resuming as an operator: got %d, %s%s", code, out, stderr)
	}
	for _, args := range [][]string{
		{"suspend", id, "--why", "x"}, {"suspend", id, merchant}, {"suspend", "..", merchant, "--why", "x"}, {"show", "7", merchant}, {"list"},
	} {
		if code, _, stderr := line(t, h.operator(), append([]string{"subscriptions"}, args...)...); code != exitUsage {
			t.Errorf("subscriptions %v: got %d, %s", args, code, stderr)
		}
	}
}

func TestEndingAndRestoring(t *testing.T) {
	h := newHouse(t)
	_, out, _ := h.subscribe(h.env, "-f", "json")
	var made client.Run
	h.ok(json.Unmarshal([]byte(out), &made))
	id, merchant := fmt.Sprint(made.Result["subscription_id"]), "--merchant="+h.merchant.ID
	command := func(env []string, name string, more ...string) (code int, out, stderr string) {
		t.Helper()
		return line(t, env, append([]string{"subscriptions", name, id, merchant}, more...)...)
	}
	wants := func(env []string, want string, name string, more ...string) {
		t.Helper()
		if code, out, stderr := command(env, name, more...); code != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: got %d, %s%s; want %q", name, code, out, stderr, want)
		}
	}
	refused := func(env []string, want string, name string, more ...string) {
		t.Helper()
		if code, out, stderr := command(env, name, more...); code != exitRefused || !strings.Contains(stderr, want) {
			t.Errorf("%s: got %d, %s%s; want %q", name, code, out, stderr, want)
		}
	}
	why := []string{"--why", "a test"}
	refused(h.env, "the subscription has not been ended", "restore", why...)
	wants(h.env, "✓ disable-tenant ", "unsubscribe", why...)
	wants(h.env, " ending at ", "show")
	refused(h.env, "restore it first", "suspend", why...)
	refused(h.operator(), "was disabled less than 10m0s ago", "remove", append(why, "--force")...)
	wants(h.operator(), ": the bill is disputed", "hold", "--why", "the bill is disputed")
	wants(h.env, "held by ", "show")
	wants(h.operator(), " -", "release")
	for _, name := range []string{"hold", "release", "remove"} {
		more := why
		if name == "release" {
			more = nil
		}
		if code, _, stderr := command(h.env, name, more...); code == 0 {
			t.Errorf("%s as a portal: got %d, %s", name, code, stderr)
		}
	}
	refused(h.env, "/add_user: ", "restore", append(why, "--add-user", "nobody")...)
	wants(h.env, "✓ enable-tenant ", "restore", why...)
	wants(h.env, " active ", "show")
	if code, _, stderr := command(h.operator(), "hold"); code != exitUsage {
		t.Errorf("hold without a reason: got %d, %s", code, stderr)
	}
}

func TestChangingThePlan(t *testing.T) {
	h := newHouse(t)
	_, out, _ := h.subscribe(h.env, "-f", "json")
	var made, run client.Run
	h.ok(json.Unmarshal([]byte(out), &made))
	larger, err := h.billing.CreatePlan(t.Context(), h.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "larger"})
	h.ok(err)
	id, merchant := fmt.Sprint(made.Result["subscription_id"]), "--merchant="+h.merchant.ID
	change := func(env []string, plan string, more ...string) (code int, out, stderr string) {
		t.Helper()
		return line(t, env, append([]string{"subscriptions", "change-plan", id, merchant, "--plan", plan, "--why", "a test"}, more...)...)
	}
	shows := func(plan string) {
		t.Helper()
		code, out, stderr := line(t, h.operator(), "subscriptions", "show", id, merchant)
		if row := strings.Join(strings.Fields(out), " "); code != 0 || !strings.Contains(row, id+" active ") ||
			!strings.Contains(row, " "+plan+" ") || !strings.HasSuffix(row, " "+made.ID+" -") {
			t.Errorf("got %d, %s%s; want plan %s and run %s", code, out, stderr, plan, made.ID)
		}
	}
	shows(h.plan.ID)
	code, out, stderr := change(h.env, larger.ID)
	if code != 0 || !strings.Contains(out, "✓ change-plan ") || !strings.Contains(stderr, "idempotency key") {
		t.Fatalf("as a portal: got %d, %s%s", code, out, stderr)
	}
	shows(larger.ID)
	if code, _, stderr := change(h.operator(), larger.ID); code != exitRefused || !strings.Contains(stderr, "has this plan already") {
		t.Errorf("to the same plan: got %d, %s", code, stderr)
	}
	if code, _, stderr := change(h.env, uuid.NewString()); code != exitRefused || !strings.Contains(stderr, "/plan_id: ") {
		t.Errorf("to an unknown plan: got %d, %s", code, stderr)
	}
	code, out, stderr = change(h.operator(), h.plan.ID, "--key", "k", "-f", "json")
	h.ok(json.Unmarshal([]byte(out), &run))
	if code != 0 || run.Workflow != "change-plan" || run.Result["plan_id"] != h.plan.ID || run.Result["previous_plan_id"] != larger.ID {
		t.Errorf("as an operator: got %d, %s%s", code, out, stderr)
	}
	shows(h.plan.ID)
	if _, again, _ := change(h.operator(), h.plan.ID, "--key", "k", "-f", "json"); again != out {
		t.Errorf("again with the same key: got %s, want %s", again, out)
	}
	for _, args := range [][]string{
		{id, merchant, "--why", "x"}, {id, merchant, "--plan", larger.ID}, {id, "--plan", larger.ID, "--why", "x"}, {"..", merchant, "--plan", larger.ID, "--why", "x"},
	} {
		if code, _, stderr := line(t, h.operator(), append([]string{"subscriptions", "change-plan"}, args...)...); code != exitUsage {
			t.Errorf("change-plan %v: got %d, %s", args, code, stderr)
		}
	}
}

func TestAFailedSubscription(t *testing.T) {
	h := newHouse(t)
	h.refuse.Store(true)
	code, out, stderr := h.subscribe(h.env, "--key", "first")
	if code != exitFailed || !strings.Contains(out, "↶ create-customer ") || !strings.Contains(stderr, " is compensated: attach-tenant: ") {
		t.Fatalf("got %d, %s%s", code, out, stderr)
	}
	if code, _, stderr = h.subscribe(h.env, "--key", "first"); code != exitFailed || !strings.Contains(stderr, "the books are closed") {
		t.Errorf("again: got %d, %s", code, stderr)
	}
	_, out, stderr = line(t, h.operator(), "runs", "list", "-f", "json")
	var list client.RunList
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Runs) != 1 {
		t.Fatalf("got %v, %s%s, want one run", err, out, stderr)
	}
	id := list.Runs[0].ID
	if code, _, _ = line(t, h.operator(), "runs", "watch", id); code != exitFailed {
		t.Errorf("runs watch: got %d, want %d", code, exitFailed)
	}

	h.refuse.Store(false)
	code, out, stderr = line(t, h.operator(), "runs", "retry", id, "--why", "the books are open", "-f", "json")
	var successor client.Run
	if err := json.Unmarshal([]byte(out), &successor); err != nil || code != 0 || valueOf(successor.RetryOf) != id {
		t.Fatalf("runs retry: got %d, %s%s", code, out, stderr)
	}
	if code, out, stderr = line(t, h.operator(), "runs", "watch", successor.ID); code != 0 {
		t.Errorf("runs watch of the successor: got %d, %s%s", code, out, stderr)
	}
}

func TestActions(t *testing.T) {
	h := newHouse(t)
	_, out, _ := h.subscribe(h.env, "-f", "json")
	var run client.Run
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatal(err, out)
	}
	for _, action := range [][]string{{"retry"}, {"skip", "scope-token"}, {"compensate"}, {"hold"}, {"cancel"}} {
		args := slices.Concat([]string{"runs", action[0], run.ID}, action[1:], []string{"--why", "a test"})
		code, out, stderr := line(t, h.operator(), args...)
		if code != exitRefused || out != "" || !strings.Contains(stderr, "\n") {
			t.Errorf("%s of a run that has succeeded: got %d, %s%s, want %d", action[0], code, out, stderr, exitRefused)
		}
		if code, _, stderr := line(t, h.operator(), args[:len(args)-2]...); code != exitUsage || !strings.Contains(stderr, "--why") {
			t.Errorf("%s without a reason: got %d, %s, want %d", action[0], code, stderr, exitUsage)
		}
	}
}

func TestRefusedAndUnreachable(t *testing.T) {
	h := newHouse(t)
	portal := func(key, secret string) []string {
		return []string{"TENANTRY_URL=" + h.server.url, "TENANTRY_API_KEY=" + key, "TENANTRY_API_SECRET=" + secret}
	}
	noTenantry := httptest.NewServer(http.NotFoundHandler())
	defer noTenantry.Close()
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		says string
	}{
		"no API key":                  {env: h.operator(), code: exitUsage, says: "TENANTRY_API_KEY"},
		"a wrong API key":             {env: portal("tk_0", "ts_0"), code: exitRefused, says: "not valid"},
		"an unknown plan":             {env: h.env, args: []string{"--plan", uuid.NewString()}, code: exitRefused, says: "/plan_id: "},
		"another merchant":            {env: h.env, args: []string{"--merchant", uuid.NewString()}, code: exitRefused, says: "no such merchant"},
		"two customers":               {env: h.env, args: []string{"--customer", uuid.NewString()}, code: exitUsage, says: "either --name or --customer"},
		"an invalid day of the month": {env: h.env, args: []string{"--billing-day", "32"}, code: exitRefused, says: "/billing_day: "},
		"nobody there":                {env: append(portal("k", "s"), "TENANTRY_URL=http://127.0.0.1:1"), code: exitUnreachable, says: "tenantry: no server answers at http://127.0.0.1:1: connection refused\n"},
		"another server":              {env: append(portal("k", "s"), "TENANTRY_URL="+noTenantry.URL), code: exitUnreachable, says: "not in Tenantry's format"},
		"a key over http to another host": {
			env: append(portal("k", "s"), "TENANTRY_URL=http://tenantry.example.org"), code: exitUsage, says: "must be an https:// URL",
		},
		"an invalid URL": {env: append(portal("k", "s"), "TENANTRY_URL=tenantry"), code: exitUsage, says: "TENANTRY_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := h.subscribe(c.env, c.args...)
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("got %d, %s, want %d and %q", code, stderr, c.code, c.says)
			}
		})
	}
	for name, c := range map[string]struct {
		os   map[string]string
		args []string
		code int
		says string
	}{
		"an unknown run":      {args: []string{"show", uuid.NewString()}, code: exitRefused, says: "no such run"},
		"a wrong OS_TOKEN":    {os: map[string]string{"OS_TOKEN": "x"}, args: []string{"list"}, code: exitRefused, says: "token is not valid"},
		"a wrong password":    {os: map[string]string{"OS_PASSWORD": "x"}, args: []string{"list"}, code: exitRefused, says: "logging in as user admin: the credential is refused: check OS_USERNAME"},
		"no project":          {os: map[string]string{"OS_PROJECT_NAME": "", "OS_PROJECT_DOMAIN_ID": ""}, args: []string{"list"}, code: exitUsage, says: "set OS_PROJECT_NAME"},
		"no password":         {os: map[string]string{"OS_PASSWORD": ""}, args: []string{"list"}, code: exitUsage, says: "no credential to log in with"},
		"a Keystone nowhere":  {os: map[string]string{"OS_AUTH_URL": "http://127.0.0.1:1"}, args: []string{"list"}, code: exitUnreachable, says: "logging in"},
		"an unknown state":    {args: []string{"list", "--state", "asleep"}, code: exitRefused, says: "state"},
		"an invalid time":     {args: []string{"list", "--since", "noon"}, code: exitUsage, says: "--since"},
		"a user's token":      {os: map[string]string{"OS_TOKEN": h.keystone.IssueToken(h.keystone.AddUser(keystonetest.User{Name: "u"}))}, args: []string{"list"}, code: exitRefused, says: "log in to the project"},
		"a step without skip": {args: []string{"skip", uuid.NewString(), "--why", "x"}, code: exitUsage, says: "[RUN STEP]"},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range c.os {
				t.Setenv(name, value)
			}
			env := append(h.operator(), "OS_TOKEN="+c.os["OS_TOKEN"])
			code, _, stderr := line(t, env, append([]string{"runs"}, c.args...)...)
			if code != c.code || !strings.Contains(stderr, c.says) {
				t.Errorf("got %d, %s, want %d and %q", code, stderr, c.code, c.says)
			}
		})
	}
}

func TestUserToken(t *testing.T) {
	for name, c := range map[string]struct {
		env, in, want string
	}{
		"from the environment": {env: "a", in: "b\n", want: "a"},
		"from standard input":  {in: "b\nc\n", want: "b"},
		"without a newline":    {in: "b", want: "b"},
		"nowhere":              {in: "\n"},
	} {
		p := program{in: strings.NewReader(c.in), out: io.Discard, err: io.Discard, environ: []string{"TENANTRY_USER_TOKEN=" + c.env}}
		if got, err := p.userToken(); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}

func TestDrawing(t *testing.T) {
	for name, c := range map[string]struct{ got, want string }{
		"a line that fits":               {cut("abc", 3), "abc"},
		"a line that does not":           {cut("abcd", 3), "ab…"},
		"a line with an escape sequence": {cut("a\x1b[31m\nb", 16), `a\u001b[31m\nb`},
		"words that fit":                 {wrap("a bc", "  ", 6), "  a bc"},
		"words that do not":              {wrap("a bc d", "  ", 5), "  a\n  bc\n  d"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", name, c.got, c.want)
		}
	}
	for want, reason := range map[string]client.Reason{
		"held until an operator decides: maintenance":    {Code: "held", Detail: "maintenance", FixBy: client.FixByOperator},
		"no answer (for an operator of Tenantry to fix)": {Code: "keystone-unavailable", Detail: "no answer", FixBy: client.FixByOperator},
		"it is down (for an administrator of Keystone to fix)": {
			Code: "keystone-unavailable", Detail: "it is down", FixBy: client.FixByAdministrator, Service: some("keystone"),
		},
		"busy": {Code: "keystone-busy", Detail: "busy", FixBy: client.FixByNobody},
	} {
		if got := reasonText(reason); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	step := client.Step{Name: "create-customer", State: client.StepStateRunning, Attempts: 2, Error: &client.Failure{Detail: "busy"}}
	if got, want := stepLine(step), fmt.Sprintf("%-32s running, attempt 2: busy", "create-customer"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
