package audit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// A finding about usage says how severe it is, which objects it is about, and how much was used when.
func TestFindingsAboutUsage(t *testing.T) {
	const two, one = "2025-12-31T22:00:00Z", "2025-12-31T23:00:00Z"
	subscription, project, meter := object(kindSubscription, "m1-c0-s0", ""), object(kindProject, "p-m1-c0-s0", "bs-subscription-m1-c0-s0"), object(kindMeter, "cpu", "")
	tenant := Unmatched{ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}
	for _, c := range []struct {
		reason   UsageReason
		of       Unmatched
		amount   string
		severity Severity
		objects  []Object
		customer string
		detail   string
	}{
		{
			UsageNoSubscription, tenant, "3", High,
			[]Object{subscription, project, meter},
			"m1-c0",
			"the tenant was used when it had no subscription (no-subscription): 3 ns of meter cpu (cumulative), first hour " + two + ", last hour " + one,
		},
		{
			UsageNoSubscription,
			Unmatched{ProjectID: "p-m1-c0"},
			"3", Info,
			[]Object{object(kindProject, "p-m1-c0", "bs-customer-m1-c0")},
			"m1-c0",
			"a customer's tenant was used, and such a tenant has no subscription (no-subscription): meters cpu, first hour " + two + ", last hour " + one,
		},
		{
			UsageNotLive, tenant, "12.5", High,
			[]Object{subscription, project, meter},
			"m1-c0",
			"the tenant was used after the end of the subscription (subscription-over): 12.5 ns of meter cpu (cumulative), first hour " + two + ", last hour " + one,
		},
		{
			UsageNoPlan, tenant, "3", High,
			[]Object{subscription, project, meter},
			"m1-c0",
			"the usage cannot be billed, because BillingStack does not have the plan of the subscription (plan-gone): 3 ns of meter cpu (cumulative), first hour " +
				two + ", last hour " + one,
		},
		{
			UsageNoProduct,
			Unmatched{},
			"", Low,
			[]Object{meter},
			"",
			"the usage is not billed, because no product of the merchant has this meter (no-product): meter cpu (cumulative, ns), first hour " + two + ", last hour " + one,
		},
		{
			UsageAmbiguous,
			Unmatched{},
			"", High,
			[]Object{meter},
			"",
			"the usage cannot be billed, because a plan of the merchant has several products with the product name of this meter (product-ambiguous): meter cpu (cumulative, ns), first hour " +
				two + ", last hour " + one,
		},
		{
			UsageOtherUnit,
			Unmatched{},
			"", High,
			[]Object{meter},
			"",
			"the usage is not billed, because the meter is billed in another unit (other-unit): meter cpu (cumulative, ns), first hour " + two + ", last hour " + one,
		},
		{
			UsageSeveralUnits,
			Unmatched{},
			"", High,
			[]Object{meter},
			"",
			"the usage is not billed, because the meter has several units in the hour, and the file of meters does not state which unit is billed (several-units): " +
				"meter cpu (cumulative, ns), first hour " + two + ", last hour " + one,
		},
		{
			UsageNoPrice,
			Unmatched{SubscriptionID: "m1-c0-s0", Meter: "vCPU hours"},
			"3", Medium,
			[]Object{subscription},
			"m1-c0",
			"the usage was posted without a price, because the product has no fixed price (unpriced): 3 of product vCPU hours, first hour " + two + ", last hour " + one,
		},
		{
			UsageOther,
			Unmatched{SubscriptionID: "m1-c0-s0", Meter: "vCPU hours"},
			"3", High,
			[]Object{subscription},
			"m1-c0",
			"BillingStack has other numbers than Tenantry for the usage (differs): 3 of product vCPU hours, first hour " + two + ", last hour " + one,
		},
	} {
		h := newHouse()
		c.of.Reason = c.reason
		h.use(c.of, c.amount, 2, 1)
		all := h.compare()
		if len(all) != 1 {
			t.Errorf("%s: got %d findings", c.reason, len(all))
			continue
		}
		f := all[0].Finding
		if f.Severity != c.severity || !slices.Equal(f.Objects, c.objects) || f.Detail != c.detail || f.CustomerID != c.customer ||
			f.SubscriptionID != c.of.SubscriptionID || f.ProjectID != c.of.ProjectID || f.MerchantID != "m1" || f.Cloud != "default" || f.Repair.Action != "" {
			t.Errorf("%s: got %+v", c.reason, f)
		}
	}
}

