package main_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	v3 "github.com/tenantry/tenantry/keystone/v3"
	"github.com/tenantry/tenantry/store/storetest"
)

// BenchmarkSubscribe makes one subscribe at a time, through the HTTP API of the binary on PostgreSQL, with 50 ms put into
// every upstream call; and by turns the same eleven calls one after another, without Tenantry. x/calls is its time as a
// share of theirs: below 1 is faster than the bare calls.
func BenchmarkSubscribe(b *testing.B) {
	slow := func() *upstream { return &upstream{before: func(*http.Request) { time.Sleep(50 * time.Millisecond) }} }
	c := memoryCloud(b, slow())
	s := newSite(b, storetest.PostgreSQL(b), c, slow())
	r := s.serve()
	bare, err := v3.New(v3.Config{
		URL: c.url, MayWriteDomain: func(string) bool { return true },
		Credential: v3.Credential{
			Username: "admin", Password: c.password, UserDomainID: "default", ProjectName: "admin", ProjectDomainID: "default",
		},
	})
	s.ok(err)
	roles, err := bare.Roles(b.Context(), []string{"member", "bs-admin"})
	s.ok(err)
	var ours, theirs time.Duration
	subscribe := func() {
		_, token := c.newUser(b)
		began := time.Now()
		a, err := s.subscribe(r.url, uuid.NewString(), token)
		ours += time.Since(began)
		if err != nil || a.status != http.StatusCreated {
			b.Fatalf("%v %d %s", err, a.status, a.body)
		}
	}
	subscribe() // the first looks up roles and domain
	ours = 0
	for b.Loop() {
		subscribe()
		_, token := c.newUser(b)
		theirs += s.oneAfterAnother(bare, roles, token)
	}
	b.ReportMetric(float64(ours.Milliseconds())/float64(b.N), "tenantry-ms")
	b.ReportMetric(float64(theirs.Milliseconds())/float64(b.N), "calls-ms")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "x/calls")
}

// oneAfterAnother makes the calls of one subscribe and tells how long they took.
func (s *site) oneAfterAnother(bare keystone.Identity, roles []keystone.Role, token string) time.Duration {
	ctx, merchant := s.t.Context(), s.merchant.ID
	began := time.Now()
	user, err := bare.ValidateToken(ctx, token)
	s.ok(err)
	_, err = s.billing.Plan(ctx, merchant, s.plan.ID)
	s.ok(err)
	customer, err := s.billing.EnsureCustomer(ctx, billing.Customer{
		ID: uuid.NewString(), MerchantID: merchant, Name: "Jane", Currency: "eur", Language: "eng",
	}, false)
	s.ok(err)
	tenant := func(name string) keystone.Project {
		p, _, err := bare.EnsureProject(ctx, keystone.NewProject{Name: name, DomainID: "default", Mark: "bench"})
		s.ok(err)
		return p
	}
	first := tenant("bs-customer-" + customer.ID)
	for _, role := range roles {
		s.ok(bare.EnsureAssignment(ctx, keystone.Assignment{ProjectID: first.ID, UserID: user.UserID, RoleID: role.ID}))
	}
	_, err = bare.ExchangeToken(ctx, token, first.ID)
	s.ok(err)
	subscription, err := s.billing.EnsureSubscription(ctx, merchant, billing.Subscription{
		ID: uuid.NewString(), PlanID: s.plan.ID, CustomerID: customer.ID, ResourceID: "pending", ResourceType: "tenant",
	}, false)
	s.ok(err)
	second := tenant(fmt.Sprint("bs-subscription-", subscription.ID))
	s.ok(bare.EnsureAssignment(ctx, keystone.Assignment{ProjectID: second.ID, UserID: user.UserID, RoleID: roles[0].ID}))
	_, err = s.billing.SetResource(ctx, merchant, subscription.ID, second.ID)
	s.ok(err)
	return time.Since(began)
}
