package stories_test

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/store/storetest"
)

func TestOneCallSubscribesAUserOnRealParts(t *testing.T) {
	s := newSite(t, storetest.PostgreSQL(t), realCloud(t, &upstream{}), &upstream{})
	r := s.serve()
	user, token := s.cloud.newUser(t)
	key := uuid.NewString()

	first, err := s.subscribe(r.url, key, token)
	s.ok(err)
	if first.status != http.StatusCreated {
		t.Fatalf("%d: %s", first.status, first.body)
	}
	var made run
	s.unmarshal(first.body, &made)
	customer := s.whole(made, user)
	scoped := first.header.Get("X-Subject-Token")
	if gotUser, gotProject := s.cloud.validate(t, scoped); gotUser != user || gotProject != customer.ID {
		t.Errorf("the token is of user %s for project %s, want %s and %s", gotUser, gotProject, user, customer.ID)
	}

	// 200 concurrent calls with the same key must return the same run, byte for byte.
	var all sync.WaitGroup
	var failed atomic.Int64
	for range 200 {
		all.Go(func() {
			again, err := s.subscribe(r.url, key, token)
			if err != nil || again.status != first.status || string(again.body) != string(first.body) ||
				again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("X-Subject-Token") != "" {
				if failed.Add(1) == 1 {
					t.Errorf("the repeated order: %v, %d %v\n got %s\nwant %s", err, again.status, again.header, again.body, first.body)
				}
			}
		})
	}
	all.Wait()
	s.whole(made, user)
	for _, path := range []string{"", "/events", "/events?limit=1", "/nonsense"} {
		_, err := s.get(r.url, "/v1/runs/"+made.ID+path)
		s.ok(err)
	}
	s.noSecretIn(token, scoped)
}

// Two hundred portals make the same call at the same time. Each portal repeats its call until the answer is final.
func TestTwoHundredFirstCallsWithOneKeyMakeOneRun(t *testing.T) {
	s := newSite(t, storetest.PostgreSQL(t), realCloud(t, &upstream{}), &upstream{})
	r := s.serve()
	user, token := s.cloud.newUser(t)
	var mu sync.Mutex
	bodies := map[string]int{} // number of 201 answers, by body
	var firsts []answer        // answers without the header Idempotency-Replayed
	p := portal{"one-key", func(url string) (answer, error) {
		a, err := s.subscribe(url, "one-key", token, "Prefer", "wait=30")
		if err != nil {
			return a, err
		}
		mu.Lock()
		defer mu.Unlock()
		if a.status == http.StatusCreated {
			bodies[string(a.body)]++
		}
		switch {
		case a.header.Get("Idempotency-Replayed") == "true":
			if a.header.Get("X-Subject-Token") != "" {
				t.Error("a replayed answer has a token")
			}
		case a.status == http.StatusCreated, a.status == http.StatusAccepted:
			firsts = append(firsts, a)
		}
		return a, nil
	}}
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if end, err := s.insistAt(func() string { return r.url }, p, patience); err != nil || end.Status != http.StatusCreated {
				t.Errorf("%d %s, %v", end.Status, end.Body, err)
			}
		})
	}
	all.Wait()
	if len(bodies) != 1 || len(firsts) > 1 { // the first answer may be lost
		t.Errorf("%d different runs were shown, want 1; %d answers were not replayed, want at most 1", len(bodies), len(firsts))
	}
	for _, first := range firsts {
		if first.status == http.StatusCreated && first.header.Get("X-Subject-Token") == "" {
			t.Error("the first answer has no token")
		}
	}
	for body := range bodies {
		var made run
		s.unmarshal([]byte(body), &made)
		s.whole(made, user)
	}
}

// The method `whole` verifies that a succeeded run has created each of its objects exactly once. The result is the customer tenant.
func (s *site) whole(r run, user string) (customer project) {
	s.t.Helper()
	customers, err := s.billing.Customers(s.t.Context(), s.merchant.ID)
	s.ok(err)
	subscriptions, err := s.billing.Subscriptions(s.t.Context(), s.merchant.ID)
	s.ok(err)
	if len(customers) != 1 || len(subscriptions) != 1 {
		s.t.Fatalf("%d customers and %d subscriptions exist, want one of each", len(customers), len(subscriptions))
	}
	customer = s.cloud.project(s.t, "bs-customer-"+customers[0].ID)
	subscription := s.cloud.project(s.t, "bs-subscription-"+subscriptions[0].ID)
	if subscriptions[0].ResourceID != subscription.ID {
		s.t.Errorf("the subscription's resource is %q, want %q", subscriptions[0].ResourceID, subscription.ID)
	}
	want := map[string]string{
		"plan_id": s.plan.ID, "customer_id": customers[0].ID, "customer_tenant_id": customer.ID,
		"subscription_id": subscriptions[0].ID, "subscription_tenant_id": subscription.ID,
	}
	if fmt.Sprint(r.Result) != fmt.Sprint(want) {
		s.t.Errorf("the run's result is %v, want %v", r.Result, want)
	}
	for _, p := range []project{customer, subscription} {
		tags := []string{"tenantry", "tenantry-installation-" + s.installation(), "tenantry-merchant-" + s.merchant.ID, "tenantry-run-" + r.ID}
		slices.Sort(p.Tags)
		if !slices.Equal(p.Tags, tags) || !p.Enabled {
			s.t.Errorf("project %s has tags %v, enabled %t; want %v", p.Name, p.Tags, p.Enabled, tags)
		}
	}
	if got := s.cloud.roles(s.t, customer.ID, user); !slices.Equal(got, []string{"bs-admin", "member"}) {
		s.t.Errorf("roles on the customer tenant: %v", got)
	}
	if got := s.cloud.roles(s.t, subscription.ID, user); !slices.Equal(got, []string{"member"}) {
		s.t.Errorf("roles on the subscription tenant: %v", got)
	}
	return customer
}
