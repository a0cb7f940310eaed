package api_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `signUp` sets the field SignUp of the installation's merchant.
func (w *world) signUp(on bool) {
	w.t.Helper()
	_, err := w.Store.Merchants().Update(w.t.Context(), w.Merchant.ID, func(m *merchants.Merchant) error { m.SignUp = on; return nil })
	must(w.t, err)
}

func (w *world) registration(key, name, password string) request {
	return request{
		method: http.MethodPost, path: "/v1/merchants/" + w.Merchant.ID + "/users", portal: w.Merchant,
		body: fmt.Sprintf(`{"name": %q, "password": %q, "email": "ada@example.org"}`, name, password), header: http.Header{"Idempotency-Key": {key}},
	}
}

func (w *world) login(name, password string) request {
	return request{
		method: http.MethodPost, path: "/v1/merchants/" + w.Merchant.ID + "/tokens", portal: w.Merchant,
		body: fmt.Sprintf(`{"name": %q, "password": %q}`, name, password), header: http.Header{},
	}
}

func TestAUserIsRegisteredAndLoggedIn(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) { registeredAndLoggedIn(t, database) })
	t.Run("Identity v2.0", func(t *testing.T) { registeredAndLoggedIn(t, "", withIdentityV2) })
}

func registeredAndLoggedIn(t *testing.T, database string, change ...func(*servicetest.Options)) {
	w := newWorldOf(t, database, change...)
	order := w.registration("k", "ada@example.org", "correct horse")
	made := w.changes(order)
	user, _ := made.Result["user_id"].(string)
	if found, err := w.Identity.FindUser(t.Context(), "default", "ada@example.org"); err != nil || found.ID != user || found.RunID != made.ID || !found.Enabled {
		t.Fatalf("the user is %+v, %v; the run is %+v", found, err, made)
	}
	order.body = strings.Replace(order.body, "correct horse", "another password", 1)
	again := w.call(order)
	if got := read[api.Run](t, again); again.status != http.StatusCreated || got.ID != made.ID || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("repeated: %d %s", again.status, again.body)
	}
	order.body = strings.Replace(order.body, "ada@example.org", "eve@example.org", 1)
	w.refused(order, http.StatusUnprocessableEntity, "idempotency-key-reused")

	a := w.call(w.login("ada@example.org", "correct horse"))
	if got := read[api.Login](t, a); a.status != http.StatusCreated || got.UserID != user || got.ExpiresAt.Before(time.Now()) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	token := a.header.Get("X-Subject-Token")
	if got, err := w.Identity.ValidateToken(t.Context(), token); err != nil || got.UserID != user || got.Scoped() {
		t.Fatalf("the token is %+v, %v", got, err)
	}
	w.refused(w.login("ada@example.org", "another password"), http.StatusUnauthorized, "login-refused")
	w.refused(w.login("nobody", "correct horse"), http.StatusUnauthorized, "login-refused")

	subscribe := w.order("s")
	subscribe.header.Set("X-Subject-Token", token)
	if a := w.call(subscribe); a.status != http.StatusCreated {
		t.Errorf("subscribing with the token: %d %s", a.status, a.body)
	}
}