// A customer's tenant has one finding for all its meters.
func TestTheUsageOfACustomersTenantIsOneFinding(t *testing.T) {
	h := newHouse()
	for i := range 7 {
		h.use(Unmatched{Reason: UsageNoSubscription, ProjectID: "p-m1-c0", Meter: fmt.Sprint("m", i)}, "", 5+i, 4-i/6)
	}
	h.use(Unmatched{Reason: UsageNoSubscription, ProjectID: "p-m1-c1"}, "", 1, 1)
	details := map[string]string{}
	for _, f := range h.compare() {
		details[f.ProjectID] = f.Detail
	}
	want := map[string]string{
		"p-m1-c0": "a customer's tenant was used, and such a tenant has no subscription (no-subscription): meters m0, m1, m2, m3, m4 and 2 more, " +
			"first hour 2025-12-31T13:00:00Z, last hour 2025-12-31T21:00:00Z",
		"p-m1-c1": "a customer's tenant was used, and such a tenant has no subscription (no-subscription): meters cpu, in the hour 2025-12-31T23:00:00Z",
	}
	if !maps.Equal(details, want) {
		t.Errorf("got %v, want %v", details, want)
	}
}

// The entries of usage are in the database. Therefore a run that changes the customer, an upstream that fails and a suspect list neither hide
// nor keep a finding about usage.
func TestUsageIsKnownForCertain(t *testing.T) {
	used := func() *house {
		h := newHouse()
		h.use(Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}, "3", 2, 1)
		return h
	}
	for what, hide := range map[string]func(*shelf){
		"a run": func(s *shelf) { s.run("m1", "m1-c0", "running", nil) },
		"an upstream that fails": func(s *shelf) {
			s.at = func(call string) error {
				if call == "EachRun" || call == "EachUnmatched" || call == "UnmatchedAmount" || call == "WaitingUsage" {
					return nil
				}
				return errAway
			}
		},
		"a suspect list": func(s *shelf) {
			for i := range 60 {
				s.subscribe("m1", fmt.Sprint("more", i), fmt.Sprint("more-s", i), true)
				s.cloud("default").dropProject(fmt.Sprint("p-more-s", i))
			}
		},
	} {
		s := newShelf(used())
		hide(s)
		first := s.audit(t, Scope{})
		if !slices.Contains(first.seen(), string(UsageAfterEnd)) {
			t.Errorf("%s: found %v", what, first.seen())
		}
		s.used = nil
		if o := s.audit(t, Scope{}); len(o.Resolved) != 1 || slices.Contains(o.seen(), string(UsageAfterEnd)) {
			t.Errorf("%s: resolved %v, found %v", what, o.Resolved, o.seen())
		}
	}
}

// An audit with a narrower scope resolves only what has ended. An audit of another merchant resolves nothing.
func TestNarrowerScopesResolveUsageThatHasEnded(t *testing.T) {
	customer, project := Scope{MerchantID: "m1", CustomerID: "m1-c0"}, Scope{Cloud: "default", ProjectID: "p-m1-c0-s0"}
	for what, c := range map[string]struct {
		of     Unmatched
		scopes []Scope // the scopes in which the finding is
	}{
		"a tenant":            {Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}, []Scope{{MerchantID: "m1"}, {Cloud: "default"}, customer, project}},
		"a customer's tenant": {Unmatched{Reason: UsageNoSubscription, ProjectID: "p-m1-c0"}, []Scope{{MerchantID: "m1"}, {Cloud: "default"}, customer}},
		"a subscription":      {Unmatched{Reason: UsageOther, SubscriptionID: "m1-c0-s0"}, []Scope{{MerchantID: "m1"}, {Cloud: "default"}, customer}},
		"a meter":             {Unmatched{Reason: UsageNoProduct}, []Scope{{MerchantID: "m1"}, {Cloud: "default"}}},
	} {
		for _, scope := range []Scope{{MerchantID: "m1"}, {Cloud: "default"}, customer, project, {MerchantID: "m2"}} {
			h := newHouse()
			h.use(c.of, "3", 2, 1)
			s := newShelf(h)
			all := s.audit(t, Scope{})
			there := slices.Contains(c.scopes, scope)
			if o := s.audit(t, scope); len(all.Seen) != 1 || len(o.Resolved) > 0 || there != (len(o.Seen) == 1 && o.Seen[0].ID == all.Seen[0].ID) {
				t.Errorf("%s in %+v: found %v, then %v, resolved %v", what, scope, all.seen(), o.seen(), o.Resolved)
			}
			s.used = nil
			if o := s.audit(t, scope); there != (len(o.Resolved) == 1) {
				t.Errorf("%s in %+v: resolved %v", what, scope, o.Resolved)
			}
		}
	}
}

