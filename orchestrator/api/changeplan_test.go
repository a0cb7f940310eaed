package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// newPlan creates one more plan of a merchant, and returns its id.
func (w *world) newPlan(merchantID string) string {
	w.t.Helper()
	p, err := w.Billing.CreatePlan(w.t.Context(), merchantID, billing.Plan{ID: uuid.NewString(), Name: "large"})
	must(w.t, err)
	return p.ID
}

// changePlan creates a valid request that changes the plan of a subscription of the merchant.
func (w *world) changePlan(subscription, plan, key string) request {
	q := w.change(subscription, "change-plan", key)
	q.body = fmt.Sprintf(`{"why": "a test", "plan_id": %q}`, plan)
	return q
}

// hasPlan checks the plan of a subscription in BillingStack and in the API. The API must also show the state and the run.
func (w *world) hasPlan(when, id, plan string, state api.SubscriptionState, run string) {
	w.t.Helper()
	if s, err := w.Billing.Subscription(w.t.Context(), w.Merchant.ID, id); err != nil || s.PlanID != plan {
		w.t.Errorf("%s: BillingStack has %+v, %v; want plan %s", when, s, err, plan)
	}
	path := "/v1/merchants/" + w.Merchant.ID + "/subscriptions"
	one := read[api.BilledSubscription](w.t, w.call(w.get(path+"/"+id)))
	listed := read[api.SubscriptionList](w.t, w.call(w.admin("GET", path, ""))).Subscriptions
	for _, got := range append(listed, one) {
		if got.ID != id || got.PlanID != plan || got.State == nil || *got.State != state || got.RunID == nil || *got.RunID != run {
			w.t.Errorf("%s: got %+v, want plan %s, %s by run %s", when, got, plan, state, run)
		}
	}
}

func TestThePlanOfASubscriptionIsChanged(t *testing.T) { onBoth(t, planChanged) }

func planChanged(t *testing.T, database string) {
	w := newWorldOf(t, database)
	made := read[api.Run](t, w.call(w.order("k")))
	id, small, large, huge := idOf(made, "subscription_id"), w.Merchant.Plan, w.newPlan(w.Merchant.ID), w.newPlan(w.Merchant.ID)
	changes := func(q request, plan, previous string) answer {
		t.Helper()
		a := w.call(q)
		run := read[api.Run](t, a)
		if a.status != http.StatusCreated || run.Workflow != "change-plan" || run.UserID == nil || *run.UserID != w.User ||
			len(run.Result) != 4 || idOf(run, "subscription_id") != id || idOf(run, "customer_id") != idOf(made, "customer_id") ||
			idOf(run, "plan_id") != plan || idOf(run, "previous_plan_id") != previous {
			t.Fatalf("got %d %s; want plan %s instead of %s", a.status, a.body, plan, previous)
		}
		if want := "</v1/merchants/" + w.Merchant.ID + "/subscriptions/" + id + `>; rel="related"`; a.header.Get("Link") != want {
			t.Errorf("Link: got %q, want %q", a.header.Get("Link"), want)
		}
		return a
	}
	w.hasPlan("made", id, small, "active", made.ID)
	w.refused(w.changePlan(id, small, "c0"), http.StatusConflict, "plan-unchanged")

	first := changes(w.changePlan(id, large, "c1"), large, small)
	w.hasPlan("changed", id, large, "active", made.ID)
	if again := w.call(w.changePlan(id, large, "c1")); again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeated request: got %d %s, want %s", again.status, again.body, first.body)
	}
	w.refused(w.changePlan(id, huge, "c1"), http.StatusUnprocessableEntity, "idempotency-key-reused")
	w.refused(w.asOperator(w.changePlan(id, large, "c1")), http.StatusUnprocessableEntity, "idempotency-key-reused")
	w.refused(w.asOperator(w.changePlan(id, large, "c2")), http.StatusConflict, "plan-unchanged")

	suspended := read[api.Run](t, w.call(w.asOperator(w.change(id, "suspend", "s"))))
	changes(w.changePlan(id, huge, "c3"), huge, large) // a portal may change the plan although an operator has suspended the subscription
	w.hasPlan("changed while suspended", id, huge, "suspended", suspended.ID)
	w.refused(w.change(id, "resume", "r1"), http.StatusForbidden, "suspended-by-operator")
	tenant := idOf(made, "subscription_tenant_id")
	if p, err := w.Identity.Project(t.Context(), tenant); err != nil || p.Enabled {
		t.Errorf("got the project %+v, %v; want it disabled", p, err)
	}
	last := read[api.Run](t, changes(w.asOperator(w.changePlan(id, small, "c4")), small, huge))
	w.hasPlan("changed back", id, small, "suspended", suspended.ID)
	resumed := read[api.Run](t, w.call(w.asOperator(w.change(id, "resume", "r2"))))
	w.hasPlan("resumed", id, small, "active", resumed.ID)

	events := read[api.EventList](t, w.call(w.get("/v1/runs/"+last.ID+"/events"))).Events
	if events[0].Who == nil || !strings.HasPrefix(*events[0].Who, "olga") || events[0].Why == nil || *events[0].Why != "a test" {
		t.Errorf("the first event has neither the caller nor the reason: %+v", events[0])
	}
	runs := read[api.RunList](t, w.call(w.get("/v1/runs?object=subscription:"+id))).Runs
	if len(runs) != 6 || runs[0].ID != resumed.ID || runs[1].ID != last.ID {
		t.Errorf("got %d runs about the subscription, want 6: %+v", len(runs), runs)
	}

	async := w.changePlan(id, large, "c5")
	async.header.Set("Prefer", "respond-async")
	if a := w.call(async); a.status != http.StatusAccepted {
		t.Errorf("respond-async: got %d %s", a.status, a.body)
	} else {
		w.await(a.header.Get("Location"), api.RunStateSucceeded)
	}
	w.hasPlan("changed asynchronously", id, large, "active", resumed.ID)
}