func TestATakenNameIsRefused(t *testing.T) {
	w := newWorldOf(t, "")
	w.changes(w.registration("k", "grace", "correct horse"))
	for i, name := range []string{"grace", "GRACE", "Grace"} {
		a := w.refused(w.registration(fmt.Sprint("other", i), name, "correct horse"), http.StatusConflict, "user-exists")
		if differs := strings.Contains(a.body, "upper and lower case"); differs != (name != "grace") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// Two registrations of one name at the same time: the second is compensated, and the first user stays.
func TestOfTwoRegistrationsOfANameOneSucceeds(t *testing.T) {
	w := newWorldOf(t, "")
	answers := make(chan answer, 8)
	for i := range cap(answers) {
		name := []string{"grace", "GRACE"}[i%2]
		go func() {
			a, err := w.try(w.registration(fmt.Sprint("k", i), name, "correct horse"))
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	made := map[int]int{}
	for range cap(answers) {
		a := <-answers
		made[a.status]++
		if a.status == http.StatusConflict && !strings.Contains(a.body, "user-exists") {
			t.Error(a.body)
		}
	}
	if made[http.StatusCreated] != 1 || made[http.StatusConflict] != cap(answers)-1 {
		t.Errorf("the statuses are %v", made)
	}
	if _, err := w.Identity.SimilarUser(t.Context(), "default", "grace"); err != nil {
		t.Error(err)
	}
}

// While a registration is checked, a second call with the same key registers the user. The check then finds that the name is taken. The first
// call must nevertheless answer with the run of the second call.
func TestOfTwoCallsWithOneKeyBothAnswerWithTheRun(t *testing.T) {
	var between atomic.Pointer[func()]
	w := newWorldOf(t, "", func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodGet && r.URL.Path == "/v3/users" {
					if call := between.Swap(nil); call != nil {
						(*call)()
					}
				}
				return next.RoundTrip(r)
			})
		}
	})
	order := w.registration("k", "grace", "correct horse")
	var second answer
	between.Store(new(func() {
		var err error
		if second, err = w.try(order); err != nil {
			t.Error(err)
		}
	}))
	first := w.call(order)
	if first.status != http.StatusCreated || second.status != http.StatusCreated || read[api.Run](t, first).ID != read[api.Run](t, second).ID {
		t.Errorf("%d %s, and %d %s", first.status, first.body, second.status, second.body)
	}
}

func TestSignUpMustBeOn(t *testing.T) {
	w := newWorldOf(t, "")
	w.signUp(false)
	bad := w.login("grace", "")
	bad.body = `{"name": "grace", "password": "p\u0000"}`
	w.refused(bad, http.StatusBadRequest, "invalid-params")
	w.refused(w.registration("k", "grace", "correct horse"), http.StatusForbidden, "sign-up-off")
	w.refused(w.login("grace", "correct horse"), http.StatusForbidden, "sign-up-off")
	w.signUp(true)
	foreign := w.registration("k", "grace", "correct horse")
	foreign.portal = w.Other
	w.refused(foreign, http.StatusNotFound, "merchant-not-found")
	foreign = w.login("grace", "correct horse")
	foreign.portal = w.Other
	w.refused(foreign, http.StatusNotFound, "merchant-not-found")
	w.refused(w.asOperator(w.registration("k", "grace", "correct horse")), http.StatusForbidden, "forbidden")
	w.changes(w.registration("k", "grace", "correct horse"))
	w.signUp(false)
	w.refused(w.login("grace", "correct horse"), http.StatusForbidden, "sign-up-off")
}

func TestABadRegistrationIsRefused(t *testing.T) {
	w := newWorldOf(t, "")
	for body, pointer := range map[string]string{
		`{"name": "grace"}`:                                                  "/password",
		`{"password": "correct horse"}`:                                      "/name",
		`{"name": "grace", "password": ""}`:                                  "/password",
		`{"name": " grace", "password": "p"}`:                                "/name",
		`{"name": "grace", "password": 12345678}`:                            "/password",
		`{"name": "grace", "password": "p\u0000"}`:                           "/password",
		`{"name": "grace", "password": "p\u0007"}`:                           "/password",
		`{"name": "jose\u0301", "password": "p"}`:                            "/name",
		`{"name": "jos\u200bé", "password": "p"}`:                            "/name",
		`{"name": "a\u0000", "password": "p"}`:                               "/name",
		`{"name": "grace", "password": "p", "x": 1}`:                         "/x",
		`{"name": "grace", "password": "p", "email": ""}`:                    "/email",
		`{"name": "` + strings.Repeat("a", 256) + `", "password": "p"}`:      "/name",
		`{"name": "grace", "password": "` + strings.Repeat("p", 4097) + `"}`: "/password",
	} {
		q := w.registration("k", "", "")
		q.body = body
		a := w.refused(q, http.StatusBadRequest, "invalid-params")
		if p := read[api.Problem](t, a); p.InvalidParams == nil || (*p.InvalidParams)[0].Pointer == nil || *(*p.InvalidParams)[0].Pointer != pointer {
			t.Errorf("%.60s: %s", body, a.body)
		}
	}
	q := w.registration("k", "grace", "p")
	q.header.Set("X-Visitor-Address", "somewhere")
	w.refused(q, http.StatusBadRequest, "invalid-params")
}

