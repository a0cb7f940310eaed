package console_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The method `shop` registers a merchant whose customers are in a domain of a cloud.
func (w *world) shop(t *testing.T, cloud, domain string) {
	t.Helper()
	id := uuid.NewString()
	key, _, err := merchants.NewKey(rand.Reader, id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	err = w.Store.Merchants().Create(t.Context(), merchants.Merchant{
		ID: id, Name: "a" + id, Cloud: cloud, Domain: domain, OnFailure: merchants.Compensate, CreatedAt: time.Now(),
	}, key)
	if err != nil {
		t.Fatal(err)
	}
}

// Domains that do not exist, and domains of other clouds, do not keep a user from being found.
func TestAUserIsFoundInOneOfManyDomains(t *testing.T) {
	asked := make(chan string, 1000)
	w := newWorld(t, func(o *servicetest.Options) {
		around := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			next = around(upstream, next)
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.String(), "only-there") {
					asked <- r.URL.String()
				}
				return next.RoundTrip(r)
			})
		}
	})
	for i := range 60 {
		w.shop(t, "another-cloud", fmt.Sprint("only-there-", i))
	}
	for i := range 5 {
		w.shop(t, merchants.DefaultCloud, fmt.Sprint("A-gone-", i))
	}
	w.shop(t, merchants.DefaultCloud, "B")
	w.Keystone.AddUser(keystonetest.User{Name: "zoe", DomainID: w.Keystone.AddDomain("B")})
	run, v := w.order(t, w.Merchant), w.operator(t)
	for range 5 {
		if p := v.get("/console/runs?q=ada"); !strings.Contains(p.text, "/console/runs/"+run) {
			t.Fatalf("the user was not found: %s", between(p.text, "<main", "</main>"))
		}
		if p := v.get("/console/runs?q=zoe"); !strings.Contains(p.text, "No run matches.") {
			t.Fatalf("the user in another domain was not found: %s", between(p.text, "<main", "</main>"))
		}
	}
	if len(asked) > 0 {
		t.Errorf("the default cloud was asked for the domain of another one: %s", <-asked)
	}
	for i := range 10 {
		w.shop(t, merchants.DefaultCloud, fmt.Sprint("A-gone-too-", i))
	}
	if p := v.get("/console/runs?q=nobody"); !strings.Contains(p.text, "in the first 10 domains") {
		t.Error("the page does not say that not all domains are searched")
	}
}

func TestFewSearchesForUsersAtTheSameTime(t *testing.T) {
	asked, release := make(chan struct{}, 100), make(chan struct{})
	w := newWorld(t, func(o *servicetest.Options) {
		around := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			next = around(upstream, next)
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if upstream != service.BillingStack && strings.Contains(r.URL.RawQuery, "nobody") {
					asked <- struct{}{}
					select {
					case <-release:
					case <-time.After(30 * time.Second): // so that the test fails, and does not hang
					}
				}
				return next.RoundTrip(r)
			})
		}
	})
	v := w.operator(t)
	cookie := v.cookie()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			w.raw(http.MethodGet, fmt.Sprint("/console/runs?q=nobody", i), "127.0.0.1:1", nil, "Cookie", cookie)
		})
	}
	for range 4 {
		<-asked
	}
	if p := v.get("/console/runs?q=nobody-else"); !strings.Contains(p.text, "Too many people search") {
		t.Errorf("the fifth: %s", between(p.text, "<main", "</main>"))
	}
	close(release)
	all.Wait()
	if p := v.get("/console/runs?q=nobody-else"); !strings.Contains(p.text, "no user has this name") {
		t.Errorf("then: %s", between(p.text, "<main", "</main>"))
	}
}
