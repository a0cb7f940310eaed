package billingtest

import (
	"errors"
	"net/http"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func newClient(t *testing.T, target Target, wrap func(http.RoundTripper) http.RoundTripper) *billing.Client {
	t.Helper()
	c, err := billing.New(billing.Config{URL: target.URL, Connections: target.Connections, Wrap: wrap, UsageTimes: target.UsageTimes})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The type `shop` contains a client, and a merchant that sells a plan with one product.
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
	// The second call adds the same item again. This call must succeed too.
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

// newPlan creates one more plan of the merchant, and returns its id.
func (s shop) newPlan(t *testing.T) string {
	t.Helper()
	made, err := s.CreatePlan(t.Context(), s.merchant.ID, billing.Plan{ID: uuid.NewString(), Name: "Larger"})
	if err != nil {
		t.Fatal(err)
	}
	return made.ID
}

// is(t, got, err, want) fails the test if err is not nil, or if got and want differ in any field.
func is[T any](t *testing.T, got T, err error, want T) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// refusedAs fails the test unless err is a permanent error with MaybeDone false. If match is not nil, err must also wrap match.
func refusedAs(t *testing.T, err, match error) {
	t.Helper()
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok || e.Class != upstream.Permanent || e.MaybeDone || match != nil && !errors.Is(err, match) {
		t.Errorf("got %v (%+v); want a permanent error with MaybeDone false and cause %v", err, e, match)
	}
}

// only(call()) returns the error of a call that has two results, and drops the other result.
func only[T any](_ T, err error) error { return err }
