package explain

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const golden = "testdata/explanations.txt"

var update = flag.Bool("update", false, "write testdata/explanations.txt instead of comparing it")

// The ids of the runs in these tests.
const (
	aRun     = "0192b3c4-0000-7000-8000-000000000001"
	otherRun = "0192b3c4-0000-7000-8000-000000000002"
)

var (
	ids = Facts{
		Run: aRun, Merchant: "3f6b0a52-0000-4000-8000-000000000000", Customer: "7f0c8d4e-0000-4000-8000-000000000000",
		Subscription: "5d2e1c9a-0000-4000-8000-000000000000", User: "u-ann", Cloud: "default",
	}
	signUp = Meaning{Open: "The user is not subscribed yet.", Failed: "The user is not subscribed.", Done: "The user is subscribed."}
	down   = &Fault{Code: "keystone-unavailable", Detail: "creating project \"x\": connection refused", Step: "create-tenant", Service: "keystone", FixBy: Administrator}
	busy   = &Fault{Code: "keystone-busy", Detail: "creating project \"x\": 429", Step: "create-tenant", Service: "keystone", FixBy: Nobody}
	gone   = &Fault{Code: "plan-gone", Detail: "plan p no longer exists", Step: "check", FixBy: Merchant}
	taken  = &Fault{Code: "conflict", Detail: "project bs-customer-7f (3a) exists", Step: "create-tenant", FixBy: Operator}
)

// The function `with` returns a run in this state.
func with(state, kind string, change func(*Run)) Run {
	r := Run{Facts: ids, State: state, Kind: kind, Meaning: signUp}
	if change != nil {
		change(&r)
	}
	return r
}

func runs() []struct {
	name string
	run  Run
} {
	forward := []string{"retry", "compensate", "hold", "cancel"}
	return []struct {
		name string
		run  Run
	}{
		{"pending", with("pending", "", nil)},
		{"running", with("running", "", nil)},
		{"running, while an attempt is repeated for a long time", with("running", "", func(r *Run) { r.Again, r.Attention = busy, true })},
		{"waiting for the next attempt", with("waiting", "retry", func(r *Run) {
			r.Reason, r.Until, r.Actions = busy, "2026-11-27T03:10:00Z", forward
		})},
		{"waiting for an upstream", with("waiting", "upstream", func(r *Run) {
			r.Reason, r.Until, r.Actions, r.Attention = down, "2026-11-27T03:10:00Z", forward, true
		})},
		{"waiting because the own login is refused", with("waiting", "upstream", func(r *Run) {
			r.Reason, r.Until, r.Actions = &Fault{Code: "keystone-credential-refused", Detail: "401", Service: "keystone", FixBy: Operator}, "2026-11-27T03:10:00Z", forward
		})},
		{"waiting for an older run", with("waiting", "predecessor", func(r *Run) {
			r.Reason, r.Other = &Fault{Code: "subject-busy", Detail: "run x must end first", FixBy: Nobody}, otherRun
			r.Actions = []string{"compensate", "cancel"}
		})},
		{"waiting for a password", with("waiting", "password", func(r *Run) {
			r.Reason, r.Actions = &Fault{Code: "password-missing", Detail: "repeat it", Step: "create-user", FixBy: Merchant}, forward
		})},
		{"held", with("waiting", "operator", func(r *Run) {
			r.Reason, r.Attention, r.Actions = &Fault{Code: "held", Detail: "maintenance", FixBy: Operator}, true, forward
		})},
		{"blocked", with("waiting", "operator", func(r *Run) {
			r.Reason, r.Attention, r.Actions, r.Project = taken, true, forward, "3a"
		})},
		{"blocked by a policy", with("waiting", "operator", func(r *Run) {
			r.Reason = &Fault{Code: "keystone-blocked", Detail: "identity:create_project", Service: "keystone", Step: "create-tenant", FixBy: Administrator}
			r.Attention, r.Actions = true, forward
		})},
		{"blocked at an optional step", with("waiting", "operator", func(r *Run) {
			r.Reason = &Fault{Code: "role-missing", Detail: "the user lacks role member", Step: "scope-token", FixBy: Operator}
			r.Attention, r.Actions, r.Skippable = true, append([]string{"skip"}, forward...), []string{"scope-token"}
		})},
		{"compensating", with("compensating", "", func(r *Run) { r.Cause = gone })},
		{"compensating, and waiting for the next attempt", with("compensating", "retry", func(r *Run) {
			r.Cause, r.Reason, r.Until, r.Actions = gone, busy, "2026-11-27T03:10:00Z", []string{"retry", "hold"}
		})},
		{"compensating, and waiting for the late window", with("compensating", "late-window", func(r *Run) {
			r.Cause, r.Reason, r.Until = gone, &Fault{Code: "verifying-undo", Detail: "lost", FixBy: Nobody}, "2026-11-27T03:10:00Z"
			r.Actions = []string{"retry", "hold"}
		})},
		{"stuck", with("stuck", "operator", func(r *Run) {
			r.Cause, r.Attention, r.Actions = gone, true, []string{"retry", "skip"}
			r.Refused = []Fault{{Code: "keystone-refused", Detail: "it has servers", Step: "create-tenant/it's", Service: "keystone", FixBy: Operator}}
			r.Reason, r.Skippable = &r.Refused[0], []string{"create-tenant/it's"}
		})},
		{"succeeded", with("succeeded", "", nil)},
		{"compensated, for the merchant to fix", with("compensated", "", func(r *Run) { r.Cause, r.Actions = gone, []string{"retry"} })},
		{"compensated, for an operator to fix", with("compensated", "", func(r *Run) {
			r.Cause = &Fault{Code: "role-gone", Detail: "role member (r1) no longer exists", Step: "assign-role", FixBy: Operator}
			r.Actions, r.LeftBehind = []string{"retry"}, 2
		})},
		{"compensated, for the user to fix", with("compensated", "", func(r *Run) {
			r.Cause = &Fault{Code: "password-refused", Detail: "too short", Step: "create-user", FixBy: User}
			r.Actions = []string{"retry"}
		})},
		{"cancelled", with("compensated", "", func(r *Run) {
			r.Cause, r.Actions = &Fault{Code: "cancelled", Detail: "the customer left", FixBy: Nobody}, []string{"retry"}
		})},
		{"compensated and repeated", with("compensated", "", func(r *Run) { r.Cause, r.RetriedBy = gone, otherRun })},
		{"of a newer release", with("waiting", "moon", func(r *Run) {
			r.Reason, r.Actions = &Fault{Code: "{moon}", Detail: "\x1b[31m", FixBy: Operator}, forward
		})},
	}
}

