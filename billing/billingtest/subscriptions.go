package billingtest

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

func ensureSubscriptionRepeated(t *testing.T, target Target) {
	s := newShop(t, target)
	want := s.newSubscription(s.customer(t))
	for range 3 {
		got, err := s.EnsureSubscription(t.Context(), s.merchant.ID, want)
		is(t, got, err, want)
	}
	got, err := s.Subscription(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
	all, err := s.Subscriptions(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Subscription{want})
}

func ensureSubscriptionIDTaken(t *testing.T, target Target) {
	s := newShop(t, target)
	first := s.subscription(t, s.customer(t))
	changed := first
	changed.BillingDay = new(2)
	for range 2 {
		_, err := s.EnsureSubscription(t.Context(), s.merchant.ID, changed)
		refusedAs(t, err, billing.ErrConflict)
	}
	got, err := s.Subscription(t.Context(), s.merchant.ID, first.ID)
	is(t, got, err, first)
}

func ensureSubscriptionRefused(t *testing.T, target Target) {
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

func subscriptionOfAnother(t *testing.T, target Target) {
	s, other := newShop(t, target), newShop(t, target)
	want := s.subscription(t, s.customer(t))
	_, err := s.Subscription(t.Context(), other.merchant.ID, want.ID)
	refusedAs(t, err, billing.ErrNotFound)
	if err := only(s.RemoveSubscription(t.Context(), other.merchant.ID, want.ID)); err != nil {
		t.Errorf("removing another merchant's subscription: got error %v; want success without an effect", err)
	}
	all, err := s.Subscriptions(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Subscription{want})
}

func removeSubscriptionRepeated(t *testing.T, target Target) {
	s := newShop(t, target)
	made := s.subscription(t, s.customer(t))
	for range 2 {
		if err := only(s.RemoveSubscription(t.Context(), s.merchant.ID, made.ID)); err != nil {
			t.Error(err)
		}
	}
	all, err := s.Subscriptions(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Subscription{})
}

func setResourceRepeated(t *testing.T, target Target) {
	s := newShop(t, target)
	want := s.subscription(t, s.customer(t))
	want.ResourceID = "4f1c6a3e7d2b4b0c9e8f1a2b3c4d5e6f"
	for range 2 {
		got, err := s.SetResource(t.Context(), s.merchant.ID, want.ID, want.ResourceID)
		is(t, got, err, want)
	}
	got, err := s.Subscription(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
}

func setResourceRefused(t *testing.T, target Target) {
	s := newShop(t, target)
	made := s.subscription(t, s.customer(t))
	_, err := s.SetResource(t.Context(), s.merchant.ID, uuid.NewString(), "project")
	refusedAs(t, err, billing.ErrNotFound)
	_, err = s.SetResource(t.Context(), s.merchant.ID, made.ID, "")
	refusedAs(t, err, billing.ErrInvalid)
}

func setPlanRepeated(t *testing.T, target Target) {
	s := newShop(t, target)
	want := s.subscription(t, s.customer(t))
	want, err := s.SetResource(t.Context(), s.merchant.ID, want.ID, "4f1c6a3e7d2b4b0c9e8f1a2b3c4d5e6f")
	if err != nil {
		t.Fatal(err)
	}
	for _, plan := range []string{s.newPlan(t), s.plan.ID} {
		want.PlanID = plan
		for range 2 { // both calls must keep all other fields
			got, err := s.SetPlan(t.Context(), s.merchant.ID, want.ID, plan)
			is(t, got, err, want)
		}
		got, err := s.Subscription(t.Context(), s.merchant.ID, want.ID)
		is(t, got, err, want)
	}
}

func setPlanRefused(t *testing.T, target Target) {
	s := newShop(t, target)
	made := s.subscription(t, s.customer(t))
	_, err := s.SetPlan(t.Context(), s.merchant.ID, uuid.NewString(), s.plan.ID)
	refusedAs(t, err, billing.ErrNotFound)
	_, err = s.SetPlan(t.Context(), s.merchant.ID, made.ID, uuid.NewString())
	refusedAs(t, err, nil)
	_, err = s.SetPlan(t.Context(), s.merchant.ID, made.ID, "")
	refusedAs(t, err, billing.ErrInvalid)
	got, err := s.Subscription(t.Context(), s.merchant.ID, made.ID)
	is(t, got, err, made)
}

func createUsageRepeated(t *testing.T, target Target) {
	s := newShop(t, target)
	subscription := s.subscription(t, s.customer(t))
	want := billing.Usage{
		ID: uuid.NewString(), SubscriptionID: subscription.ID, ProductID: s.product.ID, Measure: "vcpu",
		Value: new(2.0), Price: new(0.05), Total: new(0.1),
		StartTimestamp: "2026-01-31T12:00:00", EndTimestamp: "2026-01-31T12:30:00.000001",
	}
	got, err := s.CreateUsage(t.Context(), s.merchant.ID, want)
	if target.NoUsage {
		if e, ok := errors.AsType[*upstream.Error](err); !ok || e.Class != upstream.Blocked || !errors.Is(err, billing.ErrUsageBroken) {
			t.Errorf("got %v; want a blocked error with cause %v", err, billing.ErrUsageBroken)
		}
		return
	}
	sent := want
	want.MerchantID = s.merchant.ID
	if !target.UsageTimes {
		want.Measure, want.StartTimestamp, want.EndTimestamp = "vcpu 2026-01-31T12:00:00/2026-01-31T12:30:00.000001", "", ""
	}
	is(t, got, err, want)
	sent.Value = new(3.0) // the stored usage stays as it is
	got, err = s.CreateUsage(t.Context(), s.merchant.ID, sent)
	is(t, got, err, want)
	got, err = s.OneUsage(t.Context(), s.merchant.ID, want.ID)
	is(t, got, err, want)
	all, err := s.Usage(t.Context(), s.merchant.ID)
	is(t, all, err, []billing.Usage{want})
	_, err = s.OneUsage(t.Context(), s.merchant.ID, uuid.NewString())
	refusedAs(t, err, billing.ErrNotFound)
	_, err = s.OneUsage(t.Context(), newShop(t, target).merchant.ID, want.ID)
	refusedAs(t, err, billing.ErrNotFound)
	sent.SubscriptionID = s.subscription(t, s.customer(t)).ID
	_, err = s.CreateUsage(t.Context(), s.merchant.ID, sent)
	refusedAs(t, err, billing.ErrConflict)
	if err := only(s.RemoveSubscription(t.Context(), s.merchant.ID, subscription.ID)); err != nil {
		t.Errorf("removing a subscription that has usage: got error %v; want success", err)
	}
}