// A request can change the plan of an ending subscription. The subscription keeps the new plan when it is restored.
func TestThePlanOfAnEndingSubscriptionIsChanged(t *testing.T) {
	w := newWorldOf(t, "")
	id, large := idOf(read[api.Run](t, w.call(w.order("k"))), "subscription_id"), w.newPlan(w.Merchant.ID)
	changes := func(q request) string {
		t.Helper()
		a := w.call(q)
		if a.status != http.StatusCreated {
			t.Fatalf("%s: got %d %s", q.path, a.status, a.body)
		}
		return read[api.Run](t, a).ID
	}
	ended := changes(w.change(id, "unsubscribe", "u"))
	changes(w.changePlan(id, large, "c"))
	w.hasPlan("ending", id, large, "ending", ended)
	w.hasPlan("restored", id, large, "active", changes(w.change(id, "restore", "r")))
}

func TestAPlanThatCannotBeChanged(t *testing.T) {
	w := newWorldOf(t, "")
	id, large := idOf(read[api.Run](t, w.call(w.order("k"))), "subscription_id"), w.newPlan(w.Merchant.ID)
	for name, plan := range map[string]string{
		"unknown": uuid.NewString(), "another merchant's": w.newPlan(w.Other.ID), "no uuid": "large", "empty": "",
	} {
		for _, q := range []request{w.changePlan(id, plan, "k1"), w.asOperator(w.changePlan(id, plan, "k1"))} {
			p := read[api.Problem](t, w.refused(q, http.StatusBadRequest, "invalid-params"))
			if p.InvalidParams == nil || len(*p.InvalidParams) != 1 || text((*p.InvalidParams)[0].Pointer) != "/plan_id" {
				t.Errorf("%s: got %+v, want a fault of /plan_id", name, p.InvalidParams)
			}
		}
	}
	for _, body := range []string{
		`{"why": "a test"}`, fmt.Sprintf(`{"plan_id": %q}`, large), fmt.Sprintf(`{"plan_id": %q, "why": " "}`, large),
		fmt.Sprintf(`{"plan_id": %q, "why": "a test", "customer_id": %q}`, large, w.Merchant.Customer),
	} {
		q := w.changePlan(id, large, "k2")
		q.body = body
		w.refused(q, http.StatusBadRequest, "invalid-params")
	}
	keyless := w.changePlan(id, large, "")
	keyless.header = nil
	w.refused(keyless, http.StatusBadRequest, "idempotency-key-missing")

	other := w.changePlan(id, large, "k3")
	other.portal = w.Other
	w.refused(other, http.StatusNotFound, "merchant-not-found")
	other.path = "/v1/merchants/" + w.Other.ID + "/subscriptions/" + id + "/change-plan"
	w.refused(other, http.StatusNotFound, "subscription-not-found")
	w.refused(w.asOperator(other), http.StatusNotFound, "subscription-not-found")
	w.refused(w.changePlan(uuid.NewString(), large, "k4"), http.StatusNotFound, "subscription-not-found")

	_, err := w.Billing.RemoveSubscription(t.Context(), w.Merchant.ID, id)
	must(t, err)
	if a := w.refused(w.changePlan(id, large, "k5"), http.StatusNotFound, "subscription-not-found"); !strings.Contains(a.body, "BillingStack no longer has") {
		t.Errorf("the problem does not say that the subscription is gone: %s", a.body)
	}
}

