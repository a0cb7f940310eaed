package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

func TestASubscriptionIsSuspendedAndResumed(t *testing.T) { onBoth(t, suspendedAndResumed) }

func suspendedAndResumed(t *testing.T, database string) {
	w := newWorldOf(t, database)
	made := read[api.Run](t, w.call(w.order("k")))
	id, tenant := idOf(made, "subscription_id"), idOf(made, "subscription_tenant_id")
	shows := func(when string, state api.SubscriptionState, byOperator, enabled bool) {
		t.Helper()
		path := "/v1/merchants/" + w.Merchant.ID + "/subscriptions/" + id
		one := read[api.BilledSubscription](t, w.call(w.get(path)))
		listed := read[api.SubscriptionList](t, w.call(w.admin("GET", "/v1/merchants/"+w.Merchant.ID+"/subscriptions", ""))).Subscriptions
		for _, got := range append(listed, one) {
			if got.ID != id || got.State == nil || *got.State != state || got.SuspendedByOperator == nil != !byOperator {
				t.Errorf("%s: got %+v, want %s", when, got, state)
			}
		}
		if p, err := w.Identity.Project(t.Context(), tenant); err != nil || p.Enabled != enabled || len(p.DisabledBy()) == 0 != enabled {
			t.Errorf("%s: got the project %+v, %v; want enabled %t", when, p, err, enabled)
		}
	}
	changes := func(q request) answer {
		t.Helper()
		a := w.call(q)
		if a.status != http.StatusCreated {
			t.Fatalf("%s: got %d %s", q.path, a.status, a.body)
		}
		if want := "<" + q.path[:strings.LastIndex(q.path, "/")] + `>; rel="related"`; a.header.Get("Link") != want {
			t.Errorf("Link: got %q, want %q", a.header.Get("Link"), want)
		}
		return a
	}
	shows("made", "active", false, true)
	w.refused(w.change(id, "resume", "early"), http.StatusConflict, "subscription-active")

	first := changes(w.change(id, "suspend", "s1"))
	shows("suspended by the merchant", "suspended", false, false)
	if again := w.call(w.change(id, "suspend", "s1")); again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the repeated request: got %d %s, want %s", again.status, again.body, first.body)
	}
	w.refused(w.change(id, "suspend", "s2"), http.StatusConflict, "subscription-suspended")
	w.refused(w.change(id, "resume", "s1"), http.StatusUnprocessableEntity, "idempotency-key-reused")
	w.refused(w.asOperator(w.change(id, "suspend", "s1")), http.StatusUnprocessableEntity, "idempotency-key-reused")

	changes(w.asOperator(w.change(id, "suspend", "s3")))
	shows("suspended by an operator", "suspended", true, false)
	w.refused(w.asOperator(w.change(id, "suspend", "s4")), http.StatusConflict, "subscription-suspended")
	w.refused(w.change(id, "resume", "r1"), http.StatusForbidden, "suspended-by-operator")

	resumed := read[api.Run](t, changes(w.asOperator(w.change(id, "resume", "r2"))))
	shows("resumed", "active", false, true)
	if resumed.Workflow != "resume" || idOf(resumed, "state") != "active" || resumed.UserID == nil || *resumed.UserID != w.User {
		t.Errorf("the run: got %+v", resumed)
	}
	events := read[api.EventList](t, w.call(w.get("/v1/runs/"+resumed.ID+"/events"))).Events
	if events[0].Who == nil || !strings.HasPrefix(*events[0].Who, "olga") || events[0].Why == nil || *events[0].Why != "a test" {
		t.Errorf("the first event has neither the caller nor the reason: %+v", events[0])
	}
}

func TestASubscriptionThatCannotBeChanged(t *testing.T) {
	w := newWorldOf(t, "")
	made := read[api.Run](t, w.call(w.order("k")))
	id, tenant := idOf(made, "subscription_id"), idOf(made, "subscription_tenant_id")
	other := w.change(id, "suspend", "k1")
	other.portal = w.Other
	w.refused(other, http.StatusNotFound, "merchant-not-found")
	other.path = "/v1/merchants/" + w.Other.ID + "/subscriptions/" + id + "/suspend"
	w.refused(other, http.StatusNotFound, "subscription-not-found")
	operator := w.asOperator(other)
	w.refused(operator, http.StatusNotFound, "subscription-not-found")
	operator.path = "/v1/merchants/9b351268-22c6-4cf9-922f-7a5db1c1a27b/subscriptions/" + id + "/suspend"
	w.refused(operator, http.StatusNotFound, "merchant-not-found")
	empty := w.change(id, "suspend", "k2")
	empty.body = `{"why": " "}`
	w.refused(empty, http.StatusBadRequest, "invalid-params")
	empty.body = `{}`
	w.refused(empty, http.StatusBadRequest, "invalid-params")
	keyless := w.change(id, "suspend", "k3")
	keyless.header = nil
	w.refused(keyless, http.StatusBadRequest, "idempotency-key-missing")

	w.Keystone.EnableProject(tenant, false)
	w.refused(w.change(id, "suspend", "k4"), http.StatusConflict, "tenant-disabled")
	w.Keystone.EnableProject(tenant, true)
	p, err := w.Identity.Project(t.Context(), tenant)
	must(t, err)
	w.Keystone.TagProject(tenant, slices.DeleteFunc(slices.Clone(p.Tags), func(tag string) bool { return strings.Contains(tag, "installation") })...)
	w.refused(w.change(id, "suspend", "k5"), http.StatusConflict, "tenant-not-ours")
	_, err = w.Identity.RemoveProject(t.Context(), keystone.Project{ID: tenant}, keystone.RunTag(made.ID))
	must(t, err)
	w.refused(w.change(id, "suspend", "k6"), http.StatusConflict, "tenant-gone")
}

// While a run makes a subscription, the subscription can be neither suspended nor resumed, and its plan cannot be changed.
func TestASubscriptionThatIsBeingMadeIsNotSuspended(t *testing.T) {
	release := make(chan struct{})
	w := newWorldOf(t, "", func(o *servicetest.Options) {
		o.Around = func(_ string, next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodPatch { // the last step
					select {
					case <-release:
					case <-r.Context().Done():
					}
				}
				return next.RoundTrip(r)
			})
		}
	})
	q := w.order("k")
	q.header.Set("Prefer", "respond-async")
	run := read[api.Run](t, w.call(q))
	id := idOf(run, "subscription_id")
	waitUntil(t, "the subscription exists", func() bool {
		return strings.Contains(w.call(w.get("/v1/runs/"+run.ID)).body, `"kind":"subscription"`)
	})
	a := w.refused(w.change(id, "suspend", "s"), http.StatusConflict, "subscription-not-ready")
	if !strings.Contains(a.body, run.ID) {
		t.Errorf("the problem does not name the run: %s", a.body)
	}
	w.refused(w.changePlan(id, w.newPlan(w.Merchant.ID), "p"), http.StatusConflict, "subscription-not-ready")
	close(release)
	w.await("/v1/runs/"+run.ID, api.RunStateSucceeded)
	if a := w.call(w.change(id, "suspend", "s")); a.status != http.StatusCreated { // the key of a refused request may be used again
		t.Errorf("got %d %s", a.status, a.body)
	}
}
