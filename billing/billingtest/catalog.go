package billingtest

import (
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
)

func currency(t *testing.T, target Target) {
	c := newClient(t, target, nil)
	known, err := c.Currency(t.Context(), "nok")
	if err != nil || known.Name != "nok" {
		t.Errorf("currency nok: got %+v, %v", known, err)
	}
	_, err = c.Currency(t.Context(), "zzz")
	refusedAs(t, err, billing.ErrNotFound)
	_, err = c.Currency(t.Context(), "../merchants")
	refusedAs(t, err, billing.ErrInvalid)
}

func language(t *testing.T, target Target) {
	c := newClient(t, target, nil)
	known, err := c.Language(t.Context(), "nor")
	if err != nil || known.Name != "nor" {
		t.Errorf("language nor: got %+v, %v", known, err)
	}
	_, err = c.Language(t.Context(), "zzz")
	refusedAs(t, err, billing.ErrNotFound)
}

func createMerchantRepeated(t *testing.T, target Target) {
	s := newShop(t, target)
	again, err := s.CreateMerchant(t.Context(), s.merchant)
	is(t, again, err, s.merchant)
}

func merchant(t *testing.T, target Target) {
	s := newShop(t, target)
	known, err := s.Merchant(t.Context(), s.merchant.ID)
	is(t, known, err, s.merchant)
	_, err = s.Merchant(t.Context(), uuid.NewString())
	refusedAs(t, err, billing.ErrNotFound)
}

func plan(t *testing.T, target Target) {
	s, other := newShop(t, target), newShop(t, target)
	known, err := s.Plan(t.Context(), s.merchant.ID, s.plan.ID)
	is(t, known, err, s.plan)
	_, err = s.Plan(t.Context(), other.merchant.ID, s.plan.ID)
	refusedAs(t, err, billing.ErrNotFound)
}

func plans(t *testing.T, target Target) {
	s := newShop(t, target)
	newShop(t, target) // creates another merchant with a plan; the lists must not contain this plan
	all, err := s.PlanPage(t.Context(), s.merchant.ID, billing.Page{Limit: 10})
	is(t, all, err, []billing.Plan{s.plan})
	none, err := s.PlanPage(t.Context(), uuid.NewString(), billing.Page{Limit: 10})
	is(t, none, err, nil)
	var offers []billing.Plan
	err = s.EachOffer(t.Context(), s.merchant.ID, func(p billing.Plan) { offers = append(offers, p) })
	is(t, offers, err, []billing.Plan{{ID: s.plan.ID, Items: []billing.PlanItem{{ProductID: s.product.ID, Name: "vcpus", Pricing: []any{}}}}})
	var priced []billing.Product
	err = s.EachPricing(t.Context(), s.merchant.ID, func(p billing.Product) { priced = append(priced, p) })
	is(t, priced, err, []billing.Product{{ID: s.product.ID, Name: "vcpus", Pricing: []any{}}})
}

func plansMalformedID(t *testing.T, target Target) {
	s := newShop(t, target)
	for _, id := range []string{"", "x", "../../currencies", s.plan.ID + "/", "9B351268-22C6-4CF9-922F-7A5DB1C1A27B"} {
		_, err := s.Plan(t.Context(), s.merchant.ID, id)
		refusedAs(t, err, billing.ErrInvalid)
		_, err = s.PlanPage(t.Context(), id, billing.Page{Limit: 10})
		refusedAs(t, err, billing.ErrInvalid)
		refusedAs(t, s.EachOffer(t.Context(), id, func(billing.Plan) {}), billing.ErrInvalid)
		refusedAs(t, s.EachPricing(t.Context(), id, func(billing.Product) {}), billing.ErrInvalid)
	}
}

func createPlanWithProperties(t *testing.T, target Target) {
	s := newShop(t, target)
	want := billing.Plan{
		ID: uuid.NewString(), Name: "Quotas", Title: "With quotas", Description: "æøå",
		Properties: map[string]any{"quota": `{"cores": 8}`, "number": 2.5, "yes": true}, Items: []billing.PlanItem{},
	}
	if _, err := s.CreatePlan(t.Context(), s.merchant.ID, want); err != nil {
		t.Fatal(err)
	}
	got, err := s.Plan(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
}
