package billingtest

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Target is a BillingStack to try.
type Target struct {
	URL         string // with the version
	Connections int
	NoUsage     bool // v1 cannot record usage
}

// Conformance runs everything that Tenantry needs of a BillingStack through the client. It makes merchants of its own and
// leaves them there.
func Conformance(t *testing.T, target Target) {
	c := newClient(t, target, nil)
	for _, err := range []error{
		c.Ping(t.Context()),
		c.CreateCurrency(t.Context(), "nok"), c.CreateCurrency(t.Context(), "nok"), c.CreateLanguage(t.Context(), "nor"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []struct {
		name string
		run  func(*testing.T, Target)
	}{
		{"currencies and languages", names},
		{"merchants and plans", plans},
		{"properties of a plan", properties},
		{"a customer is made once", customerOnce},
		{"a customer that is refused", customerRefused},
		{"customers belong to a merchant", customersOfMerchants},
		{"a subscription is made once", subscriptionOnce},
		{"a subscription that is refused", subscriptionRefused},
		{"the resource is set", resource},
		{"a customer is removed with its own subscriptions", removal},
		{"a foreign subscription is kept", foreign},
		{"an answer is lost after the effect", lostAnswers},
		{"texts", texts},
		{"usage", usage},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, target) })
	}
}

func newClient(t *testing.T, target Target, wrap func(http.RoundTripper) http.RoundTripper) *billing.Client {
	t.Helper()
	c, err := billing.New(billing.Config{URL: target.URL, Connections: target.Connections, Wrap: wrap})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shop is a merchant with a plan of one product.
type shop struct {
	*billing.Client
	merchant billing.Merchant
	product  billing.Product
	plan     billing.Plan
}

func newShop(t *testing.T, target Target) shop {
	t.Helper()
	s := shop{
		Client:   newClient(t, target, nil),
		merchant: billing.Merchant{ID: uuid.NewString(), Name: "Shop", Currency: "nok", Language: "nor"},
		product:  billing.Product{ID: uuid.NewString(), Name: "vcpus", Title: "vCPU", Description: "Number of VCPUs"},
		plan:     billing.Plan{ID: uuid.NewString(), Name: "Compute", Properties: map[string]any{"random": 1.0}},
	}
	_, err1 := s.CreateMerchant(t.Context(), s.merchant)
	_, err2 := s.CreateProduct(t.Context(), s.merchant.ID, s.product)
	_, err3 := s.CreatePlan(t.Context(), s.merchant.ID, s.plan)
	// Twice: what is in the plan already is success.
	err4 := s.AddPlanItem(t.Context(), s.merchant.ID, s.plan.ID, s.product.ID)
	err5 := s.AddPlanItem(t.Context(), s.merchant.ID, s.plan.ID, s.product.ID)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	s.plan.Items = []billing.PlanItem{{
		PlanID: s.plan.ID, ProductID: s.product.ID, Name: "vcpus", Title: "vCPU", Description: "Number of VCPUs", Pricing: []any{},
	}}
	return s
}

func (s shop) newCustomer() billing.Customer {
	return billing.Customer{ID: uuid.NewString(), MerchantID: s.merchant.ID, Name: "Customer X", Currency: "nok", Language: "nor"}
}

func (s shop) customer(t *testing.T) billing.Customer {
	t.Helper()
	made, err := s.EnsureCustomer(t.Context(), s.newCustomer())
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func (s shop) newSubscription(customer billing.Customer) billing.Subscription {
	return billing.Subscription{
		ID: uuid.NewString(), PlanID: s.plan.ID, CustomerID: customer.ID, ResourceID: "pending:1", ResourceType: "tenant",
		BillingDay: new(1),
	}
}

func (s shop) subscription(t *testing.T, customer billing.Customer) billing.Subscription {
	t.Helper()
	made, err := s.EnsureSubscription(t.Context(), s.merchant.ID, s.newSubscription(customer))
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// is compares whole values.
func is[T any](t *testing.T, got T, err error, want T) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// refusedAs wants an error that matches and says that nothing was done for good.
func refusedAs(t *testing.T, err, match error) {
	t.Helper()
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Class != upstream.Permanent || e.MaybeDone || match != nil && !errors.Is(err, match) {
		t.Errorf("got %v (%+v); want a permanent refusal of nothing done that matches %v", err, e, match)
	}
}

// losing cuts the next answer to a request with that method, after the server has given it.
type losing struct {
	http.RoundTripper
	method atomic.Pointer[string]
}

// RoundTrip passes on, and cuts when it is its turn.
func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if m := l.method.Load(); err == nil && m != nil && *m == r.Method && l.method.CompareAndSwap(m, nil) {
		_ = resp.Body.Close()
		return nil, errors.New("connection reset by test")
	}
	return resp, err
}

func lostAnswers(t *testing.T, target Target) {
	s := newShop(t, target)
	var cut *losing
	s.Client = newClient(t, target, func(rt http.RoundTripper) http.RoundTripper {
		cut = &losing{RoundTripper: rt}
		return cut
	})
	// lost wants a first call that does not know, and a second that finds what the first did.
	lost := func(method string, call func() error) {
		t.Helper()
		cut.method.Store(&method)
		e, ok := errors.AsType[*upstream.Error](call())
		if !ok || e.Class != upstream.Transient || !e.MaybeDone {
			t.Errorf("%s: got %v; want an unknown outcome that may be done", method, e)
		}
		if err := call(); err != nil {
			t.Errorf("%s again: %v", method, err)
		}
	}
	update := http.MethodPatch
	if strings.HasSuffix(target.URL, "/v1") {
		update = http.MethodPut
	}
	ctx, merchant := t.Context(), s.merchant.ID
	customer := s.newCustomer()
	subscription := s.newSubscription(customer)
	lost(http.MethodPost, func() error {
		_, err := s.EnsureCustomer(ctx, customer)
		return err
	})
	lost(http.MethodPost, func() error {
		_, err := s.EnsureSubscription(ctx, merchant, subscription)
		return err
	})
	lost(update, func() error {
		_, err := s.SetResource(ctx, merchant, subscription.ID, "project")
		return err
	})
	got, err := s.Subscriptions(ctx, merchant)
	subscription.ResourceID = "project"
	is(t, got, err, []billing.Subscription{subscription})
	lost(http.MethodDelete, func() error { return only(s.RemoveSubscription(ctx, merchant, subscription.ID)) })
	lost(http.MethodDelete, func() error { return only(s.RemoveCustomer(ctx, merchant, customer.ID, nil)) })
	customers, err := s.Customers(ctx, merchant)
	is(t, customers, err, []billing.Customer{})
}
