package api_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// newUser returns an order with a new user and a new customer.
func (w *world) newUser(key, name, password string) request {
	q := w.order(key)
	q.header.Del("X-Subject-Token")
	q.body = fmt.Sprintf(`{"plan_id": %q, "customer": {"name": "Grace"}, "user": {"name": %q, "password": %q, "email": "g@example.org"}}`,
		w.Merchant.Plan, name, password)
	return q
}

func TestAVisitorSubscribesInOneCall(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) { subscribedInOneCall(t, database) })
	t.Run("Identity v2.0", func(t *testing.T) { subscribedInOneCall(t, "", withIdentityV2) })
}

func subscribedInOneCall(t *testing.T, database string, change ...func(*servicetest.Options)) {
	w := newWorldOf(t, database, change...)
	order := w.newUser("k", "grace", "correct horse")
	a := w.call(order)
	made := read[api.Run](t, a)
	user, _ := made.Result["user_id"].(string)
	if found, err := w.Identity.FindUser(t.Context(), "default", "grace"); a.status != http.StatusCreated || err != nil || found.ID != user ||
		found.RunID != made.ID {
		t.Fatalf("the user is %+v, %v; the answer is %d %s", found, err, a.status, a.body)
	}
	scoped, err := w.Identity.ValidateToken(t.Context(), a.header.Get("X-Subject-Token"))
	if err != nil || scoped.UserID != user || scoped.ProjectID != made.Result["customer_tenant_id"] || len(scoped.Roles) < 2 {
		t.Errorf("the scoped token is %+v, %v", scoped, err)
	}
	if valueOf(made.UserID) != user || made.Workflow != "subscribe" {
		t.Errorf("the run is %s", a.body)
	}
	listed := w.call(request{path: "/v1/runs?user=" + user, portal: w.Merchant})
	if !strings.Contains(listed.body, made.ID) {
		t.Errorf("the runs of the user are %s", listed.body)
	}
	if found := w.ledger("user_id=" + user); !slices.ContainsFunc(found, func(e api.LedgerEntry) bool { return e.Kind == "project" }) {
		t.Errorf("the objects of the user are %+v", found)
	}

	again := w.newUser("k", "grace", "another password")
	replayed := w.call(again)
	if got := read[api.Run](t, replayed); replayed.status != http.StatusCreated || got.ID != made.ID || replayed.header.Get("X-Subject-Token") != "" {
		t.Errorf("repeated: %d %s", replayed.status, replayed.body)
	}
	w.refused(w.newUser("k", "eve", "correct horse"), http.StatusUnprocessableEntity, "idempotency-key-reused")
	w.refused(w.newUser("other", "GRACE", "correct horse"), http.StatusConflict, "user-exists")
	w.refused(w.login("grace", "another password"), http.StatusUnauthorized, "login-refused")
	if a := w.call(w.login("grace", "correct horse")); a.status != http.StatusCreated {
		t.Errorf("logging in: %d %s", a.status, a.body)
	}
	customer := fmt.Sprint(made.Result["customer_id"])
	second := w.newUser("second", "eve", "correct horse")
	second.body = strings.Replace(second.body, `"customer": {"name": "Grace"}`, `"customer_id": "`+customer+`"`, 1)
	p := read[api.Problem](t, w.refused(second, http.StatusBadRequest, "invalid-params"))
	if pointer := (*p.InvalidParams)[0].Pointer; pointer == nil || *pointer != "/add_user" {
		t.Errorf("the problem is %+v", p)
	}
	second.body = strings.Replace(second.body, "{", `{"add_user": true, `, 1)
	joined := w.changes(second)
	if joined.Result["customer_id"] != customer || joined.Result["customer_tenant_id"] != made.Result["customer_tenant_id"] ||
		joined.Result["user_id"] == user {
		t.Errorf("the second user's run is %+v", joined.Result)
	}
}

func valueOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

