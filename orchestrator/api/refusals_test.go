package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/clouds"
	"github.com/tenantry/tenantry/keystone/conn"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// refusedOrder is a test case: an order with one fault, and the expected answer.
type refusedOrder struct {
	name    string
	spoil   func(w *world, q *request)
	status  int
	problem string
	pointer string // the pointer to the first invalid parameter
}

func body(format string, args ...any) func(*world, *request) {
	return func(w *world, q *request) {
		q.body = strings.ReplaceAll(fmt.Sprintf(format, args...), "PLAN", w.Merchant.Plan)
	}
}

func customer(name, currency, language string) func(*world, *request) {
	return body(`{"plan_id": "PLAN", "customer": {"name": %s, "currency": %s, "language": %s}}`, name, currency, language)
}

func header(name string, values ...string) func(*world, *request) {
	return func(_ *world, q *request) { q.header[name] = values }
}

func userWithID(id string) func(*world, *request) {
	return func(w *world, q *request) {
		q.header.Set("X-Subject-Token", w.Keystone.IssueToken(w.Keystone.AddUser(keystonetest.User{ID: id, Name: "ann"})))
	}
}

func named(name string) func(*world, *request) { return customer(name, `"nok"`, `"nor"`) }

const nobody = "00000000-0000-4000-8000-000000000000"