// A password may contain characters that BillingStack could not store.
func TestAPasswordMayHaveAnyCharacter(t *testing.T) {
	w := newWorldOf(t, "")
	w.changes(w.registration("k", "grace", "p😀ß\"\\ 漢"))
	if a := w.call(w.login("grace", "p😀ß\"\\ 漢")); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	for i, password := range []string{"pass<word", `quo"te!`, `back\slash`, "café au lait", "emoji🚀"} { // characters of one kind
		name := fmt.Sprint("user", i)
		w.changes(w.registration(name, name, password))
		if a := w.call(w.login(name, password)); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", password, a.status, a.body)
		}
		w.refused(w.login(name, password+"x"), http.StatusUnauthorized, "login-refused")
	}
	w.changes(w.newUser("subscribes", "hopper", "p😀ß\"\\ 漢"))
	if a := w.call(w.login("hopper", "p😀ß\"\\ 漢")); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestADryRunOfARegistrationCreatesNothing(t *testing.T) {
	w := newWorldOf(t, "")
	q := w.registration("k", "grace", "correct horse")
	q.body = strings.Replace(q.body, "{", `{"dry_run": true, `, 1)
	a := w.call(q)
	if got := read[api.DryRun](t, a); a.status != http.StatusOK || got.State != "succeeded" || len(got.Steps) != 4 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, err := w.Identity.FindUser(t.Context(), "default", "grace"); err == nil || w.runs() != 0 {
		t.Errorf("the dry run made a user or a run: %v, %d", err, w.runs())
	}
}

func TestLogInsAreLimited(t *testing.T) {
	w := newWorldOf(t, "", changed(func(o *service.Options) { o.LoginRate = 3 }))
	w.changes(w.registration("k", "grace", "correct horse"))
	visitor := func(name, address string) request {
		q := w.login(name, "wrong")
		q.header.Set("X-Visitor-Address", address)
		return q
	}
	for range 2 { // the registration counts, too
		w.refused(w.login("grace", "wrong"), http.StatusUnauthorized, "login-refused")
	}
	before := w.upstreams.reads.Load() + w.upstreams.writes.Load()
	for range 100 {
		a := w.refused(w.login("GRACE", "correct horse"), http.StatusTooManyRequests, "login-rate-exceeded")
		if a.header.Get("Retry-After") == "" || !strings.HasPrefix(a.header.Get("RateLimit"), `"login-name";r=0;t=`) ||
			!strings.HasPrefix(a.header.Get("RateLimit-Policy"), `"login-name";q=3;w=60`) {
			t.Fatalf("the headers are %v", a.header)
		}
	}
	if after := w.upstreams.reads.Load() + w.upstreams.writes.Load(); after != before {
		t.Errorf("the refused logins made %d requests", after-before)
	}
	w.refused(w.login("bob", "wrong"), http.StatusUnauthorized, "login-refused")
	for i := range 3 {
		w.refused(visitor(fmt.Sprint("v", i), fmt.Sprint("2001:db8::", i)), http.StatusUnauthorized, "login-refused")
	}
	w.refused(visitor("v4", "2001:db8::ffff"), http.StatusTooManyRequests, "login-rate-exceeded") // the same /64
	w.refused(visitor("v4", "192.0.2.1"), http.StatusUnauthorized, "login-refused")
}