func TestAChangeOfThePlanThatFails(t *testing.T) {
	b := &broken{}
	b.open.Store(true)
	w := newWorldOf(t, "", func(o *servicetest.Options) { o.Around = b.around })
	made := read[api.Run](t, w.call(w.order("k")))
	id, small, large := idOf(made, "subscription_id"), w.Merchant.Plan, w.newPlan(w.Merchant.ID)
	b.refuses.Store(true)
	failed := w.call(w.changePlan(id, large, "c1"))
	if p := read[api.Problem](t, failed); failed.status != http.StatusConflict || p.Type != "/problems/run-compensated" || text(p.Step) != "change-plan" {
		t.Fatalf("got %d %s", failed.status, failed.body)
	}
	w.hasPlan("after a failure", id, small, "active", made.ID)
	b.refuses.Store(false)

	retry := w.action(failed.header.Get("Location"), "retry", `{"why": "again"}`)
	removed, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.BillingURL+"/merchants/"+w.Merchant.ID+"/plans/"+large, http.NoBody)
	must(t, err)
	resp, err := http.DefaultClient.Do(removed)
	must(t, err)
	must(t, resp.Body.Close())
	got := w.call(retry)
	if p := read[api.Problem](t, got); p.Type != "/problems/retry-refused" || p.Code != "subscription-orchestration.plan-gone" || *p.FixBy != api.FixByMerchant {
		t.Errorf("a retry although the plan is gone: got %d %s", got.status, got.body)
	}
	_, err = w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{ID: large, Name: "large"})
	must(t, err)
	again := w.call(retry)
	if again.status != http.StatusAccepted {
		t.Fatalf("the retry: got %d %s", again.status, again.body)
	}
	w.await(again.header.Get("Location"), api.RunStateSucceeded)
	w.hasPlan("after the retry", id, large, "active", made.ID)
}

// A compensated run is not retried if a later run has changed the plan, because the retry would overrule the merchant's later decision.
func TestALaterChangeOfThePlanIsNotOverruledByARetry(t *testing.T) {
	b := &broken{}
	b.open.Store(true)
	w := newWorldOf(t, "", func(o *servicetest.Options) { o.Around = b.around })
	made := read[api.Run](t, w.call(w.order("k")))
	id, huge := idOf(made, "subscription_id"), w.newPlan(w.Merchant.ID)
	b.refuses.Store(true)
	failed := w.call(w.changePlan(id, w.newPlan(w.Merchant.ID), "c1"))
	b.refuses.Store(false)
	later := read[api.Run](t, w.call(w.changePlan(id, huge, "c2")))
	got := w.call(w.action(failed.header.Get("Location"), "retry", `{"why": "again"}`))
	if got.status != http.StatusConflict || !strings.Contains(got.body, later.ID) {
		t.Errorf("got %d %s, want a refusal that names run %s", got.status, got.body, later.ID)
	}
	w.hasPlan("after the refused retry", id, huge, "active", made.ID)
}