func show(b *strings.Builder, title string, x Explanation) {
	fmt.Fprintf(b, "## %s\nwhat:  %s\nwhy:   %s\nmeans: %s\nwho:   %s (%s)\n", title, x.What, x.Why, x.Means, x.Who, x.FixBy)
	for i, s := range x.Next {
		fmt.Fprintf(b, "%d. %s\n", i+1, s.Text)
		for _, line := range []string{s.Command, s.Request} {
			if line != "" {
				fmt.Fprintf(b, "   %s\n", line)
			}
		}
	}
	b.WriteString("\n")
}

func explanations() string {
	var b strings.Builder
	for _, r := range runs() {
		show(&b, "run "+r.name+", for an operator", OfRun(r.run, ForOperator))
		portal := r.run
		portal.Actions = nil
		if strings.Contains(strings.Join(r.run.Actions, " "), "cancel") {
			portal.Actions = []string{"cancel"}
		}
		show(&b, "run "+r.name+", for a portal", OfRun(portal, ForPortal))
	}
	finding := Found{Facts: ids, Code: "role-missing", Status: "known", Detail: "user u-ann lacks role member", Affected: "the user lacks a right in the tenant"}
	finding.Finding, finding.Advice = "6f1c9d1e-0000-5000-8000-000000000000", "openstack role add --project 3a --user u-ann r1"
	for _, c := range []struct {
		name   string
		change func(*Found)
	}{
		{"that Tenantry can repair", func(f *Found) { f.Action = "assign-role" }},
		{"whose repair is a command", func(*Found) {}},
		{"about a role that nobody has ordered", func(f *Found) { f.Code, f.Advice = "role-extra-group", Needless+"openstack role remove r1" }},
		{"that a person must judge", func(f *Found) { f.Code, f.Advice, f.Customer = "plan-gone", "find out who has removed {plan}\n", "" }},
		{"about a run", func(f *Found) { f.Code = "run-waits" }},
		{"that is accepted", func(f *Found) {
			f.Status, f.AcceptedBy, f.AcceptedWhy, f.AcceptedUntil = "accepted", "operator olga", "wanted\x1b", "2027-01-31T00:00:00Z"
		}},
		{"that is resolved", func(f *Found) { f.Status = "resolved" }},
		{"of a newer release", func(f *Found) { f.Code = "moon" }},
	} {
		f := finding
		c.change(&f)
		show(&b, "finding "+c.name, OfFinding(f, ForOperator))
	}
	for _, c := range []struct {
		name string
		s    Subscription
	}{
		{"that no run has made", Subscription{}},
		{"that is active, with findings", Subscription{State: "active", Findings: 2}},
		{"that the merchant has suspended", Subscription{State: "suspended"}},
		{"that an operator has suspended", Subscription{State: "suspended", ByOperator: true}},
		{"that is ending", Subscription{State: "ending"}},
		{"whose tenant is kept", Subscription{State: "ending", HeldBy: "operator olga", HeldWhy: "a dispute"}},
		{"whose tenant is not empty", Subscription{State: "ending", Reason: &Fault{Code: "tenant-not-empty", Detail: "2 servers", FixBy: Operator}}},
		{"whose service is down", Subscription{State: "ending", Reason: down}},
		{"that has ended", Subscription{State: "ended"}},
		{"of a newer release", Subscription{State: "moon"}},
	} {
		c.s.Facts = ids
		c.s.Until = "2026-12-04T00:00:00Z"
		show(&b, "subscription "+c.name+", for an operator", OfSubscription(c.s, ForOperator))
		show(&b, "subscription "+c.name+", for a portal", OfSubscription(c.s, ForPortal))
	}
	return b.String()
}

