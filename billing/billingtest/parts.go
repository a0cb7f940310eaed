package billingtest

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
)

func names(t *testing.T, target Target) {
	c := newClient(t, target, nil)
	currency, err := c.Currency(t.Context(), "nok")
	if err != nil || currency.Name != "nok" {
		t.Errorf("currency nok: got %+v, %v", currency, err)
	}
	language, err := c.Language(t.Context(), "nor")
	if err != nil || language.Name != "nor" {
		t.Errorf("language nor: got %+v, %v", language, err)
	}
	_, err = c.Currency(t.Context(), "zzz")
	refusedAs(t, err, billing.ErrNotFound)
	_, err = c.Language(t.Context(), "zzz")
	refusedAs(t, err, billing.ErrNotFound)
	_, err = c.Currency(t.Context(), "../merchants")
	refusedAs(t, err, billing.ErrInvalid)
}

func plans(t *testing.T, target Target) {
	s, other := newShop(t, target), newShop(t, target)
	merchant, err := s.Merchant(t.Context(), s.merchant.ID)
	is(t, merchant, err, s.merchant)
	again, err := s.CreateMerchant(t.Context(), s.merchant)
	is(t, again, err, s.merchant)
	all, err := s.Plans(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Plan{s.plan})
	plan, err := s.Plan(t.Context(), s.merchant.ID, s.plan.ID)
	is(t, plan, err, s.plan)
	_, err = s.Plan(t.Context(), other.merchant.ID, s.plan.ID)
	refusedAs(t, err, billing.ErrNotFound)
	_, err = s.Merchant(t.Context(), uuid.NewString())
	refusedAs(t, err, billing.ErrNotFound)
	none, err := s.Plans(t.Context(), uuid.NewString())
	is(t, none, err, []billing.Plan{})
	for _, id := range []string{"", "x", "../../currencies", s.plan.ID + "/", "9B351268-22C6-4CF9-922F-7A5DB1C1A27B"} {
		_, err = s.Plan(t.Context(), s.merchant.ID, id)
		refusedAs(t, err, billing.ErrInvalid)
		_, err = s.Plans(t.Context(), id)
		refusedAs(t, err, billing.ErrInvalid)
	}
}

