package storetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/audit"
)

func findingsMany(t *testing.T, s auditFixture) {
	const many = 2345
	all := map[string]audit.Finding{}
	for n := range many {
		f := audit.Finding{ID: fmt.Sprintf("%05d", n*7919%100_000), Severity: audit.High, MerchantID: "m"}
		all[f.ID] = f
	}
	count := func(statuses ...audit.Status) int {
		t.Helper()
		found, err := s.audits.Findings(t.Context(), audit.Filter{Statuses: statuses, Limit: 9999})
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	s.finish(t, ended("a", epoch, slices.Collect(maps.Values(all))...))
	if n := count(audit.New); n != many {
		t.Errorf("%d findings are new, want %d", n, many)
	}
	s.finish(t, ended("b", minutes(1), slices.Collect(maps.Values(all))...))
	if n := count(audit.Known); n != many {
		t.Errorf("%d findings are known, want %d", n, many)
	}
	o := ended("c", minutes(2))
	o.Resolved = slices.Collect(maps.Keys(all))
	s.finish(t, o)
	if n := count(audit.Resolved); n != many {
		t.Errorf("%d findings are resolved, want %d", n, many)
	}
	for id := range all {
		if got, want := s.history(t, id), "0 new a, 1 known b, 2 resolved c"; got != want {
			t.Fatalf("the history of %s: got %s, want %s", id, got, want)
		}
		break
	}
}

func findingsFiltered(t *testing.T, s auditFixture) {
	a := audit.Finding{
		ID: "a", Code: "x", Severity: audit.Critical, Cloud: "c1", MerchantID: "m1", CustomerID: "k1", ProjectID: "p1", SubscriptionID: "s1",
		UserID: "u1",
	}
	b := audit.Finding{
		ID: "b", Code: "y", Severity: audit.Medium, Cloud: "c2", MerchantID: "m2", CustomerID: "k2", ProjectID: "p2", SubscriptionID: "s2",
		UserID: "u2",
	}
	c := audit.Finding{ID: "c", Code: "z", Severity: audit.Info, Cloud: "c1", MerchantID: "m1", UserID: "u2"}
	d := audit.Finding{ID: "d", Code: "z", Severity: audit.Info, Cloud: "c1", MerchantID: "m1", UserID: "u2"}
	s.finish(t, ended("1", epoch, a, b, c))
	o := ended("2", epoch, a, d)
	o.Resolved = []string{"c"}
	s.finish(t, o)
	s.accept(t, "d", epoch, nil)
	open := []audit.Status{audit.New, audit.Known} // b is new, and a is known; c is resolved, and d accepted
	for want, filters := range map[string][]audit.Filter{
		"a b c d": {{}, {IDs: []string{"d", "a", "x", "c", "b"}}, {Severity: audit.Info}, {Codes: []audit.Code{"x", "y", "z"}}},
		"a b":     {{Statuses: open}, {Severity: audit.Medium}, {Statuses: open, Severity: audit.Low}},
		"a": {
			{Statuses: []audit.Status{audit.Known}},
			{Severity: audit.Critical},
			{Severity: audit.High},
			{Codes: []audit.Code{"x"}},
			{CustomerID: "k1"},
			{ProjectID: "p1"},
			{SubscriptionID: "s1"},
			{UserID: "u1"},
			{AuditID: "2", Severity: audit.High},
			{MerchantID: "m1", Statuses: open},
			{MerchantID: "m1", Severity: audit.High},
			{Cloud: "c1", Statuses: open},
			{MerchantID: "m1", CustomerID: "k1", ProjectID: "p1", SubscriptionID: "s1", UserID: "u1", AuditID: "2", Cloud: "c1", Statuses: open},
			{AuditID: "2", Statuses: open},
			{IDs: []string{"a"}},
			{IDs: []string{"a", "c", "d"}, Statuses: open},
			{IDs: []string{"a", "b"}, MerchantID: "m1", Cloud: "c1", Statuses: open},
		},
		"b": {
			{Statuses: []audit.Status{audit.New}},
			{Cloud: "c2"},
			{MerchantID: "m2"},
			{SubscriptionID: "s2", Cloud: "c2"},
			{AuditID: "1", Statuses: open},
			{UserID: "u2", MerchantID: "m2"},
			{Statuses: open, After: "a"},
			{UserID: "u2", Statuses: open},
			{IDs: []string{"a", "b"}, After: "a"},
		},
		"c": {
			{Statuses: []audit.Status{audit.Resolved}},
			{AuditID: "1", Severity: audit.Info, MerchantID: "m1", Codes: []audit.Code{"z"}},
			{MerchantID: "m1", UserID: "u2", Statuses: []audit.Status{audit.Resolved}},
		},
		"d":     {{Statuses: []audit.Status{audit.Accepted}}, {After: "c"}, {UserID: "u2", After: "c"}},
		"a d":   {{AuditID: "2"}},
		"b c":   {{AuditID: "1"}},
		"c d":   {{After: "b"}, {Codes: []audit.Code{"z"}}, {MerchantID: "m1", After: "a"}, {MerchantID: "m1", UserID: "u2"}},
		"a c d": {{Cloud: "c1"}, {MerchantID: "m1"}, {Codes: []audit.Code{"x", "z"}, Cloud: "c1"}},
		"b c d": {{UserID: "u2"}},
		"b d":   {{UserID: "u2", Statuses: []audit.Status{audit.New, audit.Known, audit.Accepted}}},
		"": {
			{Severity: "none"},
			{Cloud: "c3"},
			{MerchantID: "m"},
			{MerchantID: "m1", Cloud: "c2"},
			{ProjectID: "p1", UserID: "u2"},
			{AuditID: "2", Statuses: []audit.Status{audit.Resolved}},
			{CustomerID: "k1", After: "a"},
			{Codes: []audit.Code{"w"}},
			{After: "d"},
			{IDs: []string{"x"}},
		},
	} {
		for _, f := range filters {
			f.Limit = 10
			found, err := s.audits.Findings(t.Context(), f)
			var ids []string
			for _, one := range found {
				ids = append(ids, one.ID)
			}
			if got := strings.Join(ids, " "); err != nil || got != want {
				t.Errorf("filter %+v: got the findings %q, %v; want %q", f, got, err, want)
			}
		}
	}
}

func findingsCounted(t *testing.T, s auditFixture) {
	finding := func(id string, severity audit.Severity, code audit.Code, merchant, cloud string) audit.Finding {
		return audit.Finding{ID: id, Severity: severity, Code: code, MerchantID: merchant, Cloud: cloud}
	}
	a, b, c := finding("a", audit.Low, "x", "m1", "c1"), finding("b", audit.High, "x", "m1", "c1"), finding("c", audit.Low, "x", "m2", "c1")
	d, e := finding("d", audit.Low, "w", "m2", "c2"), finding("e", audit.Low, "w", "m2", "c2")
	s.finish(t, ended("1", epoch, a, b, c, d, e))
	o := ended("2", epoch, b)
	o.Resolved = []string{"e"}
	s.finish(t, o)
	s.accept(t, "d", epoch, nil)
	for want, of := range map[string][2]string{
		"high x known 1, low w accepted 1, low x new 2": {}, "high x known 1, low x new 1": {"c1", "m1"}, "low w accepted 1, low x new 1": {"", "m2"},
		"high x known 1, low x new 2": {"c1", ""}, "": {"c2", "m1"},
	} {
		counts, err := s.audits.CountFindings(t.Context(), of[0], of[1])
		var got []string
		for _, n := range counts {
			got = append(got, fmt.Sprint(n.Severity, " ", n.Code, " ", n.Status, " ", n.Count))
		}
		if err != nil || strings.Join(got, ", ") != want {
			t.Errorf("cloud %q, merchant %q: got %q, %v; want %q", of[0], of[1], got, err, want)
		}
	}
}

func findingsInPages(t *testing.T, s auditFixture) {
	var seen []audit.Finding
	for _, id := range []string{"d", "a", "e", "c", "b"} {
		seen = append(seen, audit.Finding{ID: id, MerchantID: "m"})
	}
	s.finish(t, ended("1", epoch, seen...))
	fresh := []audit.Status{audit.New}
	for _, f := range []audit.Filter{{}, {Statuses: fresh}, {MerchantID: "m"}, {MerchantID: "m", Statuses: fresh}} {
		var ids []string
		for f.Limit = 2; ; {
			page, err := s.audits.Findings(t.Context(), f)
			if err != nil || len(page) > 2 {
				t.Fatalf("filter %+v: got %d findings, %v; want at most two", f, len(page), err)
			}
			if len(page) == 0 {
				break
			}
			for _, one := range page {
				ids = append(ids, one.ID)
			}
			f.After = ids[len(ids)-1]
		}
		if got := strings.Join(ids, " "); got != "a b c d e" {
			t.Errorf("filter %+v: the pages have the findings %s", f, got)
		}
	}
}

func acceptFinding(t *testing.T, s auditFixture) {
	o := ended("b", minutes(1), audit.Finding{ID: "known"})
	s.finish(t, ended("a", epoch, audit.Finding{ID: "new"}, audit.Finding{ID: "known"}, audit.Finding{ID: "resolved"}))
	o.Resolved = []string{"resolved"}
	s.finish(t, o)
	back := func(id string, n int) error {
		by := audit.Change{At: minutes(n), Who: "op2", Why: "not so", AuditID: "x", Status: audit.New}
		_, err := s.audits.Accept(t.Context(), id, by, nil)
		return err
	}
	_, err := s.audits.Accept(t.Context(), "none", audit.Change{}, &audit.Acceptance{})
	refused(t, "accepting a finding that does not exist", err, audit.ErrNotFound)
	_, err = s.audits.Accept(t.Context(), "resolved", audit.Change{}, &audit.Acceptance{})
	refused(t, "accepting a resolved finding", err, audit.ErrResolved)
	refused(t, "withdrawing the acceptance of a resolved finding", back("resolved", 2), audit.ErrResolved)
	if err := errors.Join(back("new", 2), back("known", 2)); err != nil {
		t.Error(err)
	}
	s.accept(t, "new", minutes(3), nil)
	s.accept(t, "new", minutes(4), nil)
	s.accept(t, "known", minutes(4), nil)
	if err := errors.Join(back("known", 5), back("known", 6)); err != nil {
		t.Error(err)
	}
	_, err = s.audits.Accept(t.Context(), "known", audit.Change{At: minutes(7)}, &audit.Acceptance{Who: "op3", Why: "as agreed"})
	if err != nil {
		t.Error(err)
	}
	for id, want := range map[string]string{
		"new":      "accepted planned, first 0 a, last 0 a: 0 new a, 3 accepted op planned, 4 accepted op planned",
		"resolved": "resolved at 1, first 0 a, last 0 a: 0 new a, 1 resolved b",
		"known": "accepted as agreed, first 0 a, last 1 b: 0 new a, 1 known b, 4 accepted op planned, 5 known op2 not so, " +
			"7 accepted op3 as agreed",
	} {
		if got := s.state(t, id); got != want {
			t.Errorf("%s:\n got %s\nwant %s", id, got, want)
		}
	}
}

// acceptAtOnce shows that no change is lost, and that the stored status is the status in the last change.
func acceptAtOnce(t *testing.T, s auditFixture) {
	s.finish(t, ended("a", epoch, audit.Finding{ID: "f", Severity: audit.Low}))
	s.begin(t, "b")
	var all sync.WaitGroup
	for n := range 10 {
		all.Go(func() {
			by := audit.Change{At: minutes(n), Who: fmt.Sprint("op", n)}
			if _, err := s.audits.Accept(t.Context(), "f", by, &audit.Acceptance{Who: by.Who}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() { // if the finding is already accepted, this audit ends the acceptance
		o := ended("b", minutes(20), audit.Finding{ID: "f", Severity: audit.High})
		if err := s.audits.Finish(t.Context(), "r1", o); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
	changes, err := s.audits.History(t.Context(), "f")
	if err != nil || len(changes) != 12 {
		t.Fatalf("the finding has %d changes, %v; want 12: %+v", len(changes), err, changes)
	}
	last, f := changes[11], s.finding(t, "f")
	who := ""
	if f.Acceptance != nil {
		who = f.Acceptance.Who
	}
	if f.Status != last.Status || f.Severity != audit.High || who != last.Who {
		t.Errorf("the finding is %+v, but its last change is %+v", f, last)
	}
}

func historyLong(t *testing.T, s auditFixture) {
	s.finish(t, ended("a", epoch, audit.Finding{ID: "f"}, audit.Finding{ID: "g"}))
	for n := range 60 { // each round makes two changes
		s.accept(t, "f", minutes(2*n+1), nil)
		if _, err := s.audits.Accept(t.Context(), "f", audit.Change{At: minutes(2*n + 2)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	o := ended("b", minutes(121))
	o.Resolved = []string{"f", "g"}
	s.finish(t, o) // this is change 122
	changes, err := s.audits.History(t.Context(), "f")
	if err != nil || len(changes) != 100 {
		t.Fatalf("the history has %d changes, %v; want 100", len(changes), err)
	}
	for n, c := range changes {
		if want := minutes(n + 22); !c.At.Equal(want) {
			t.Errorf("change %d was at %v, want %v", n, c.At, want)
		}
	}
	if got := s.history(t, "g"); got != "0 new a, 121 resolved b" {
		t.Errorf("the history of the other finding: %s", got)
	}
}
