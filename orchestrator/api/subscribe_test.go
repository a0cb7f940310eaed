package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func TestSubscribe(t *testing.T) {
	w := newWorld(t)
	first := w.call(w.order("k"))
	if first.status != http.StatusCreated {
		t.Fatalf("got %d %s, want 201", first.status, first.body)
	}
	run := read[api.Run](t, first)
	if run.State != api.RunStateSucceeded || idOf(run, "subscription_id") == "" || idOf(run, "customer_id") == "" ||
		text(run.UserID) != w.User || idOf(run, "plan_id") != w.Merchant.Plan || run.MerchantID != w.Merchant.ID {
		t.Errorf("got %s", first.body)
	}
	if got, want := first.header.Get("Location"), "/v1/runs/"+run.ID; got != want {
		t.Errorf("Location: got %q, want %q", got, want)
	}
	if got := first.header.Get("X-Subject-Token"); got != "the scoped token" {
		t.Errorf("X-Subject-Token: got %q, want the scoped token", got)
	}
	if got := first.header.Get("Vary"); got != "Prefer" {
		t.Errorf("Vary: got %q, want Prefer", got)
	}
	if customer, err := w.Billing.Customer(t.Context(), w.Merchant.ID, idOf(run, "customer_id")); err != nil || customer.Name != "Ada" {
		t.Errorf("the customer is not there: %+v, %v", customer, err)
	}

	// The test repeats the order with a quoted key, another token and other white space, while the upstreams are down.
	w.upstreams.keystoneDown.Store(true)
	w.upstreams.billingDown.Store(true)
	reads := w.upstreams.reads.Load()
	w.steps.token <- "a token that must not be given away"
	again := w.order(`"k"`)
	again.header.Set("X-Subject-Token", "another")
	again.body = strings.ReplaceAll(again.body, ": ", ":  ")
	second := w.call(again)
	if second.status != first.status || second.body != first.body || second.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeated order: got %d %v\n%s\nwant the first answer\n%s", second.status, second.header, second.body, first.body)
	}
	if got := second.header.Get("X-Subject-Token"); got != "" {
		t.Errorf("the repeated order got the token %q", got)
	}
	if got := w.upstreams.reads.Load() - reads; got != 0 {
		t.Errorf("the repeated order asked upstreams %d times", got)
	}
	other := w.order("k")
	other.body = strings.ReplaceAll(other.body, "Ada", "Eve")
	if got := w.call(other); got.status != http.StatusUnprocessableEntity {
		t.Errorf("the key with another body: got %d %s, want 422", got.status, got.body)
	}
	if runs := w.runs(); runs != 1 {
		t.Errorf("got %d runs, want 1", runs)
	}
}

func TestOneKeyOfTwoMerchantsIsTwoOrders(t *testing.T) {
	w := newWorld(t)
	mine := w.call(w.order("k"))
	q := w.order("k")
	q.path, q.portal = "/v1/merchants/"+w.Other.ID+"/subscriptions", w.Other
	q.body = strings.ReplaceAll(q.body, w.Merchant.Plan, w.Other.Plan)
	theirs := w.call(q)
	if mine.status != 201 || theirs.status != 201 || w.runs() != 2 {
		t.Errorf("got %d and %d and %d runs, want two orders", mine.status, theirs.status, w.runs())
	}
}

func TestManyAtOnceWithOneKey(t *testing.T) { onBoth(t, manyAtOnceWithOneKey) }

func manyAtOnceWithOneKey(t *testing.T, database string) {
	const callers = 200
	w := newWorldOn(t, database)
	answers := make([]answer, callers)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			a, err := w.try(w.order("k"))
			if err != nil {
				t.Error(err)
			}
			answers[i] = a
		})
	}
	all.Wait()
	first, tokens := 0, 0
	for _, a := range answers {
		if a.status != http.StatusCreated || a.body != answers[0].body {
			t.Fatalf("got %d %s\nwant 201 %s", a.status, a.body, answers[0].body)
		}
		if a.header.Get("Idempotency-Replayed") == "" {
			first++
		}
		if a.header.Get("X-Subject-Token") != "" {
			tokens++
		}
	}
	if runs := w.runs(); runs != 1 || first != 1 || tokens != 1 || w.upstreams.writes.Load() != 1 {
		t.Errorf("got %d runs, %d first answers, %d tokens, %d customers; want one of each",
			runs, first, tokens, w.upstreams.writes.Load())
	}
}