// Somebody tries 1,000 passwords of one user. Keystone gets at most as many logins as the limit allows, and other users can log in meanwhile.
func TestAThousandWrongLogIns(t *testing.T) {
	const limit = 10 // a minute
	var tried atomic.Int64
	w := newWorldOf(t, "", changed(func(o *service.Options) { o.LoginRate = limit }), func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPost && r.URL.Path == "/v3/auth/tokens" && r.Body != nil {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return nil, err
					}
					if bytes.Contains(body, []byte(`"guess`)) {
						tried.Add(1)
					}
					r.Body = io.NopCloser(bytes.NewReader(body))
				}
				return next.RoundTrip(r)
			})
		}
	})
	for _, name := range []string{"grace", "hopper", "alan"} {
		w.changes(w.registration(name, name, "correct horse"))
	}
	began := time.Now()
	var limited, refused atomic.Int64
	var all sync.WaitGroup
	for worker := range 20 {
		all.Go(func() {
			for i := range 50 {
				a := w.call(w.login("grace", fmt.Sprint("guess ", worker, " ", i)))
				switch {
				case a.status == http.StatusUnauthorized:
					refused.Add(1)
				case a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") != "" &&
					strings.HasPrefix(a.header.Get("RateLimit"), `"login-name";r=0;t=`) &&
					strings.HasPrefix(a.header.Get("RateLimit-Policy"), `"login-name";q=10;w=60`):
					limited.Add(1)
				default:
					t.Errorf("a wrong password: %d %v %s", a.status, a.header, a.body)
				}
			}
		})
	}
	for _, name := range []string{"hopper", "alan"} {
		for range limit / 2 {
			if a := w.call(w.login(name, "correct horse")); a.status != http.StatusCreated {
				t.Errorf("%s logs in meanwhile: %d %s", name, a.status, a.body)
			}
		}
	}
	all.Wait()
	// The limit refills while the test runs.
	most := int64(limit + limit*time.Since(began)/time.Minute + 1)
	if tried.Load() > most || refused.Load() != tried.Load() || limited.Load() != 1000-refused.Load() {
		t.Errorf("Keystone got %d logins, at most %d may be; %d were refused, and %d were limited", tried.Load(), most, refused.Load(), limited.Load())
	}
}