// The ledger may tell another customer than an earlier audit, for example because a newer release has started a run about the subscription. An
// audit of the customer that was known before does not resolve the finding.
func TestUsageOfAnotherCustomerIsNotResolved(t *testing.T) {
	h := newHouse()
	h.use(Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}, "3", 2, 1)
	s := newShelf(h)
	f := s.audit(t, Scope{}).Seen[0]
	f.CustomerID, f.Status = "m1-c1", Known
	s.findings[f.ID] = f
	if o := s.audit(t, Scope{MerchantID: "m1", CustomerID: "m1-c1"}); len(o.Seen) > 0 || len(o.Resolved) > 0 {
		t.Errorf("found %v, resolved %v", o.seen(), o.Resolved)
	}
}

// An audit sends no requests about the objects of a finding about usage.
func TestUsageIsNotReadAgain(t *testing.T) {
	h := newHouse()
	h.use(Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}, "3", 2, 1)
	s := newShelf(h)
	s.at = func(call string) error {
		if call == "Project" || call == "Customer" || call == "Subscription" {
			t.Errorf("a request: %s", call)
		}
		return nil
	}
	for range 2 {
		s.audit(t, Scope{})
	}
}

// Usage that was computed again has the amount 0. Then its finding is resolved, although the entry still exists.
func TestUsageThatWasComputedAgain(t *testing.T) {
	h := newHouse()
	h.use(Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}, "3", 2, 1)
	s := newShelf(h)
	s.audit(t, Scope{})
	s.used[0].amount = "0"
	if o := s.audit(t, Scope{}); len(o.Seen) > 0 || len(o.Resolved) != 1 {
		t.Errorf("found %v, resolved %v", o.seen(), o.Resolved)
	}
}

// The number of entries that an audit reports is limited. The entries beyond the limit are not resolved. Customers' tenants do not count.
func TestUnmatchedUsageIsBounded(t *testing.T) {
	h := newHouse()
	for i := range 5 {
		h.use(Unmatched{Reason: UsageNoSubscription, ProjectID: fmt.Sprint("p-m1-c", i)}, "", 2, 1)
		h.use(Unmatched{Reason: UsageNoProduct, Meter: fmt.Sprint("m", i)}, "", 2, 1)
	}
	s := newShelf(h)
	if o := s.audit(t, Scope{}); len(o.Seen) != 10 || o.Audit.State != Complete {
		t.Errorf("found %v, %s", o.seen(), o.Audit.State)
	}
	r := s.auditor(t).newReading(Scope{})
	r.maxUnmatched = 3
	o, err := r.execute(t.Context(), Audit{})
	if err != nil || len(o.Seen) != 8 || len(o.Resolved) > 0 || o.Audit.State != Incomplete || o.Audit.Gaps[0].Code != GapTooManyFindings || o.Audit.Gaps[0].MerchantID != "m1" {
		t.Errorf("%v, found %v, resolved %v, gaps %v", err, o.seen(), o.Resolved, o.Audit.Gaps)
	}
}

func TestAnAuditFailsIfTheUsageCannotBeRead(t *testing.T) {
	for _, broken := range []string{"EachUnmatched", "UnmatchedAmount", "WaitingUsage"} {
		for _, scope := range []Scope{{}, {MerchantID: "m1", CustomerID: "m1-c0"}} {
			if broken == "WaitingUsage" && scope.CustomerID != "" {
				continue // it is not read
			}
			h := newHouse()
			h.use(Unmatched{Reason: UsageNotLive, ProjectID: "p-m1-c0-s0", SubscriptionID: "m1-c0-s0"}, "3", 2, 1)
			s := newShelf(h)
			s.at = func(call string) error {
				if call == broken {
					return errAway
				}
				return nil
			}
			if _, err := s.auditor(t).Examine(t.Context(), scope); !errors.Is(err, errAway) {
				t.Errorf("%s in %+v: got %v", broken, scope, err)
			}
		}
	}
}

// A finding that a person has accepted does not cover other numbers in a further hour. Other usage is the same finding, however long it goes on.
func TestAFurtherHourWithOtherNumbersIsANewFinding(t *testing.T) {
	for reason, again := range map[UsageReason]bool{UsageOther: true, UsageNoPrice: false, UsageNotLive: false, UsageNoProduct: false} {
		u := Unmatched{Reason: reason, MerchantID: "m", SubscriptionID: "s", Meter: "vcpus", First: time.Unix(0, 0), Last: time.Unix(0, 0)}
		before := u.findingID()
		u.Last = time.Unix(3600, 0)
		if got := u.findingID() != before; got != again {
			t.Errorf("%s: a further hour is a new finding: %v, want %v", reason, got, again)
		}
		u.First = time.Unix(3600, 0) // the earliest entry has ended
		if again := u.findingID(); reason != UsageOther && again != before {
			t.Errorf("%s: the finding depends on the first hour", reason)
		}
	}
}