var refusedOrders = []refusedOrder{
	{"no credential", func(_ *world, q *request) { q.portal = portal{} }, 401, "credentials-required", ""},
	{"a wrong secret", func(w *world, q *request) { q.portal.Secret = w.Other.Secret }, 401, "credentials-invalid", ""},
	{"an unknown key", func(_ *world, q *request) { q.portal.Key = "tk_nobody" }, 401, "credentials-invalid", ""},
	{"a key with a NUL", func(_ *world, q *request) { q.portal.Key = "tk\x00" }, 401, "credentials-invalid", ""},
	{"a key and a token", func(w *world, q *request) { q.operator = w.OperatorToken }, 400, "two-credentials", ""},
	{"two keys of merchants", func(w *world, q *request) {
		q.header["Authorization"] = []string{"Basic eDp5", "Basic eDp5"}
		q.portal = portal{}
	}, 400, "two-credentials", ""},
	{"a credential that is not Basic", func(_ *world, q *request) {
		q.header.Set("Authorization", "Bearer x")
		q.portal = portal{}
	}, 401, "credentials-invalid", ""},
	{"an operator", func(w *world, q *request) { q.portal, q.operator = portal{}, w.OperatorToken }, 403, "forbidden", ""},
	{"another merchant's key", func(w *world, q *request) { q.portal = w.Other }, 404, "merchant-not-found", ""},
	{"a malformed merchant", func(_ *world, q *request) { q.path = "/v1/merchants/%00/subscriptions" }, 404, "merchant-not-found", ""},
	{"an unknown query parameter", func(_ *world, q *request) { q.path += "?dry_run=1" }, 400, "invalid-params", ""},

	{"no content type", header("Content-Type"), 415, "content-type-unsupported", ""},
	{"a form", header("Content-Type", "application/x-www-form-urlencoded"), 415, "content-type-unsupported", ""},
	{"a compressed body", header("Content-Encoding", "gzip"), 415, "content-encoding-unsupported", ""},
	{"a body of 1 MB", named(`"` + strings.Repeat("a", 1<<20) + `"`), 413, "body-too-large", ""},
	{"no body", func(_ *world, q *request) { q.body = " " }, 400, "body-malformed", ""},
	{"broken JSON", body(`{"plan_id": `), 400, "body-malformed", ""},
	{"two values", body(`{} {}`), 400, "body-malformed", ""},
	{"a key twice", body(`{"plan_id": "PLAN", "plan_id": "PLAN"}`), 400, "body-malformed", "/plan_id"},
	{"a key twice, deep", body(`{"customer": {"name": "a", "name": "b"}}`), 400, "body-malformed", "/customer/name"},
	{"broken UTF-8", named("\"a\xff\""), 400, "body-malformed", ""},
	{"half a surrogate pair", named(`"a\ud800"`), 400, "body-malformed", ""},
	{"an array", body(`[]`), 400, "invalid-params", ""},
	{"null", body(`null`), 400, "invalid-params", ""},

	{"no key", header("Idempotency-Key"), 400, "idempotency-key-missing", ""},
	{"an empty key", header("Idempotency-Key", ""), 400, "idempotency-key-invalid", ""},
	{"an empty quoted key", header("Idempotency-Key", `""`), 400, "idempotency-key-invalid", ""},
	{"a key of 256 characters", header("Idempotency-Key", strings.Repeat("k", 256)), 400, "idempotency-key-invalid", ""},
	{"a key that is not closed", header("Idempotency-Key", `"abc`), 400, "idempotency-key-invalid", ""},
	{"a lone quote", header("Idempotency-Key", `"`), 400, "idempotency-key-invalid", ""},
	{"a key beyond ASCII", header("Idempotency-Key", `"schlüssel"`), 400, "idempotency-key-invalid", ""},
	{"a bare key with a blank", header("Idempotency-Key", `a b`), 400, "idempotency-key-invalid", ""},
	{"two keys", header("Idempotency-Key", "a", "b"), 400, "idempotency-key-invalid", ""},

	{"an unknown field", body(`{"plan_id": "PLAN", "customer_id": %q, "user_id": "x"}`, nobody), 400, "invalid-params", "/user_id"},
	{"an unknown field, deep", body(`{"plan_id": "PLAN", "customer": {"name": "a", "currency": "nok", "language": "nor", "id": "x"}}`), 400, "invalid-params", "/customer/id"},
	{"no plan", body(`{"customer_id": %q}`, nobody), 400, "invalid-params", "/plan_id"},
	{"a malformed uuid", body(`{"plan_id": "1234", "customer_id": %q}`, nobody), 400, "invalid-params", "/plan_id"},
	{"a uuid in capitals", body(`{"plan_id": "9B351268-22C6-4CF9-922F-7A5DB1C1A27B", "customer_id": %q}`, nobody), 400, "invalid-params", "/plan_id"},
	{"an empty uuid", body(`{"plan_id": "", "customer_id": %q}`, nobody), 400, "invalid-params", "/plan_id"},
	{"a plan of another type", body(`{"plan_id": 5, "customer_id": %q}`, nobody), 400, "invalid-params", "/plan_id"},
	{"a plan that is null", body(`{"plan_id": null, "customer_id": %q}`, nobody), 400, "invalid-params", "/plan_id"},
	{"no customer", body(`{"plan_id": "PLAN"}`), 400, "invalid-params", ""},
	{"two customers", body(`{"plan_id": "PLAN", "customer_id": %q, "customer": {"name": "a", "currency": "nok", "language": "nor"}}`, nobody), 400, "invalid-params", "/customer_id"},
	{"add_user for a new customer", body(`{"plan_id": "PLAN", "add_user": true, "customer": {"name": "a", "currency": "nok", "language": "nor"}}`), 400, "invalid-params", "/add_user"},
	{"a payment method that is no uuid", body(`{"plan_id": "PLAN", "customer_id": %q, "payment_method_id": "visa"}`, nobody), 400, "invalid-params", "/payment_method_id"},
	{"a billing day of 32", body(`{"plan_id": "PLAN", "customer_id": %q, "billing_day": 32}`, nobody), 400, "invalid-params", "/billing_day"},
	{"half a billing day", body(`{"plan_id": "PLAN", "customer_id": %q, "billing_day": 1.5}`, nobody), 400, "invalid-params", "/billing_day"},
	{"no name", named(`""`), 400, "invalid-params", "/customer/name"},
	{"a name of blanks", named(`"  "`), 400, "invalid-params", "/customer/name"},
	{"a name of zero width", named(`"\u200b\u202e"`), 400, "invalid-params", "/customer/name"},
	{"a name with a blank at its end", named(`"Ada "`), 400, "invalid-params", "/customer/name"},
	{"a name of 61 characters", named(`"` + strings.Repeat("å", 61) + `"`), 400, "invalid-params", "/customer/name"},
	{"a name with a line break", named(`"a\nb"`), 400, "invalid-params", "/customer/name"},
	{"a name with a NUL", named(`"a\u0000"`), 400, "invalid-params", "/customer/name"},
	{"a name with an emoji", named(`"Ada 🎉"`), 400, "invalid-params", "/customer/name"},
	{"a currency in capitals", customer(`"a"`, `"NOK"`, `"nor"`), 400, "invalid-params", "/customer/currency"},
	{"an unknown currency", customer(`"a"`, `"zzz"`, `"nor"`), 400, "invalid-params", "/customer/currency"},
	{"a customer without a name", body(`{"plan_id": "PLAN", "customer": {"language": "nor"}}`), 400, "invalid-params", "/customer/name"},
	{"an unknown language", customer(`"a"`, `"nok"`, `"zzz"`), 400, "invalid-params", "/customer/language"},

	{"no token", header("X-Subject-Token"), 401, "user-token-invalid", ""},
	{"two tokens", header("X-Subject-Token", "a", "b"), 401, "user-token-invalid", ""},
	{"a token that Keystone does not know", header("X-Subject-Token", "nonsense"), 401, "user-token-invalid", ""},
	{"a token with a blank", header("X-Subject-Token", "a b"), 401, "user-token-invalid", ""},
	{"a token of 9000 characters", header("X-Subject-Token", strings.Repeat("t", 9000)), 401, "user-token-invalid", ""},
	{"a revoked token", func(w *world, q *request) {
		token := w.Keystone.IssueToken(w.User)
		w.Keystone.RevokeToken(token)
		q.header.Set("X-Subject-Token", token)
	}, 401, "user-token-invalid", ""},
	{"a disabled user", func(w *world, q *request) {
		user := w.Keystone.AddUser(keystonetest.User{Name: "disabled"})
		q.header.Set("X-Subject-Token", w.Keystone.IssueToken(user))
		w.Keystone.EnableUser(user, false)
	}, 401, "user-token-invalid", ""},
	{"a scoped token", func(w *world, q *request) { q.header.Set("X-Subject-Token", w.OperatorToken) }, 400, "token-scoped", ""},
	{"a user of another domain", func(w *world, q *request) {
		user := w.Keystone.AddUser(keystonetest.User{Name: "eve", DomainID: w.Keystone.AddDomain("elsewhere")})
		q.header.Set("X-Subject-Token", w.Keystone.IssueToken(user))
	}, 403, "user-domain-foreign", ""},
	{"a user whose id contains a slash", userWithID("ann/lee"), 403, "user-id-unusable", ""},
	{"a user whose id is two dots", userWithID(".."), 403, "user-id-unusable", ""},
	{"a user whose id contains a control character", userWithID("ann\n"), 403, "user-id-unusable", ""},
	{"a user with an id of 65 characters", userWithID(strings.Repeat("a", 65)), 403, "user-id-unusable", ""},

	{"an unknown plan", body(`{"plan_id": %q, "customer": {"name": "a", "currency": "nok", "language": "nor"}}`, nobody), 400, "invalid-params", "/plan_id"},
	{"another merchant's plan", func(w *world, q *request) {
		q.body = strings.ReplaceAll(q.body, w.Merchant.Plan, w.Other.Plan)
	}, 400, "invalid-params", "/plan_id"},
	{"an unknown customer", body(`{"plan_id": "PLAN", "customer_id": %q}`, nobody), 400, "invalid-params", "/customer_id"},
	{"another merchant's customer", func(w *world, q *request) {
		body(`{"plan_id": "PLAN", "customer_id": %q}`, w.Other.Customer)(w, q)
	}, 400, "invalid-params", "/customer_id"},
	{"a user of another customer", func(w *world, q *request) {
		body(`{"plan_id": "PLAN", "customer_id": %q}`, w.Merchant.Customer)(w, q)
		q.header.Set("X-Subject-Token", w.Keystone.IssueToken(w.Keystone.AddUser(keystonetest.User{Name: "eve"})))
	}, 403, "user-not-of-customer", ""},
}

