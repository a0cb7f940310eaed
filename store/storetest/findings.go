package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/audit"
)

func (f auditFixture) finding(t *testing.T, id string) audit.Finding {
	t.Helper()
	found, err := f.audits.Finding(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The method `history` returns the changes of a finding as text. The text of a change consists of the minutes since epoch, the
// status, the author of the change and the reason.
func (f auditFixture) history(t *testing.T, id string) string {
	t.Helper()
	changes, err := f.audits.History(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range changes {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%.0f %s %s%s %s", c.At.Sub(epoch).Minutes(), c.Status, c.AuditID, c.Who, c.Why)))
	}
	return strings.Join(all, ", ")
}

// The method `accept` accepts a finding until the given time. If the time is nil, the acceptance does not end.
func (f auditFixture) accept(t *testing.T, id string, at time.Time, until *time.Time) audit.Finding {
	t.Helper()
	a := audit.Acceptance{Who: "op", Why: "planned", At: at, Until: until}
	found, err := f.audits.Accept(t.Context(), id, audit.Change{At: at, Who: "op", Why: "planned"}, &a)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func minutes(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }

func findingEveryField(t *testing.T, s auditFixture) {
	seen := audit.Finding{
		ID: "f", Code: "c", Severity: audit.High, Cloud: "default", MerchantID: "m", CustomerID: "cu", SubscriptionID: "s",
		ProjectID: "p", UserID: "u", Objects: []audit.Object{{Kind: "project", ID: "p", Name: "ü"}, {Kind: "user", ID: "u"}}, Detail: "d",
		Affected: "a", RunID: "r",
		Repair: audit.Repair{Action: audit.AssignRole, Values: map[string]string{"role": "member", "was": ""}, Advice: "ask"},
	}
	given := seen // this copy also has fields that the store must ignore
	given.Status, given.FirstSeen, given.LastSeen, given.FirstAudit, given.LastAudit = audit.Accepted, minutes(7), minutes(7), "x", "x"
	given.ResolvedAt, given.Acceptance = &epoch, &audit.Acceptance{Who: "x"}
	filled(t, given)
	s.finish(t, ended("a", epoch.Add(1500*time.Nanosecond), given))
	first := epoch.Add(time.Microsecond)
	want := seen
	want.Status, want.FirstSeen, want.LastSeen, want.FirstAudit, want.LastAudit = audit.New, first, first, "a", "a"
	if got := s.finding(t, "f"); encoded(t, got) != encoded(t, want) {
		t.Errorf("the new finding:\n got %s\nwant %s", encoded(t, got), encoded(t, want))
	}

	other := audit.Finding{ID: "f", Code: "c2", Severity: audit.Low, Detail: "d2", Repair: audit.Repair{Advice: "wait"}}
	s.finish(t, ended("b", minutes(1), other))
	want = other
	want.Status, want.FirstSeen, want.LastSeen, want.FirstAudit, want.LastAudit = audit.Known, first, minutes(1), "a", "b"
	if got := s.finding(t, "f"); encoded(t, got) != encoded(t, want) {
		t.Errorf("the finding that is seen again:\n got %s\nwant %s", encoded(t, got), encoded(t, want))
	}
	until := minutes(60).Add(time.Nanosecond)
	got := s.accept(t, "f", minutes(2).Add(time.Nanosecond), &until)
	until = minutes(60)
	want.Status, want.Acceptance = audit.Accepted, &audit.Acceptance{Who: "op", Why: "planned", At: minutes(2), Until: &until}
	filled(t, *want.Acceptance)
	if read := s.finding(t, "f"); encoded(t, got) != encoded(t, want) || encoded(t, read) != encoded(t, want) {
		t.Errorf("the accepted finding:\n got %s\nread %s\nwant %s", encoded(t, got), encoded(t, read), encoded(t, want))
	}
	changes, err := s.audits.History(t.Context(), "f")
	wantChanges := []audit.Change{
		{At: first, Status: audit.New, AuditID: "a"},
		{At: minutes(1), Status: audit.Known, AuditID: "b"},
		{At: minutes(2), Status: audit.Accepted, Who: "op", Why: "planned", Until: &until},
	}
	if err != nil || encoded(t, changes) != encoded(t, wantChanges) {
		t.Errorf("the history, %v:\n got %s\nwant %s", err, encoded(t, changes), encoded(t, wantChanges))
	}
	_, err = s.audits.Finding(t.Context(), "g")
	refused(t, "reading a finding that does not exist", err, audit.ErrNotFound)
	if none, err := s.audits.History(t.Context(), "g"); err != nil || len(none) > 0 {
		t.Errorf("the history of a finding that does not exist: %+v, %v; want none", none, err)
	}
}

// findingStatuses ends audit c, which sees some findings and resolves other findings. The earlier audits a and b have given each
// finding its status.
func findingStatuses(t *testing.T, s auditFixture) {
	before := []string{"new", "known", "accepted", "resolved"}
	var first, second []audit.Finding
	var resolved []string
	for _, id := range before {
		for _, then := range []string{"seen", "resolved", "left"} {
			f := audit.Finding{ID: id + " " + then, Severity: audit.Medium}
			switch id {
			case "new":
				second = append(second, f)
			case "known":
				first, second = append(first, f), append(second, f)
			default:
				first = append(first, f)
			}
		}
	}
	s.finish(t, ended("a", minutes(1), first...))
	o := ended("b", minutes(2), second...)
	o.Resolved = []string{"resolved seen", "resolved resolved", "resolved left"}
	s.finish(t, o)
	end := ended("c", minutes(4), audit.Finding{ID: "none seen"})
	resolved = append(resolved, "none resolved")
	for _, id := range before {
		end.Seen = append(end.Seen, audit.Finding{ID: id + " seen", Severity: audit.Medium})
		resolved = append(resolved, id+" resolved")
		s.acceptIf(t, id == "accepted", id+" seen", id+" resolved", id+" left")
	}
	end.Resolved = resolved
	s.finish(t, end)

	for id, want := range map[string]string{
		"none seen":         "new, first 4 c, last 4 c: 4 new c",
		"new seen":          "known, first 2 b, last 4 c: 2 new b, 4 known c",
		"new resolved":      "resolved at 4, first 2 b, last 2 b: 2 new b, 4 resolved c",
		"new left":          "new, first 2 b, last 2 b: 2 new b",
		"known seen":        "known, first 1 a, last 4 c: 1 new a, 2 known b",
		"known resolved":    "resolved at 4, first 1 a, last 2 b: 1 new a, 2 known b, 4 resolved c",
		"known left":        "known, first 1 a, last 2 b: 1 new a, 2 known b",
		"accepted seen":     "accepted planned, first 1 a, last 4 c: 1 new a, 3 accepted op planned",
		"accepted resolved": "resolved at 4, first 1 a, last 1 a: 1 new a, 3 accepted op planned, 4 resolved c",
		"accepted left":     "accepted planned, first 1 a, last 1 a: 1 new a, 3 accepted op planned",
		"resolved seen":     "new, first 4 c, last 4 c: 1 new a, 2 resolved b, 4 new c",
		"resolved resolved": "resolved at 2, first 1 a, last 1 a: 1 new a, 2 resolved b",
		"resolved left":     "resolved at 2, first 1 a, last 1 a: 1 new a, 2 resolved b",
	} {
		if got := s.state(t, id); got != want {
			t.Errorf("%s:\n got %s\nwant %s", id, got, want)
		}
	}
	_, err := s.audits.Finding(t.Context(), "none resolved")
	refused(t, "a finding that was resolved, but never seen", err, audit.ErrNotFound)
}

func (f auditFixture) acceptIf(t *testing.T, yes bool, ids ...string) {
	t.Helper()
	if !yes {
		return
	}
	for _, id := range ids {
		f.accept(t, id, minutes(3), nil)
	}
}

// The method `state` describes a finding and its history. Times are minutes since epoch.
func (f auditFixture) state(t *testing.T, id string) string {
	t.Helper()
	found := f.finding(t, id)
	text := string(found.Status)
	if found.ResolvedAt != nil {
		text += fmt.Sprintf(" at %.0f", found.ResolvedAt.Sub(epoch).Minutes())
	}
	if found.Acceptance != nil {
		text += " " + found.Acceptance.Why
	}
	return fmt.Sprintf("%s, first %.0f %s, last %.0f %s: %s", text, found.FirstSeen.Sub(epoch).Minutes(), found.FirstAudit,
		found.LastSeen.Sub(epoch).Minutes(), found.LastAudit, f.history(t, id))
}

func findingAccepted(t *testing.T, s auditFixture) {
	until := minutes(10)
	for n, c := range []struct {
		severity audit.Severity
		until    *time.Time
		at       time.Time
		want     string // the status after the audit, and the reason in the history
	}{
		{audit.Medium, nil, minutes(99), "accepted"},
		{audit.Medium, &until, minutes(10).Add(-time.Microsecond), "accepted"},
		{audit.Medium, &until, minutes(10), "known: the acceptance has ended"},
		{audit.Low, nil, minutes(2), "accepted"},
		{audit.High, nil, minutes(2), "known: the severity was medium, and is high now"},
		{audit.High, &until, minutes(12), "known: the severity was medium, and is high now"},
	} {
		id := fmt.Sprint("f", n)
		s.finish(t, ended(id+"a", epoch, audit.Finding{ID: id, Severity: audit.Medium}))
		s.accept(t, id, minutes(1), c.until)
		s.finish(t, ended(id+"b", c.at, audit.Finding{ID: id, Severity: c.severity}))
		found := s.finding(t, id)
		changes, err := s.audits.History(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		last := changes[len(changes)-1]
		got := string(found.Status)
		if last.AuditID != "" {
			got += ": " + last.Why
		}
		if got != c.want || last.Status != found.Status || (found.Acceptance != nil) != (found.Status == audit.Accepted) {
			t.Errorf("accepted until %v, seen at %v with severity %s: got %q, %+v; want %q", c.until, c.at, c.severity, got, found, c.want)
		}
	}
}

func findingTwice(t *testing.T, s auditFixture) {
	o := ended("a", epoch, audit.Finding{ID: "f", Detail: "first"}, audit.Finding{ID: "g"}, audit.Finding{ID: "f", Detail: "second"})
	s.finish(t, o)
	if f := s.finding(t, "f"); f.Detail != "second" || s.history(t, "f") != "0 new a" {
		t.Errorf("the finding that was seen twice: %+v, %s; want only the second version of the finding", f, s.history(t, "f"))
	}
	o = ended("b", minutes(1), audit.Finding{ID: "f"})
	o.Resolved = []string{"f", "g", "g"}
	s.finish(t, o)
	for id, want := range map[string]string{"f": "0 new a, 1 known b", "g": "0 new a, 1 resolved b"} {
		if got := s.history(t, id); got != want {
			t.Errorf("the history of %s: got %s, want %s", id, got, want)
		}
	}
}
