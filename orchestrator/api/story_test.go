package api_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/workflows"
)

// TestOneCallSubscribesAUser runs the workflow that is served.
func TestOneCallSubscribesAUser(t *testing.T) { onBoth(t, oneCallSubscribesAUser) }

func oneCallSubscribesAUser(t *testing.T, database string) {
	w := startUpstreams(t, database)
	handover := &workflows.Handover{}
	definitions, err := workflows.All(workflows.Deps{
		Identity: func(string) (keystone.Identity, error) { return w.cloud, nil },
		Billing:  w.billing, Handover: handover, Now: time.Now,
	})
	must(t, err)
	w.serve(definitions, func(o *api.Options) {
		o.ScopedTokens = handover
		o.NewRun = func(s api.Subscription) saga.Request {
			q := workflows.Order{
				MerchantID: s.Merchant.ID, Cloud: s.Merchant.Cloud, DomainID: s.DomainID, UserID: s.UserID, PlanID: s.PlanID,
				NewCustomer:   &workflows.NewCustomer{Name: s.Customer.Name, Currency: s.Customer.Currency, Language: s.Customer.Language},
				CustomerRoles: s.CustomerRoles, SubscriptionRoles: s.SubscriptionRoles, CheckedAt: s.CheckedAt,
			}.Request(s.RunID)
			q.Key, q.Fingerprint, q.Who, q.OnFailure = s.Key, s.Fingerprint, s.Who, s.OnFailure
			q.Token, q.TokenExpiresAt = s.Token.Reveal(), s.TokenExpiresAt
			return q
		}
	})

	first := w.call(w.order("k"))
	run := read[api.Run](t, first)
	if first.status != http.StatusCreated {
		t.Fatalf("got %d %s", first.status, first.body)
	}
	r := run.Result
	for _, tenant := range []struct{ id, name string }{
		{text(r.CustomerTenantID), "bs-customer-" + text(r.CustomerID)},
		{text(r.SubscriptionTenantID), "bs-subscription-" + text(r.SubscriptionID)},
	} {
		made := func(p keystone.Project) bool { return p.ID == tenant.id && p.Name == tenant.name }
		if !slices.ContainsFunc(w.keystone.Projects(), made) {
			t.Errorf("there is no tenant %+v", tenant)
		}
	}
	path := "/v1/merchants/" + w.merchant.id + "/subscriptions/" + text(r.SubscriptionID)
	if got := read[api.BilledSubscription](t, w.call(w.get(path))); got.ResourceID != text(r.SubscriptionTenantID) {
		t.Errorf("the subscription's resource: got %q, want the tenant %q", got.ResourceID, text(r.SubscriptionTenantID))
	}
	token, err := w.cloud.ValidateToken(t.Context(), first.header.Get("X-Subject-Token"))
	if err != nil || token.UserID != w.user || token.ProjectID != text(r.CustomerTenantID) {
		t.Errorf("the scoped token: got %+v, %v", token, err)
	}
	second := w.call(w.order("k"))
	if second.body != first.body || second.status != first.status || second.header.Get("X-Subject-Token") != "" {
		t.Errorf("the repeated order: got %d\n%s\nwant\n%s", second.status, second.body, first.body)
	}
}