func TestRefusedOrdersWriteNothing(t *testing.T) {
	w := newWorld(t)
	for i, c := range refusedOrders {
		t.Run(c.name, func(t *testing.T) {
			q := w.order(fmt.Sprintf("key-%d", i))
			c.spoil(w, &q)
			before := w.runs()
			got := w.call(q)
			p := read[api.Problem](t, got)
			if got.status != c.status || p.Type != "/problems/"+c.problem || p.Status != c.status {
				t.Fatalf("got %d %s, want %d %s: %s", got.status, p.Type, c.status, c.problem, got.body)
			}
			if c.pointer != "" && (p.InvalidParams == nil || (*p.InvalidParams)[0].Pointer == nil || *(*p.InvalidParams)[0].Pointer != c.pointer) {
				t.Errorf("got %s, want it to point at %s", got.body, c.pointer)
			}
			if p.RequestID != got.header.Get("X-Openstack-Request-Id") || len(p.Errors) != 1 || p.Errors[0].Code != p.Code {
				t.Errorf("the two shapes of the error differ: %s", got.body)
			}
			if challenge := got.header.Get("WWW-Authenticate"); (challenge != "") != (c.status == http.StatusUnauthorized) {
				t.Errorf("status %d came with the challenge %q", c.status, challenge)
			}
			if after, writes := w.runs(), w.upstreams.writes.Load(); after != before || writes != 0 {
				t.Errorf("the refused order made %d runs and %d writes upstream", after-before, writes)
			}
			if page, err := w.try(request{path: p.Type}); err != nil || page.status != http.StatusOK {
				t.Errorf("%s does not resolve: %d, %v", p.Type, page.status, err)
			}
		})
	}
	if log := w.Log.String(); strings.Contains(log, w.Merchant.Secret) || strings.Contains(log, w.UserToken) {
		t.Error("the log holds a secret")
	}
}