func TestABadOrderWithANewUserIsRefused(t *testing.T) {
	w := newWorldOf(t, "")
	for user, pointer := range map[string]string{
		`{"name": "grace"}`:                              "/user/password",
		`{"password": "correct horse"}`:                  "/user/name",
		`{"name": "grace", "password": ""}`:              "/user/password",
		`{"name": " grace", "password": "p"}`:            "/user/name",
		`{"name": "grace", "password": ["p"]}`:           "/user/password",
		`{"name": "grace", "password": "p\u0000"}`:       "/user/password",
		`{"name": "jose\u0301", "password": "p"}`:        "/user/name",
		`{"name": "grace", "password": "p", "token": 1}`: "/user/token",
		`"grace"`: "/user",
		`null`:    "/user",
		`{"name": "grace", "password": "p", "email": {"x": "y"}}`: "/user/email",
	} {
		q := w.newUser("k", "", "")
		q.body = fmt.Sprintf(`{"plan_id": %q, "customer": {"name": "Grace"}, "user": %s}`, w.Merchant.Plan, user)
		a := w.refused(q, http.StatusBadRequest, "invalid-params")
		if p := read[api.Problem](t, a); p.InvalidParams == nil || (*p.InvalidParams)[0].Pointer == nil || *(*p.InvalidParams)[0].Pointer != pointer {
			t.Errorf("%s: %s", user, a.body)
		}
	}
	both := w.newUser("k", "grace", "correct horse")
	both.header.Set("X-Subject-Token", w.UserToken)
	if p := read[api.Problem](t, w.refused(both, http.StatusBadRequest, "invalid-params")); valueOf((*p.InvalidParams)[0].Parameter) != "X-Subject-Token" {
		t.Errorf("the problem is %+v", p)
	}
	neither := w.order("k")
	neither.header.Del("X-Subject-Token")
	w.refused(neither, http.StatusUnauthorized, "user-token-invalid")
	plan := w.newUser("k", "grace", "correct horse")
	plan.body = strings.Replace(plan.body, w.Merchant.Plan, w.Merchant.ID, 1)
	w.refused(plan, http.StatusBadRequest, "invalid-params")
	w.signUp(false)
	w.refused(w.newUser("k", "grace", "correct horse"), http.StatusForbidden, "sign-up-off")
	w.signUp(true)
	if _, err := w.Identity.FindUser(t.Context(), "default", "grace"); err == nil || w.runs() != 0 {
		t.Errorf("a refused order made a user or a run: %v, %d", err, w.runs())
	}
}

func TestOrdersWithNewUsersCountAsRegistrations(t *testing.T) {
	w := newWorldOf(t, "", changed(func(o *service.Options) { o.LoginRate = 2 }))
	w.changes(w.newUser("k", "grace", "correct horse"))
	w.refused(w.login("grace", "wrong"), http.StatusUnauthorized, "login-refused")
	a := w.refused(w.newUser("other", "Grace", "correct horse"), http.StatusTooManyRequests, "login-rate-exceeded")
	if a.header.Get("Retry-After") == "" || !strings.Contains(strings.Join(a.header.Values("RateLimit"), ", "), `"login-name";r=0;t=`) {
		t.Errorf("the headers are %v", a.header)
	}
	visitor := w.newUser("visitor", "eve", "correct horse")
	visitor.header.Set("X-Visitor-Address", "somewhere")
	w.refused(visitor, http.StatusBadRequest, "invalid-params")
	if a := w.call(w.newUser("k", "grace", "correct horse")); a.status != http.StatusCreated { // a repeated call does not count
		t.Errorf("%d %s", a.status, a.body)
	}
}

// An order with a new user is undone as a whole, before and after the first write to BillingStack. Even if the merchant's failed runs wait for
// an operator, a refused password is undone at once.
func TestAFailedOrderWithANewUserLeavesNothing(t *testing.T) {
	var refuse, locked atomic.Bool
	var writes, billed atomic.Int32
	w := newWorldOf(t, "", withRules(keystonetest.PasswordRules{Regex: regexp.MustCompile(`.{12,}`), Description: "at least 12 characters"}),
		func(o *servicetest.Options) {
			o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					if refuse.Load() && r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/subscriptions") {
						return &http.Response{
							StatusCode: http.StatusConflict, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
							Body: io.NopCloser(strings.NewReader(`{"faultcode": "Client", "faultstring": "no"}`)),
						}, nil
					}
					call := saga.CallOf(r.Context())
					if call.RunID != "" && r.Method != http.MethodGet {
						writes.Add(1)
						if strings.HasPrefix(r.URL.Path, "/v2/") {
							billed.Add(1)
						}
					}
					if locked.Load() && call.Step == "log-in" {
						return &http.Response{
							StatusCode: http.StatusUnauthorized, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
							Body: io.NopCloser(strings.NewReader(`{"error": {"code": 401, "title": "Unauthorized", "message": "no"}}`)),
						}, nil
					}
					return next.RoundTrip(r)
				})
			}
		})
	_, err := w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error {
		m.OnFailure = string(saga.FailureHolds)
		return nil
	})
	must(t, err)
	a := w.call(w.newUser("weak", "grace", "s3cret"))
	p := read[api.Problem](t, a)
	if a.status != http.StatusConflict || !strings.HasSuffix(p.Code, ".password-refused") || p.InvalidParams == nil ||
		valueOf((*p.InvalidParams)[0].Pointer) != "/user/password" || strings.Contains(a.body, "s3cret") {
		t.Errorf("a weak password: %d %s", a.status, a.body)
	}
	if made := writes.Load(); made != 1 {
		t.Errorf("a weak password: the run made %d writes", made)
	}
	_, err = w.Store.Merchants().Update(t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error {
		m.OnFailure = string(saga.FailureCompensates)
		return nil
	})
	must(t, err)
	outside := func() string {
		found, err := workflowstest.Look(t.Context(), w.Keystone, w.Billing, w.Merchant.ID)
		must(t, err)
		return fmt.Sprintf("%+v", found)
	}
	before := outside()
	locked.Store(true)
	billed.Store(0)
	a = w.call(w.newUser("locked", "grace", "correct horse"))
	if p := read[api.Problem](t, a); !strings.HasSuffix(p.Code, ".login-refused") || *p.FixBy != api.FixByAdministrator || billed.Load() != 0 {
		t.Errorf("a refused login: %d %s, and BillingStack got %d writes", a.status, a.body, billed.Load())
	}
	locked.Store(false)
	refuse.Store(true)
	a = w.call(w.newUser("refused", "grace", "correct horse"))
	if !strings.Contains(a.body, "run-compensated") {
		t.Errorf("%d %s", a.status, a.body)
	}
	refuse.Store(false)
	if after := outside(); after != before || billed.Load() == 0 {
		t.Errorf("the compensated runs have left\n%s, before there was\n%s", after, before)
	}
	w.refused(w.newUser("taken", "Ada", "correct horse"), http.StatusConflict, "user-exists") // the installation has a user "ada"
	run := a.header.Get("Location")
	if run == "" {
		run = valueOf(read[api.Problem](t, a).Instance)
	}
	retry := w.asOperator(w.action(run, "retry", `{"why": "again"}`))
	refused := read[api.Problem](t, w.refused(retry, http.StatusConflict, "retry-refused"))
	if !strings.HasSuffix(refused.Code, ".password-missing") || *refused.FixBy != api.FixByMerchant {
		t.Errorf("the retry is refused with %+v", refused)
	}
	w.changes(w.newUser("next", "grace", "correct horse"))
}