func TestKnownCustomer(t *testing.T) {
	w := newWorld(t)
	q := w.order("k")
	q.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, w.Merchant.Plan, w.Merchant.Customer)
	if got := w.call(q); got.status != http.StatusCreated || idOf(read[api.Run](t, got), "customer_id") != w.Merchant.Customer {
		t.Errorf("the customer's user: got %d %s", got.status, got.body)
	}
	eve := w.Keystone.IssueToken(w.Keystone.AddUser(keystonetest.User{Name: "eve"}))
	q = w.order("l")
	q.header.Set("X-Subject-Token", eve)
	q.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q, "add_user": true}`, w.Merchant.Plan, w.Merchant.Customer)
	if got := w.call(q); got.status != http.StatusCreated {
		t.Errorf("a user whom the portal adds: got %d %s", got.status, got.body)
	}
}

func TestCompensatedWithinTheWait(t *testing.T) {
	w := newWorld(t)
	w.steps.fail(errRefused)
	first := w.call(w.order("k"))
	p := read[api.Problem](t, first)
	if first.status != http.StatusConflict || p.Type != "/problems/run-compensated" || text(p.Step) != "create-subscription" ||
		p.Code != "subscription-orchestration.conflict" || text(p.Detail) != errRefused.Error() ||
		p.Upstream == nil || p.Upstream.Service != "keystone" {
		t.Fatalf("got %d %s", first.status, first.body)
	}
	if text(p.Instance) != first.header.Get("Location") || !strings.HasPrefix(text(p.Instance), "/v1/runs/") {
		t.Errorf("got instance %q and Location %q", text(p.Instance), first.header.Get("Location"))
	}
	second := w.call(w.order("k"))
	if got, want := withoutID(t, second), withoutID(t, first); second.status != first.status || got != want {
		t.Errorf("the repeated order: got %d\n%s\nwant\n%s", second.status, got, want)
	}

	// A retry starts a new run, which takes over the idempotency key.
	w.steps.fail(nil)
	retry := w.call(w.action(text(p.Instance), "retry", `{"why": "mended"}`))
	if got := retry.header.Get("Location"); retry.status != http.StatusAccepted || got == text(p.Instance) {
		t.Errorf("retry: got %d at %q %s", retry.status, got, retry.body)
	}
	if third := w.call(w.order("k")); third.status != http.StatusCreated || third.header.Get("Location") != retry.header.Get("Location") {
		t.Errorf("after the retry: got %d at %q, want 201 at %q", third.status, third.header.Get("Location"), retry.header.Get("Location"))
	}
}

func TestARetryThatCannotBeAcceptedIsRefused(t *testing.T) {
	w := newWorld(t)
	w.steps.fail(errRefused)
	first := w.call(w.order("k"))
	path := first.header.Get("Location")
	w.steps.fail(nil)

	w.steps.refuseRetry(&saga.RetryRefusedError{Code: "plan-gone", Detail: "the merchant has no such plan", FixBy: saga.FixByMerchant})
	got := w.call(w.action(path, "retry", `{"why": "again"}`))
	p := read[api.Problem](t, got)
	if got.status != http.StatusConflict || p.Type != "/problems/retry-refused" || p.Code != "subscription-orchestration.plan-gone" || text(p.Detail) != "the merchant has no such plan" || p.FixBy == nil || *p.FixBy != api.FixByMerchant {
		t.Errorf("got %d %s", got.status, got.body)
	}
	w.steps.refuseRetry(&upstream.Error{Service: billing.Service, Class: upstream.Unavailable, Op: "reading the plan", Status: 503})
	got = w.call(w.action(path, "retry", `{"why": "again"}`))
	if p = read[api.Problem](t, got); got.status != http.StatusServiceUnavailable || p.Type != "/problems/upstream-unavailable" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if again := w.call(w.order("k")); again.header.Get("Location") != path {
		t.Errorf("the key belongs to the run %q, want the compensated run %q", again.header.Get("Location"), path)
	}

	w.steps.refuseRetry(nil)
	if retry := w.call(w.action(path, "retry", `{"why": "again"}`)); retry.status != http.StatusAccepted {
		t.Errorf("when the order can be accepted again: got %d %s", retry.status, retry.body)
	}
}

func TestWaiting(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name    string
		prefer  []string
		applied string
		waits   bool
	}{
		{"not at all", []string{"respond-async"}, "respond-async", false},
		{"a second", []string{"wait=1"}, "wait=1", true},
		{"a second at most, over two lines", []string{"respond-async", "foo=bar; x, wait=1"}, "respond-async, wait=1", true},
		{"no time", []string{"wait=0"}, "wait=0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.steps.close()
			q := w.order(c.name)
			q.header["Idempotency-Key"] = []string{`"` + c.name + `"`}
			q.header["Prefer"] = c.prefer
			began := time.Now()
			got := w.call(q)
			took := time.Since(began)
			if got.status != http.StatusAccepted || got.header.Get("Preference-Applied") != c.applied || got.header.Get("Retry-After") == "" {
				t.Errorf("got %d %v, want 202 with %q applied", got.status, got.header, c.applied)
			}
			if (took >= time.Second) != c.waits {
				t.Errorf("it took %v", took)
			}
			w.steps.open()
			if got := w.call(w.get(got.header.Get("Location") + "?wait=30")); read[api.Run](t, got).State != api.RunStateSucceeded {
				t.Errorf("in the end: got %s", got.body)
			}
		})
	}
}

func TestHeldRunsAnswerAtOnce(t *testing.T) {
	w := newWorld(t)
	w.steps.fail(errBlocked)
	began := time.Now()
	got := w.call(w.order("k"))
	run := read[api.Run](t, got)
	if got.status != http.StatusAccepted || run.State != api.RunStateWaiting || run.Reason == nil || run.Reason.Kind != api.ReasonKindOperator {
		t.Fatalf("got %d %s, want 202 and a run that waits for an operator", got.status, got.body)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the answer took %v, although the run waits for an operator", took)
	}
	w.steps.fail(nil)
	w.call(w.action(got.header.Get("Location"), "retry", `{"why": "decided"}`))
	w.await(got.header.Get("Location"), api.RunStateSucceeded)
	if got := w.call(w.order("k")); got.status != http.StatusCreated {
		t.Errorf("after the retry: got %d %s, want 201", got.status, got.body)
	}
}

// withoutID returns the body without the request id.
func withoutID(t *testing.T, a answer) string {
	t.Helper()
	id := a.header.Get("X-Openstack-Request-Id")
	if !strings.Contains(a.body, id) {
		t.Errorf("the body does not contain the request id %s: %s", id, a.body)
	}
	return strings.ReplaceAll(a.body, id, "")
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// The method `get` returns a GET request of the merchant's portal.
func (w *world) get(path string) request { return request{path: path, portal: w.Merchant} }

// The method `action` returns an operator's request for an action on a run.
func (w *world) action(run, action, body string) request {
	return request{method: http.MethodPost, path: run + "/" + action, body: body, operator: w.OperatorToken}
}

// The method `await` waits until the run has the given state.
func (w *world) await(path string, state api.RunState) {
	w.t.Helper()
	watcher := w.Service.Runs.Watch(strings.TrimPrefix(path, "/v1/runs/"))
	defer watcher.Close()
	err := watcher.See(w.t.Context(), nil, func(r *saga.Run) bool {
		return api.RunState(r.State) != state
	})
	must(w.t, err)
}

// BillingStack needs no currency and no language for a customer. A customer without a currency gets the currency of the merchant,
// and a customer without a language gets the language of the merchant.
func TestACustomerHasTheMerchantsCurrencyAndLanguage(t *testing.T) {
	w := newWorld(t)
	for given, want := range map[string]string{
		``: "nok nor", `, "language": "eng"`: "nok eng", `, "currency": "eur"`: "eur nor",
	} {
		q := w.order(strings.ReplaceAll(want, " ", "-"))
		q.body = fmt.Sprintf(`{"plan_id": %q, "customer": {"name": "Ada"%s}}`, w.Merchant.Plan, given)
		a := w.call(q)
		run := read[api.Run](t, a)
		if a.status != http.StatusCreated {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		id, _ := run.Result["customer_id"].(string)
		customer, err := w.Billing.Customer(t.Context(), w.Merchant.ID, id)
		if must(t, err); customer.Currency+" "+customer.Language != want {
			t.Errorf("order with %q: the customer has %s %s, want %s", given, customer.Currency, customer.Language, want)
		}
	}
}