func TestFixByNamesTheCallerOrWhomTheOperationAccepts(t *testing.T) {
	w := newWorld(t)
	run := read[api.Run](t, w.call(w.order("k")))
	byOperator, byToken := w.order("l"), w.order("l")
	byOperator.portal, byOperator.operator = portal{}, w.OperatorToken
	stale := http.Header{"If-Match": {`"0"`}}
	cancel := request{method: "POST", path: "/v1/runs/" + run.ID + "/cancel", body: `{"why": "x"}`, portal: w.Merchant, header: stale}
	create := request{method: "POST", path: "/v1/merchants", body: `{"merchant_id": 1}`, operator: w.OperatorToken}
	byToken.portal.Key = ""
	for name, c := range map[string]struct {
		ask     request
		problem string
		fixBy   api.FixBy
	}{
		"an operator places an order":       {byOperator, "forbidden", api.FixByMerchant},
		"somebody places an order":          {byToken, "credentials-required", api.FixByMerchant},
		"a portal lists merchants":          {request{path: "/v1/merchants", portal: w.Merchant}, "forbidden", api.FixByOperator},
		"somebody lists merchants":          {request{path: "/v1/merchants"}, "credentials-required", api.FixByOperator},
		"a user lists merchants":            {request{path: "/v1/merchants", operator: w.UserToken}, "forbidden", api.FixByOperator},
		"an unknown operator lists runs":    {request{path: "/v1/runs", operator: "x"}, "operator-token-invalid", api.FixByOperator},
		"an operator sends a malformed id":  {create, "invalid-params", api.FixByOperator},
		"a portal lists too many runs":      {request{path: "/v1/runs?limit=1000", portal: w.Merchant}, "invalid-params", api.FixByMerchant},
		"an operator lists too many runs":   {request{path: "/v1/runs?limit=1000", operator: w.OperatorToken}, "invalid-params", api.FixByOperator},
		"an operator reads an unknown run":  {request{path: "/v1/runs/x", operator: w.OperatorToken}, "run-not-found", api.FixByOperator},
		"a portal cancels with an old ETag": {cancel, "precondition-failed", api.FixByMerchant},
		"an operator reads an unknown path": {request{path: "/x", operator: w.OperatorToken}, "route-not-found", api.FixByOperator},
		"a portal reads an unknown path":    {request{path: "/x", portal: w.Merchant}, "route-not-found", api.FixByMerchant},
	} {
		p := read[api.Problem](t, w.call(c.ask))
		if p.FixBy == nil || *p.FixBy != c.fixBy || p.Type != "/problems/"+c.problem {
			t.Errorf("%s: got %s for %v, want %s for the %s", name, p.Type, p.FixBy, c.problem, c.fixBy)
		}
	}
}

func TestAnswersDoNotGrowWithNonsense(t *testing.T) {
	w := newWorld(t)
	var fields strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&fields, `"k%d": 1,`, i)
	}
	for name, sent := range map[string]string{
		"nested deeply":   strings.Repeat("[", 50000),
		"nested, closed":  strings.Repeat("[", 9999) + strings.Repeat("]", 9999),
		"a long field":    `{"` + strings.Repeat("k", 100000) + `": 1}`,
		"a long field, 2": `{"` + strings.Repeat("k", 50000) + `": 1, "` + strings.Repeat("k", 50000) + `": 1}`,
		"many fields":     "{" + fields.String() + `"z": 1}`,
	} {
		q := w.order("k")
		q.body = sent
		if got := w.call(q); got.status != http.StatusBadRequest || len(got.body) > 4000 {
			t.Errorf("%s: got %d and %d bytes, want 400 and at most 4000 bytes", name, got.status, len(got.body))
		}
	}
}

func TestDisabledMerchant(t *testing.T) {
	w := newWorld(t)
	_, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error {
		m.Disable(m.CreatedAt)
		return nil
	})
	must(t, err)
	w.refused(w.order("k"), 403, "merchant-disabled")
	w.refused(request{path: "/v1/runs", portal: w.Merchant}, 403, "merchant-disabled")
}