// The replica loses the password after it has created the user, because Keystone refuses connections for a while. The portal repeats the call
// with another password. The run then sets this password, and subscribes the user.
func TestAnOrderWithANewUserWaitsForItsPassword(t *testing.T) {
	for _, version := range []struct {
		name   string
		change []func(*servicetest.Options)
	}{{"v3", nil}, {"v2.0", []func(*servicetest.Options){withIdentityV2}}} {
		t.Run(version.name, func(t *testing.T) { waitsBeforeTheLogin(t, version.change) })
	}
}

func waitsBeforeTheLogin(t *testing.T, change []func(*servicetest.Options)) {
	var down atomic.Bool
	down.Store(true)
	w := newWorldOf(t, "", append(change, changed(func(o *service.Options) { o.KeepPassword = 300 * time.Millisecond }), func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				ofRun := saga.CallOf(r.Context()).Step == "log-in"
				if down.Load() && ofRun {
					return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
				}
				return next.RoundTrip(r)
			})
		}
	})...)
	order := w.newUser("k", "grace", "first password")
	order.header.Set("Prefer", "respond-async")
	id := read[api.Run](t, w.call(order)).ID
	w.waitFor("the run waits for the password", func() bool {
		run, err := w.Store.Run(t.Context(), id)
		return err == nil && run.AwaitsPassword() && run.Step("create-user").Done()
	})
	down.Store(false)
	var a answer
	w.waitFor("the run succeeds", func() bool {
		a = w.call(w.newUser("k", "grace", "second password"))
		return a.status == http.StatusCreated
	})
	if got := read[api.Run](t, a); got.ID != id {
		t.Errorf("got run %s, want %s", got.ID, id)
	}
	w.refused(w.login("grace", "first password"), http.StatusUnauthorized, "login-refused")
	if a := w.call(w.login("grace", "second password")); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestADryRunShowsTheNewUser(t *testing.T) {
	w := newWorldOf(t, "")
	joins := w.newUser("joins", "eve", "correct horse")
	joins.body = strings.Replace(joins.body, `"customer": {"name": "Grace"}`, `"dry_run": true, "add_user": true, "customer_id": "`+w.subscribed("s").customer+`"`, 1)
	for _, s := range read[api.DryRun](t, w.call(joins)).Steps {
		if s.Objects != nil && strings.HasPrefix(s.Name, "assign-customer-role/") {
			t.Errorf("step %s names %+v, although the user has no id yet", s.Name, *s.Objects)
		}
	}
	before := w.runs()
	q := w.newUser("k", "grace", "correct horse")
	q.body = strings.Replace(q.body, "{", `{"dry_run": true, `, 1)
	a := w.call(q)
	got := read[api.DryRun](t, a)
	outcomes := map[string]string{}
	for _, s := range got.Steps {
		outcomes[s.Name] = string(s.Outcome)
	}
	for step, want := range map[string]string{
		"check-name": "only-reads", "create-user": "would-create", "check-twins": "undecided", "log-in": "would-create",
		"create-customer": "would-create", "create-customer-tenant": "would-create", "assign-customer-role/member": "would-create",
		"attach-tenant": "would-change",
	} {
		if outcomes[step] != want {
			t.Errorf("step %s: %s, want %s", step, outcomes[step], want)
		}
	}
	if _, err := w.Identity.FindUser(t.Context(), "default", "grace"); a.status != http.StatusOK || got.State != "succeeded" || err == nil || w.runs() != before {
		t.Errorf("%d %s", a.status, a.body)
	}
}
