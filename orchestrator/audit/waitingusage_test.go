package audit

import (
	"testing"
	"time"
)

// A finding about usage that waits names what waits, since when, and why.
func TestTheFindingAboutUsageThatWaits(t *testing.T) {
	since, failed := epoch.Add(-30*time.Hour), epoch.Add(-time.Minute)
	const (
		begin   = "usage has waited to be billed since 2025-12-30T18:00:00Z"
		failure = "remove the cause of the last failure; if no failure is named, look for errors about usage in the logs of the replicas"
		runs    = "find out why the runs that post rows fail: tenantry runs list --merchant m1"
		end     = "; after that, the usage is billed, and the next audit resolves the finding"
	)
	for _, c := range []struct {
		of             WaitingUsage
		detail, advice string
	}{
		{WaitingUsage{Hours: 1}, begin + "; not billed yet: 1 hour of tenants", failure + end},
		{
			WaitingUsage{Hours: 20, Failure: "no answer", FailedAt: failed},
			begin + "; not billed yet: 20 hours of tenants; the last failure, at 2025-12-31T23:59:00Z: no answer", failure + end,
		},
		{
			WaitingUsage{Rows: 12, Failure: "no answer", FailedAt: failed}, // the failure does not concern the rows
			begin + "; not in BillingStack yet: 12 rows", runs + end,
		},
		{
			WaitingUsage{Hours: MaxWaiting, Rows: 1},
			begin + "; not billed yet: 10000 or more hours of tenants; not in BillingStack yet: 1 row", failure + "; " + runs + end,
		},
	} {
		h := newHouse()
		c.of.Since = since
		h.wait(c.of)
		all := h.compare()
		if len(all) != 1 {
			t.Errorf("%+v: got %d findings", c.of, len(all))
			continue
		}
		f := all[0].Finding
		if f.Code != UsageWaiting || f.Severity != High || f.Detail != c.detail || f.Repair.Advice != c.advice || f.MerchantID != "m1" || f.Cloud != "default" ||
			len(f.Objects) != 1 || f.Objects[0] != object(kindMerchant, "m1", "") {
			t.Errorf("%+v: got %+v\nwant %q, %q", c.of, f, c.detail, c.advice)
		}
	}
}

// The finding keeps its id while other usage begins to wait, and is resolved when no usage waits for more than a day. An audit of a customer or of
// another merchant neither finds nor resolves it.
func TestTheFindingAboutUsageThatWaitsEnds(t *testing.T) {
	for what, c := range map[string]struct {
		scope Scope
		there bool
	}{
		"everything":       {Scope{}, true},
		"the merchant":     {Scope{MerchantID: "m1"}, true},
		"the cloud":        {Scope{Cloud: "default"}, true},
		"a customer":       {Scope{MerchantID: "m1", CustomerID: "m1-c0"}, false},
		"a project":        {Scope{Cloud: "default", ProjectID: "p-m1-c0-s0"}, false},
		"another merchant": {Scope{MerchantID: "m2"}, false},
	} {
		h := newHouse()
		h.wait(WaitingUsage{Since: epoch.Add(-48 * time.Hour), Hours: 2})
		s := newShelf(h)
		first := s.audit(t, Scope{})
		s.unbilled = WaitingUsage{Since: epoch.Add(-24*time.Hour - time.Second), Rows: 3}
		if o := s.audit(t, c.scope); len(first.Seen) != 1 || c.there != (len(o.Seen) == 1 && o.Seen[0].ID == first.Seen[0].ID) || len(o.Resolved) > 0 {
			t.Errorf("%s: found %v, then %v, resolved %v", what, first.seen(), o.seen(), o.Resolved)
		}
		s.unbilled.Since = epoch.Add(-24 * time.Hour)
		if o := s.audit(t, c.scope); len(o.Seen) > 0 || c.there != (len(o.Resolved) == 1) {
			t.Errorf("%s: at the end, found %v, resolved %v", what, o.seen(), o.Resolved)
		}
	}
}