func TestWhatIsSetUpWrongly(t *testing.T) {
	for name, change := range map[string]func(*merchants.Merchant){
		"no such cloud":             func(m *merchants.Merchant) { m.Cloud = "nowhere" },
		"no such domain":            func(m *merchants.Merchant) { m.Domain = "nowhere" },
		"no such role":              func(m *merchants.Merchant) { m.CustomerRoles = []string{"nothing"} },
		"a role that opens a cloud": func(m *merchants.Merchant) { m.SubscriptionRoles = []string{"admin"} },
		"the operators' role":       func(m *merchants.Merchant) { m.CustomerRoles = []string{servicetest.AdminRole} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error {
				change(m)
				return nil
			})
			must(t, err)
			w.refused(w.order("k"), 503, "configuration-fault")
		})
	}
}

func TestUpstreamsOutOfOrder(t *testing.T) {
	w := newWorld(t)
	w.upstreams.keystoneDown.Store(true)
	got := w.refused(w.order("k"), 503, "upstream-unavailable")
	if after := got.header.Get("Retry-After"); after != "17" {
		t.Errorf("got Retry-After %q, want Keystone's own 17", after)
	}
	if strings.Contains(got.body, "canary") {
		t.Errorf("the answer repeats the upstream's text: %s", got.body)
	}
	w.refused(request{path: "/v1/runs", operator: "unknown-yet"}, 503, "upstream-unavailable")
	w.upstreams.keystoneDown.Store(false)
	w.upstreams.billingDown.Store(true)
	w.refused(w.order("k"), 503, "upstream-unavailable")
	w.refused(request{path: "/v1/merchants/" + w.Merchant.ID + "/plans", portal: w.Merchant}, 503, "upstream-unavailable")
	w.upstreams.billingDown.Store(false)
	if got := w.call(w.order("k")); got.status != http.StatusCreated {
		t.Errorf("the key of a refused order: got %d %s, want 201", got.status, got.body)
	}
}

func TestLentTokens(t *testing.T) {
	w := newWorld(t)
	q := w.order("k")
	q.header.Set("X-Subject-Token", w.lentToken())
	w.refused(q, 403, "token-delegated")
}

// lentToken returns a token that Keystone issued for an application credential of the user.
func (w *world) lentToken() string {
	w.t.Helper()
	tenant := slices.IndexFunc(w.Keystone.Projects(), func(p keystone.Project) bool {
		return p.Name == keystone.CustomerTenant(w.Merchant.Customer)
	})
	token, err := w.Identity.ExchangeToken(w.t.Context(), w.UserToken, w.Keystone.Projects()[tenant].ID)
	must(w.t, err)
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.KeystoneURL+"/users/"+w.User+"/application_credentials",
		strings.NewReader(`{"application_credential": {"name": "lent"}}`))
	must(w.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Auth-Token", token.ID)
	resp, err := http.DefaultClient.Do(r)
	must(w.t, err)
	text, err := io.ReadAll(resp.Body)
	must(w.t, errors.Join(err, resp.Body.Close()))
	var made struct {
		Credential struct{ ID, Secret string } `json:"application_credential"`
	}
	must(w.t, json.Unmarshal(text, &made))
	lent, err := clouds.Login(w.t.Context(), conn.Config{URL: w.KeystoneURL, Credential: conn.Credential{
		ApplicationCredentialID: made.Credential.ID, ApplicationCredentialSecret: made.Credential.Secret,
	}})
	must(w.t, err)
	return lent
}

// Without TLS, the service accepts no credential over a network: neither an API key nor an operator's token.
func TestCredentialsGoOverTLSOnly(t *testing.T) {
	for _, c := range []struct {
		name, remote string
		listener     bool
		want         int
	}{
		{"in the clear from afar", "203.0.113.9:4711", false, 403},
		{"in the clear from this machine", "127.0.0.1:4711", false, 200},
		{"in the clear from this machine, IPv6", "[::1]:4711", false, 200},
		{"over the listener's TLS", "203.0.113.9:4711", true, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(o *servicetest.Options) { o.TLS = c.listener })
			for what, q := range map[string]request{"an API key": w.get("/v1/runs"), "a token": w.admin("GET", "/v1/runs", "")} {
				got := w.from(c.remote, q)
				if got.Code != c.want || c.want == 403 && !strings.Contains(got.Body.String(), "/problems/tls-required") {
					t.Errorf("%s: got %d %s, want %d", what, got.Code, got.Body, c.want)
				}
			}
			shown := strings.Contains(w.from(c.remote, w.admin("GET", "/readyz", "")).Body.String(), "checks")
			if shown != (c.want == 200) {
				t.Errorf("the checks of readyz are shown to an operator's token: %t", shown)
			}
		})
	}
}
