package api_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
)

// TestOneCallSubscribesAUser runs the real workflow `subscribe`. Other tests run the short workflow standIn.
func TestOneCallSubscribesAUser(t *testing.T) { onBoth(t, oneCallSubscribesAUser) }

func oneCallSubscribesAUser(t *testing.T, database string) {
	w := newWorldOf(t, database)
	first := w.call(w.order("k"))
	run := read[api.Run](t, first)
	if first.status != http.StatusCreated {
		t.Fatalf("got %d %s", first.status, first.body)
	}
	for _, tenant := range []struct{ id, name string }{
		{idOf(run, "customer_tenant_id"), "bs-customer-" + idOf(run, "customer_id")},
		{idOf(run, "subscription_tenant_id"), "bs-subscription-" + idOf(run, "subscription_id")},
	} {
		made := func(p keystone.Project) bool { return p.ID == tenant.id && p.Name == tenant.name }
		if !slices.ContainsFunc(w.Keystone.Projects(), made) {
			t.Errorf("there is no tenant %+v", tenant)
		}
	}
	path := "/v1/merchants/" + w.Merchant.ID + "/subscriptions/" + idOf(run, "subscription_id")
	if got, want := first.header.Get("Link"), "<"+path+`>; rel="related"`; got != want {
		t.Errorf("Link: got %q, want %q", got, want)
	}
	if got := read[api.BilledSubscription](t, w.call(w.get(path))); got.ResourceID != idOf(run, "subscription_tenant_id") {
		t.Errorf("the subscription's resource: got %q, want the tenant %q", got.ResourceID, idOf(run, "subscription_tenant_id"))
	}
	token, err := w.Identity.ValidateToken(t.Context(), first.header.Get("X-Subject-Token"))
	if err != nil || token.UserID != w.User || token.ProjectID != idOf(run, "customer_tenant_id") {
		t.Errorf("the scoped token: got %+v, %v", token, err)
	}
	second := w.call(w.order("k"))
	if second.body != first.body || second.status != first.status || second.header.Get("Link") != first.header.Get("Link") || second.header.Get("X-Subject-Token") != "" {
		t.Errorf("the repeated order: got %d\n%s\nwant\n%s", second.status, second.body, first.body)
	}
}

// idOf returns an id from a run's result, or an empty string if the result does not contain the id.
func idOf(run api.Run, name string) string {
	id, _ := run.Result[name].(string)
	return id
}