func properties(t *testing.T, target Target) {
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

func customerOnce(t *testing.T, target Target) {
	s := newShop(t, target)
	want := s.newCustomer()
	for range 3 { // made, and there already
		got, err := s.EnsureCustomer(t.Context(), want)
		is(t, got, err, want)
	}
	got, err := s.Customer(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
	other := want
	other.Name = "Customer Y"
	for range 2 {
		_, err = s.EnsureCustomer(t.Context(), other)
		refusedAs(t, err, billing.ErrConflict)
	}
	all, err := s.Customers(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Customer{want})

	bare := billing.Customer{ID: uuid.NewString(), MerchantID: s.merchant.ID, Name: "No currency"}
	for range 2 {
		got, err = s.EnsureCustomer(t.Context(), bare)
		is(t, got, err, bare)
	}
}

func customerRefused(t *testing.T, target Target) {
	s := newShop(t, target)
	for name, change := range map[string]func(*billing.Customer){
		"unknown merchant": func(c *billing.Customer) { c.MerchantID = uuid.NewString() },
		"unknown currency": func(c *billing.Customer) { c.Currency = "zzz" },
		"unknown language": func(c *billing.Customer) { c.Language = "zzz" },
		"no id":            func(c *billing.Customer) { c.ID = "" },
		"malformed id":     func(c *billing.Customer) { c.ID = "7" },
	} {
		t.Run(name, func(t *testing.T) {
			customer := s.newCustomer()
			change(&customer)
			_, err := s.EnsureCustomer(t.Context(), customer)
			refusedAs(t, err, nil)
		})
	}
	all, err := s.Customers(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Customer{})
}

func customersOfMerchants(t *testing.T, target Target) {
	s, other := newShop(t, target), newShop(t, target)
	customer := s.customer(t)
	_, err := s.Customer(t.Context(), other.merchant.ID, customer.ID)
	refusedAs(t, err, billing.ErrNotFound)
	all, err := s.Customers(t.Context(), other.merchant.ID)
	is(t, all, err, []billing.Customer{})
	stolen := customer
	stolen.MerchantID = other.merchant.ID
	_, err = s.EnsureCustomer(t.Context(), stolen)
	if err == nil {
		t.Error("another merchant's customer was taken for one's own")
	}
	if err := only(s.RemoveCustomer(t.Context(), other.merchant.ID, customer.ID, nil)); err != nil {
		t.Errorf("removing another merchant's customer: %v; want nothing to happen", err)
	}
	got, err := s.Customer(t.Context(), s.merchant.ID, customer.ID)
	is(t, got, err, customer)
}

func subscriptionOnce(t *testing.T, target Target) {
	s, other := newShop(t, target), newShop(t, target)
	customer := s.customer(t)
	want := s.newSubscription(customer)
	for range 3 {
		got, err := s.EnsureSubscription(t.Context(), s.merchant.ID, want)
		is(t, got, err, want)
	}
	changed := want
	changed.BillingDay = new(2)
	for range 2 {
		_, err := s.EnsureSubscription(t.Context(), s.merchant.ID, changed)
		refusedAs(t, err, billing.ErrConflict)
	}
	got, err := s.Subscription(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
	_, err = s.Subscription(t.Context(), other.merchant.ID, want.ID)
	refusedAs(t, err, billing.ErrNotFound)
	if err := only(s.RemoveSubscription(t.Context(), other.merchant.ID, want.ID)); err != nil {
		t.Error(err)
	}
	all, err := s.Subscriptions(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Subscription{want})
	for range 2 {
		if err := only(s.RemoveSubscription(t.Context(), s.merchant.ID, want.ID)); err != nil {
			t.Error(err)
		}
	}
	all, err = s.Subscriptions(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Subscription{})
}

func subscriptionRefused(t *testing.T, target Target) {
	s := newShop(t, target)
	customer := s.customer(t)
	for name, change := range map[string]func(*billing.Subscription){
		"unknown plan":     func(s *billing.Subscription) { s.PlanID = uuid.NewString() },
		"unknown customer": func(s *billing.Subscription) { s.CustomerID = uuid.NewString() },
		"malformed plan":   func(s *billing.Subscription) { s.PlanID = "7" },
		"malformed method": func(s *billing.Subscription) { s.PaymentMethodID = new("7") },
	} {
		t.Run(name, func(t *testing.T) {
			subscription := s.newSubscription(customer)
			change(&subscription)
			_, err := s.EnsureSubscription(t.Context(), s.merchant.ID, subscription)
			refusedAs(t, err, nil)
		})
	}
	all, err := s.Subscriptions(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Subscription{})
}

func resource(t *testing.T, target Target) {
	s := newShop(t, target)
	want := s.subscription(t, s.customer(t))
	want.ResourceID = "4f1c6a3e7d2b4b0c9e8f1a2b3c4d5e6f"
	for range 2 {
		got, err := s.SetResource(t.Context(), s.merchant.ID, want.ID, want.ResourceID)
		is(t, got, err, want)
	}
	got, err := s.Subscription(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
	_, err = s.SetResource(t.Context(), s.merchant.ID, uuid.NewString(), want.ResourceID)
	refusedAs(t, err, billing.ErrNotFound)
	_, err = s.SetResource(t.Context(), s.merchant.ID, want.ID, "")
	refusedAs(t, err, billing.ErrInvalid)
}

func removal(t *testing.T, target Target) {
	s := newShop(t, target)
	customer, neighbour := s.customer(t), s.customer(t)
	own, kept := s.subscription(t, customer), s.subscription(t, neighbour)
	for range 2 {
		err := only(s.RemoveCustomer(t.Context(), s.merchant.ID, customer.ID, func(one billing.Subscription) bool { return one.ID == own.ID }))
		if err != nil {
			t.Error(err)
		}
	}
	customers, err := s.Customers(t.Context(), s.merchant.ID)
	is(t, customers, err, []billing.Customer{neighbour})
	subscriptions, err := s.Subscriptions(t.Context(), s.merchant.ID)
	is(t, subscriptions, err, []billing.Subscription{kept})
}

func foreign(t *testing.T, target Target) {
	s := newShop(t, target)
	customer := s.customer(t)
	own, other := s.subscription(t, customer), s.subscription(t, customer)
	err := only(s.RemoveCustomer(t.Context(), s.merchant.ID, customer.ID, func(one billing.Subscription) bool { return one.ID == own.ID }))
	refusedAs(t, err, nil)
	f, ok := errors.AsType[*billing.ForeignSubscriptionsError](err)
	if !ok || f.CustomerID != customer.ID || !slices.Equal(f.SubscriptionIDs, []string{other.ID}) {
		t.Errorf("got %v; want a foreign subscription %s of %s", err, other.ID, customer.ID)
	}
	all, err := s.SubscriptionsOf(t.Context(), s.merchant.ID, customer.ID)
	is(t, all, err, []billing.Subscription{own, other})
}

func texts(t *testing.T, target Target) {
	s := newShop(t, target)
	for _, name := range []string{"Ærlig & Sønn <as>", `quote " and \ and '`, "日本 🎉", "a%b_c", "tab\tand\nline"} {
		want := s.newCustomer()
		want.Name = name
		if _, err := s.EnsureCustomer(t.Context(), want); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		got, err := s.Customer(t.Context(), s.merchant.ID, want.ID)
		is(t, got, err, want)
	}
}

func usage(t *testing.T, target Target) {
	s := newShop(t, target)
	subscription := s.subscription(t, s.customer(t))
	want := billing.Usage{
		ID: uuid.NewString(), SubscriptionID: subscription.ID, ProductID: s.product.ID, Measure: "vcpu",
		Value: new(2.0), Price: new(0.05), Total: new(0.1),
	}
	got, err := s.CreateUsage(t.Context(), s.merchant.ID, want)
	if target.NoUsage {
		if err == nil {
			t.Errorf("got %+v; v1 has no columns for it", got)
		}
		return
	}
	want.MerchantID = s.merchant.ID
	is(t, got, err, want)
	got, err = s.CreateUsage(t.Context(), s.merchant.ID, want)
	is(t, got, err, want)
	all, err := s.Usage(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Usage{want})
	if err := only(s.RemoveSubscription(t.Context(), s.merchant.ID, subscription.ID)); err != nil {
		t.Errorf("removing a subscription with usage: %v", err)
	}
}

// only drops what a removal found: the case is about its error.
func only[T any](_ T, err error) error { return err }
