package billingtest

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
)

func ensureCustomerRepeated(t *testing.T, target Target) {
	s := newShop(t, target)
	want := s.newCustomer()
	for range 3 { // the first call creates the customer; the other calls find it
		got, err := s.EnsureCustomer(t.Context(), want)
		is(t, got, err, want)
	}
	got, err := s.Customer(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
	all, err := s.Customers(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Customer{want})
}

func ensureCustomerIDTaken(t *testing.T, target Target) {
	s := newShop(t, target)
	first := s.customer(t)
	other := first
	other.Name = "Customer Y"
	for range 2 {
		_, err := s.EnsureCustomer(t.Context(), other)
		refusedAs(t, err, billing.ErrConflict)
	}
	all, err := s.Customers(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Customer{first})
}

func ensureCustomerBare(t *testing.T, target Target) {
	s := newShop(t, target)
	bare := billing.Customer{ID: uuid.NewString(), MerchantID: s.merchant.ID, Name: "No currency"}
	for range 2 {
		got, err := s.EnsureCustomer(t.Context(), bare)
		is(t, got, err, bare)
	}
}

func ensureCustomerRefused(t *testing.T, target Target) {
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

func ensureCustomerNames(t *testing.T, target Target) {
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

func customersOfAnother(t *testing.T, target Target) {
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
		t.Error("EnsureCustomer succeeded with the id of another merchant's customer")
	}
	if err := only(s.RemoveCustomer(t.Context(), other.merchant.ID, customer.ID, nil)); err != nil {
		t.Errorf("removing another merchant's customer: got error %v; want success without an effect", err)
	}
	got, err := s.Customer(t.Context(), s.merchant.ID, customer.ID)
	is(t, got, err, customer)
}

func removeCustomer(t *testing.T, target Target) {
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

func removeCustomerForeign(t *testing.T, target Target) {
	s := newShop(t, target)
	customer := s.customer(t)
	own, other := s.subscription(t, customer), s.subscription(t, customer)
	err := only(s.RemoveCustomer(t.Context(), s.merchant.ID, customer.ID, func(one billing.Subscription) bool { return one.ID == own.ID }))
	refusedAs(t, err, nil)
	f, ok := errors.AsType[*billing.ForeignSubscriptionsError](err)
	if !ok || f.CustomerID != customer.ID || !slices.Equal(f.SubscriptionIDs, []string{other.ID}) {
		t.Errorf("got %v; want a ForeignSubscriptionsError with subscription %s of customer %s", err, other.ID, customer.ID)
	}
	all, err := s.SubscriptionsOf(t.Context(), s.merchant.ID, customer.ID)
	is(t, all, err, []billing.Subscription{own, other})
}

func paymentMethods(t *testing.T, target Target) {
	s := newShop(t, target)
	for _, customer := range []string{s.customer(t).ID, uuid.NewString()} {
		all, err := s.PaymentMethods(t.Context(), s.merchant.ID, customer)
		is(t, all, err, []billing.PaymentMethod{})
	}
	if _, err := s.PaymentMethods(t.Context(), s.merchant.ID, "7"); err == nil {
		t.Error("a malformed id is not refused")
	}
}
