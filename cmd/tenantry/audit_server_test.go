package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/audit"
)

const (
	firstAudit  = "0199f000-0000-7000-8000-000000000001"
	secondAudit = "0199f000-0000-7000-8000-000000000002"
	thirdAudit  = "0199f000-0000-7000-8000-000000000003"
	oneFinding  = "11111111-0000-5000-8000-000000000000"
	goneFinding = "22222222-0000-5000-8000-000000000000"
)

// auditedDatabase returns a function that writes two findings and three audits to a database. The first audit has seen both findings. The
// second audit has seen only oneFinding. The third audit is running: an invented replica executes it, so that the server executes no other
// audit.
func auditedDatabase(t *testing.T) func(url string) {
	return func(url string) {
		s, _, err := open(t.Context(), withDatabase(url))
		if err != nil {
			t.Fatal(err)
		}
		findings := []audit.Finding{
			{
				ID: oneFinding, Code: "tenant-renamed", Severity: audit.Medium, Cloud: "default", ProjectID: "p", MerchantID: someMerchant,
				Objects: []audit.Object{{Kind: "project", ID: "p", Name: "nobody's"}}, Detail: "it is renamed", Affected: "runs",
				Repair: audit.Repair{Action: audit.TagProject, Advice: "rename it", Values: map[string]string{"name": "x", "id": "p"}},
			},
			{ID: goneFinding, Code: "plan-gone", Severity: audit.High, Detail: "it is gone", Affected: "a customer"},
		}
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		audits := s.Audits()
		for i, o := range []audit.Outcome{
			{Seen: findings}, {Seen: findings[:1], Resolved: []string{goneFinding}}, {},
		} {
			at = at.Add(time.Hour)
			o.Audit = audit.Audit{
				ID: []string{firstAudit, secondAudit, thirdAudit}[i], By: "ann", CreatedAt: at, State: audit.Pending,
			}
			if err := audits.Create(t.Context(), o.Audit); err != nil {
				t.Fatal(err)
			}
			if _, err := audits.Take(t.Context(), "the test", at, at); err != nil {
				t.Fatal(err)
			}
			if i == 2 {
				err = audits.Beat(t.Context(), o.Audit.ID, "the test", at.AddDate(900, 0, 0), audit.Progress{Phase: "testing", Done: 1, Total: 2})
			} else {
				o.Audit.State, o.Audit.EndedAt = audit.Complete, &at
				o.Audit.Found, o.Audit.Read = map[string]int{"medium": 1}, map[string]int{"projects": 3}
				err = audits.Finish(t.Context(), "the test", o)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAuditsOfAServer(t *testing.T) {
	h := newHouse(t, auditedDatabase(t))
	// shows checks the output of a command, with a server and with --local.
	shows := func(args string, want ...string) {
		t.Helper()
		code, out, stderr := line(t, h.operator(), append([]string{"audit"}, strings.Fields(args)...)...)
		for _, text := range want {
			if code != 0 || !strings.Contains(words(out), text) || stderr != "" {
				t.Errorf("audit %s: got %d, %s%s, want %q", args, code, out, stderr, text)
			}
		}
		if _, local, stderr := line(t, h.settings, append([]string{"audit", "--local"}, strings.Fields(args)...)...); local != out {
			t.Errorf("audit --local %s: got %s%s, want %s", args, local, stderr, out)
		}
	}
	shows("list", "AUDIT STATE REQUESTED BY SCOPE OPEN FINDINGS\n"+thirdAudit+" running ",
		secondAudit+" complete 2026-01-02 05:04:05Z ann all 1 medium\n")
	shows("list --limit 1 --marker "+secondAudit, firstAudit+" complete ")
	shows("show "+secondAudit, "\nstate complete\n", "\nopen findings 1 medium\nread 3 projects\n")
	shows("show "+thirdAudit, "\nprogress testing, 1 of 2\n")
	shows("findings", "FINDING SEVERITY CODE STATUS SINCE OBJECT DETAIL\n"+
		oneFinding+" medium tenant-renamed known 2026-01-02 04:04:05Z project:p it is renamed\n")
	shows("findings --status resolved,new --code plan-gone",
		oneLine(goneFinding+" high plan-gone resolved 2026-01-02 04:04:05Z - it is gone"))
	shows("findings --severity critical --cloud default --merchant "+someMerchant+" --project p --audit "+secondAudit+" -f json", `"findings": []`)
	shows("findings --customer "+someMerchant+" --subscription "+someMerchant+" --user u --limit 1 --marker "+oneFinding+" -f yaml", "findings: []")
	shows("finding "+oneFinding, "code tenant-renamed\n", "\naffected runs\n", "\nchange tag-project id=p name=x\n", "\nadvice rename it\n",
		"\nproject:p nobody's\n", "\n2026-01-02 04:04:05Z new audit "+firstAudit+" - -\n", "\n2026-01-02 05:04:05Z known audit "+secondAudit+" - -\n")

	change := func(code int, want, args string) {
		t.Helper()
		got, out, stderr := line(t, h.operator(), append([]string{"audit", "accept"}, strings.Fields(args)...)...)
		if got != code || !strings.Contains(words(out+stderr), want) {
			t.Errorf("audit accept %s: got %d, %s%s, want %d, %q", args, got, out, stderr, code, want)
		}
	}
	change(0, "\nuntil 2999-01-31 00:00:00Z\n", oneFinding+" --why needed --until 2999-01-31")
	shows("findings --status accepted", oneFinding+" medium tenant-renamed accepted ")
	shows("finding "+oneFinding, " accepted admin (user ", " needed 2999-01-31 00:00:00Z\n")
	change(0, "\nstatus known\n", oneFinding+" --withdraw")
	change(exitRefused, "The finding is resolved: ", goneFinding+" --why x")
	change(exitRefused, "There is no such finding: ", uuid.NewString()+" --why x")
	change(exitRefused, "/until: the time is not in the future", oneFinding+" --why x --until 2001-01-31")
	code, out, stderr := line(t, h.settings, "audit", "accept", oneFinding, "--why", "x", "--local")
	if code != 0 || !strings.Contains(words(out), " by local:") {
		t.Errorf("--local: got %d, %s%s", code, out, stderr)
	}

	code, out, stderr = line(t, h.operator(), "audit", "run", "--merchant", h.merchant.ID, "--no-wait")
	if code != 0 || !strings.Contains(words(out), "\nstate pending\nscope merchant "+h.merchant.ID+"\n") || stderr != "" {
		t.Errorf("audit run: got %d, %s%s", code, out, stderr)
	}
	code, out, stderr = line(t, h.settings, "audit", "run", "--local", "--cloud", "default", "--project", "p", "--no-wait")
	if code != 0 || !strings.Contains(words(out), "\nscope cloud default, project p\n") || !strings.Contains(words(out), " by local:") {
		t.Errorf("audit run --local: got %d, %s%s", code, out, stderr)
	}
	code, _, stderr = line(t, h.operator(), "audit", "run", "--merchant", uuid.NewString())
	if code != exitRefused || !strings.Contains(stderr, "/merchant_id: ") {
		t.Errorf("audit run for an unknown merchant: got %d, %s", code, stderr)
	}
}

// words replaces each sequence of blanks in a text by one blank.
func words(text string) string {
	lines := strings.Split(text, "\n")
	for i, one := range lines {
		lines[i] = strings.Join(strings.Fields(one), " ")
	}
	return strings.Join(lines, "\n")
}

// oneLine returns the end of a table of findings whose only row is `text`.
func oneLine(text string) string { return "DETAIL\n" + text + "\n" }

func TestWhois(t *testing.T) {
	h := newHouse(t, auditedDatabase(t))
	_, out, _ := h.subscribe(h.env, "-f", "json")
	var run client.Run
	h.ok(json.Unmarshal([]byte(out), &run))
	id := func(name string) string { return fmt.Sprint(run.Result[name]) }
	for flag, c := range map[string]struct {
		id   string
		want int // entries
	}{
		"project": {id("subscription_tenant_id"), 2}, "user": {valueOf(run.UserID), len(run.Objects)},
		"customer": {id("customer_id"), len(run.Objects)}, "subscription": {id("subscription_id"), len(run.Objects)},
	} {
		var first string
		for i, args := range [][]string{{"--" + flag, c.id}, {c.id}} {
			code, out, stderr := line(t, h.operator(), append([]string{"whois"}, args...)...)
			lines := strings.Split(strings.TrimSpace(words(out)), "\n")
			if code != 0 || len(lines) != c.want+2 || lines[0] != flag+" "+c.id || stderr != "" {
				t.Fatalf("whois %v: got %d, %s%s, want %d entries", args, code, out, stderr, c.want)
			}
			for _, o := range run.Objects {
				if flag == "project" && !strings.HasPrefix(o.ID, c.id) {
					continue
				}
				want := fmt.Sprintf("%s:%s %s %s %s subscribe (succeeded) %s ", o.Kind, o.ID, or(o.Name), o.Origin, run.ID, o.Step)
				has := func(l string) bool { return strings.HasPrefix(l, want) && strings.Contains(l, "portal with key tk_") }
				if !slices.ContainsFunc(lines, has) {
					t.Errorf("whois %v: got %s, want %s", args, out, want)
				}
			}
			if i == 0 {
				first = out
			} else if first != out {
				t.Errorf("with the flag: %s, without: %s", first, out)
			}
			if _, local, stderr := line(t, h.settings, append([]string{"whois", "--local"}, args...)...); local != out {
				t.Errorf("whois --local %v: got %s%s, want %s", args, local, stderr, out)
			}
		}
	}
	code, out, stderr := line(t, h.operator(), "whois", "john.doe")
	if want := "no run has made, adopted or removed john.doe, and no audit has found it\n"; code != 0 || out != want || stderr != "" {
		t.Errorf("nobody: got %d, %s%s", code, out, stderr)
	}
	code, out, stderr = line(t, h.operator(), "whois", "p")
	want := "project p\n\nFINDING SEVERITY CODE STATUS SINCE OBJECT DETAIL\n" + oneFinding + " medium tenant-renamed known "
	if code != 0 || !strings.HasPrefix(words(out), want) || stderr != "" {
		t.Errorf("a project that no run has made: got %d, %s%s, want %s", code, out, stderr, want)
	}
	code, out, _ = line(t, h.operator(), "whois", id("customer_id"), "-f", "json")
	var got accounts
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || len(got.Found) != 1 || got.Found[0].Kind != "customer" ||
		len(got.Found[0].Entries) != len(run.Objects) {
		t.Errorf("as JSON: got %d, %v, %s", code, err, out)
	}
	if code, _, stderr := line(t, h.operator(), "whois", "a/b"); code != exitRefused || !strings.Contains(stderr, "project_id: ") {
		t.Errorf("an id that no project has: got %d, %s", code, stderr)
	}
	for _, args := range []string{"", "a b", "a --user b", "--user a --project b"} {
		if code, _, stderr := line(t, h.operator(), append([]string{"whois"}, strings.Fields(args)...)...); code != exitUsage {
			t.Errorf("whois %s: got %d, %s", args, code, stderr)
		}
	}
	if code, _, _ := line(t, h.operator(), "whois", ""); code != exitUsage {
		t.Errorf("whois of an empty id: got %d", code)
	}
}

// If the pages of a server's ledger never end, the command stops with an error.
func TestALedgerThatDoesNotEnd(t *testing.T) {
	entry := client.LedgerEntry{Kind: "project", ID: "p", RunID: someMerchant}
	for _, entries := range [][]client.LedgerEntry{{entry}, {}} {
		page := client.Ledger{Entries: entries, Findings: []client.Finding{}, Links: client.Links{{Rel: "next", Href: "x"}}}
		f := &fake{status: http.StatusOK, answer: encoded(t, page)}
		code, _, stderr := line(t, f.start(t), "whois", "--user", "u")
		if code != exitUnreachable || !strings.Contains(stderr, "does not end") || f.requests.Load() > 2 {
			t.Errorf("got %d, %s after %d requests", code, stderr, f.requests.Load())
		}
	}
}

// An operator runs an audit, finds a role that somebody has revoked, looks up the run that assigned the role, and accepts the finding.
func TestAnAuditFromTheCommandLine(t *testing.T) {
	h := newHouse(t)
	_, out, _ := h.subscribe(h.env, "-f", "json")
	var run client.Run
	h.ok(json.Unmarshal([]byte(out), &run))
	audit := func(code int, want ...string) string {
		t.Helper()
		got, out, stderr := line(t, h.operator(), "audit", "run")
		for _, text := range want {
			if got != code || !strings.Contains(words(out)+stderr, text) {
				t.Fatalf("audit run: got %d, %s%s, want %d, %q", got, out, stderr, code, text)
			}
		}
		return out
	}
	audit(0, "\nstate complete\nscope all\n", "\nopen findings none\n")

	assignments := h.keystone.Assignments()
	revoked := assignments[len(assignments)-1]
	h.keystone.Unassign(revoked)
	role := "role-assignment:" + revoked.ProjectID + "/" + revoked.UserID + "/" + revoked.RoleID
	found := audit(exitFindings, "\nopen findings 1 high\n", " high role-missing new ", "open findings of severity low or worse: 1\n")
	_, row, _ := strings.Cut(found, "DETAIL\n")
	finding, _, _ := strings.Cut(row, " ")

	code, out, stderr := line(t, h.operator(), "whois", revoked.ProjectID)
	i := strings.Index(words(out), "\n"+role+" ")
	if code != 0 || i < 0 || !strings.Contains(strings.SplitN(words(out)[i+1:], "\n", 2)[0], " "+run.ID+" subscribe (succeeded) ") ||
		!strings.Contains(words(out), " role-missing "+finding+" (new)\n") {
		t.Errorf("whois: got %d, %s%s, want %s, run %s and finding %s", code, out, stderr, role, run.ID, finding)
	}
	code, out, stderr = line(t, h.operator(), "audit", "accept", finding, "--why", "the user does not need it", "--until", "720h")
	if code != 0 || !strings.Contains(words(out), "\nstatus accepted\n") {
		t.Errorf("audit accept: got %d, %s%s", code, out, stderr)
	}
	audit(0, "\nopen findings none\n")
}