// TestExplanations compares the explanations of runs in each state, of findings and of subscriptions with testdata/explanations.txt. After a
// change of a text, write the file with the flag -update, and read the difference.
func TestExplanations(t *testing.T) {
	got := explanations()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for i, section := range strings.Split(got, "## ") {
		if sections := strings.Split(string(want), "## "); i >= len(sections) || sections[i] != section {
			t.Fatalf("got\n%s\nwant\n%s", section, sections[min(i, len(sections)-1)])
		}
	}
	if strings.ContainsFunc(got, func(r rune) bool { return r != '\n' && hidden(r) }) {
		t.Error("a text contains a character that controls a terminal")
	}
}

func TestEachStateAndReasonIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range runs() {
		seen[r.run.State], seen[r.run.Kind] = true, true
	}
	for _, table := range []map[string]Entry{states, reasons} {
		for word := range table {
			if !seen[word] {
				t.Errorf("testdata/explanations.txt has no run in the state %s, or with this reason", word)
			}
		}
	}
}

// A text may name only facts, and each entry is complete.
func TestEachEntryIsComplete(t *testing.T) {
	named := regexp.MustCompile(`\{([^}]*)\}?`)
	facts := []string{"run", "step", "merchant", "customer", "subscription", "project", "user", "cloud", "finding"}
	for _, table := range Tables() {
		for code, e := range table.Entries {
			texts := []string{e.What, e.Why, e.Means}
			for _, s := range e.Do {
				texts = append(texts, s.Text, s.Command, s.Request)
			}
			for _, text := range texts {
				for _, name := range named.FindAllStringSubmatch(text, -1) {
					filled := Facts{}.text("{" + name[1] + "}")
					if filled == strings.ToUpper(name[1]) && !slices.Contains(facts, name[1]) {
						t.Errorf("%s %s names the unknown fact %q", table.Title, code, name[1])
					}
				}
			}
			if e.What == "" || len(e.FixBy) == 0 {
				t.Errorf("%s %s: what or who is missing", table.Title, code)
			}
			if e.FixBy[0] != Nobody && e.Advice() == "" && table.Title == "Failures" {
				t.Errorf("%s %s does not say what %s does", table.Title, code, e.FixBy[0])
			}
			if (table.Title == "Problems" || table.Title == "Findings") && e.Means == "" {
				t.Errorf("%s %s does not say what it means for the user", table.Title, code)
			}
		}
	}
}

func TestALocalReaderGetsTheFlag(t *testing.T) {
	blocked := with("waiting", "operator", func(r *Run) { r.Reason, r.Actions = taken, []string{"retry"} })
	last := func(r Run) string {
		x := OfRun(r, ForLocal)
		return x.Next[len(x.Next)-1].Command
	}
	if got, want := last(blocked), "tenantry runs retry "+aRun+" --why REASON --local"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	compensated := with("compensated", "", func(r *Run) { r.Cause, r.Actions = taken, []string{"retry"} })
	if got, want := last(compensated), "tenantry runs retry "+aRun+" --why REASON"; got != want {
		t.Errorf("a retry that needs a server: got %s, want %s", got, want)
	}
}