// Keystone is down for longer than the service keeps the password. The run then waits until the portal repeats the call. The user gets the
// password of the repeated call.
func TestARegistrationWaitsForItsPassword(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	w := newWorldOf(t, "", changed(func(o *service.Options) { o.KeepPassword = 300 * time.Millisecond }), func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if down.Load() && r.Method == http.MethodPost && r.URL.Path == "/v3/users" {
					return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
				}
				return next.RoundTrip(r)
			})
		}
	})
	order := w.registration("k", "grace", "first password")
	order.header.Set("Prefer", "respond-async")
	a := w.call(order)
	id := read[api.Run](t, a).ID
	w.waitFor("the run waits for the password", func() bool {
		run, err := w.Store.Run(t.Context(), id)
		return err == nil && run.AwaitsPassword()
	})
	seen := read[api.Run](t, w.call(request{path: "/v1/runs/" + id, portal: w.Merchant}))
	if seen.Reason == nil || seen.Reason.Kind != "password" || seen.Reason.Code != "password-missing" || seen.Reason.FixBy != api.FixByMerchant {
		t.Errorf("the run is %+v", seen)
	}
	w.refused(w.registration("k", "grace", ""), http.StatusBadRequest, "invalid-params")
	if run, err := w.Store.Run(t.Context(), id); err != nil || !run.AwaitsPassword() {
		t.Errorf("after a call without a password, the run is %+v, %v", run, err)
	}
	down.Store(false)
	order = w.registration("k", "grace", "second password")
	w.waitFor("the run succeeds", func() bool {
		a = w.call(order)
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

// The method `waitFor` waits until the condition holds.
func (w *world) waitFor(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// withRules makes Keystone apply rules to passwords.
func withRules(rules keystonetest.PasswordRules) func(*servicetest.Options) {
	return func(o *servicetest.Options) { o.Keystone.PasswordRules = rules }
}

func TestAPasswordThatBreaksARuleIsAFaultOfItsField(t *testing.T) {
	w := newWorldOf(t, "", withRules(keystonetest.PasswordRules{
		Regex: regexp.MustCompile(`.{12,}`), Description: "at least 12 characters",
	}))
	const canary = "s3cret"
	a := w.call(w.registration("k", "grace", canary))
	p := read[api.Problem](t, a)
	if a.status != http.StatusConflict || !strings.HasSuffix(p.Code, ".password-refused") || *p.FixBy != api.FixByUser || p.InvalidParams == nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if fault := (*p.InvalidParams)[0]; *fault.Pointer != "/password" || !strings.Contains(fault.Detail, "at least 12 characters") {
		t.Errorf("the fault is %+v", fault)
	}
	if _, err := w.Identity.FindUser(t.Context(), "default", "grace"); !errors.Is(err, keystone.ErrNotFound) {
		t.Errorf("the user: %v", err)
	}
	if strings.Contains(a.body+w.Log.String(), canary) {
		t.Error("the answer or the log contains the password")
	}
	w.changes(w.registration("k2", "grace", "correct horse battery"))

	retry := w.call(request{method: http.MethodPost, path: *p.Instance + "/retry", operator: w.OperatorToken, body: `{"why": "a test"}`})
	if p := read[api.Problem](t, retry); retry.status != http.StatusConflict || p.Type != "/problems/retry-refused" || *p.FixBy != api.FixByMerchant {
		t.Errorf("the retry: %d %s", retry.status, retry.body)
	}
}

// In some clouds, the password of a new user expires at once. There too, a visitor can log in with the password of the registration.
func TestAVisitorsPasswordNeedNotBeChanged(t *testing.T) {
	w := newWorldOf(t, "", withRules(keystonetest.PasswordRules{ChangeUponFirstUse: true}))
	made := w.changes(w.registration("k", "grace", "correct horse"))
	if a := w.call(w.login("grace", "correct horse")); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.Keystone.ExpirePassword(fmt.Sprint(made.Result["user_id"]))
	w.refused(w.login("grace", "correct horse"), http.StatusUnauthorized, "password-expired")
	w.refused(w.login("grace", "wrong"), http.StatusUnauthorized, "login-refused")
}

func TestALoginThatNeedsAnotherMethodAnswersWithAReceipt(t *testing.T) {
	w := newWorldOf(t, "")
	w.Keystone.AddUser(keystonetest.User{Name: "grace", Password: "correct horse", Options: map[string]any{
		"multi_factor_auth_enabled": true, "multi_factor_auth_rules": []any{[]any{"password", "mapped"}},
	}})
	a := w.refused(w.login("grace", "correct horse"), http.StatusUnauthorized, "mfa-required")
	p := read[api.Problem](t, a)
	if p.RequiredAuthMethods == nil || fmt.Sprint(*p.RequiredAuthMethods) != "[[password mapped]]" {
		t.Errorf("the methods: %s", a.body)
	}
	receipt := a.header.Get("Openstack-Auth-Receipt")
	if receipt == "" || strings.Contains(a.body+w.Log.String(), receipt) {
		t.Errorf("the receipt %q is missing, or is in the body or the log", receipt)
	}
}

// An administrator gives the new user a role before the registration fails. The user is kept.
func TestAUserWhoIsInUseIsKept(t *testing.T) {
	var w *world
	var once sync.Once
	w = newWorldOf(t, "", withRules(keystonetest.PasswordRules{ChangeUponFirstUse: true}), func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPatch || !strings.HasPrefix(r.URL.Path, "/v3/users/") {
					return next.RoundTrip(r)
				}
				once.Do(func() {
					member, err := w.Keystone.Role("member")
					if err != nil {
						t.Error(err)
					}
					tenant := w.Keystone.AddProject(keystone.Project{Name: "payroll"})
					w.Keystone.Assign(keystone.Assignment{ProjectID: tenant, UserID: strings.TrimPrefix(r.URL.Path, "/v3/users/"), RoleID: member.ID})
				})
				return &http.Response{
					StatusCode: http.StatusBadRequest, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
					Body: io.NopCloser(strings.NewReader(`{"error": {"code": 400, "message": "no"}}`)),
				}, nil
			})
		}
	})
	a := w.call(w.registration("k", "grace", "correct horse"))
	p := read[api.Problem](t, a)
	if a.status != http.StatusConflict {
		t.Fatalf("%d %s", a.status, a.body)
	}
	run := read[api.Run](t, w.call(request{path: *p.Instance, portal: w.Merchant}))
	if len(run.LeftBehind) != 1 || *run.LeftBehind[0].Kind != "user" {
		t.Errorf("left behind: %+v", run.LeftBehind)
	}
	events := w.call(request{path: *p.Instance + "/events", portal: w.Merchant})
	if !strings.Contains(events.body, "user-kept") || !strings.Contains(events.body, "the user has a role assignment") {
		t.Errorf("the events: %s", events.body)
	}
	if _, err := w.Identity.FindUser(t.Context(), "default", "grace"); err != nil {
		t.Error(err)
	}
}
