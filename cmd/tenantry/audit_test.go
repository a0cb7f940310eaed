package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// audits is a fake server that accepts one audit. Each request for the audit gets the next element of states. The last element is then
// repeated.
type audits struct {
	states   []client.Audit
	findings []client.Finding // sorted by id
	problem  string           // if set, the problem that the next request for the audit gets
	asked    client.AuditScope
	reads    int
	at       func(read int) // called before each answer
}

// start starts the server, and returns the environment of an operator who uses it.
func (a *audits) start(t *testing.T) []string {
	t.Helper()
	answer := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(encoded(t, body)))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/audits", func(w http.ResponseWriter, r *http.Request) {
		a.asked = client.AuditScope{}
		if err := json.NewDecoder(r.Body).Decode(&a.asked); err != nil {
			t.Error(err)
		}
		answer(w, http.StatusAccepted, a.states[0])
	})
	mux.HandleFunc("GET /v1/audits/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") != a.states[0].ID {
			t.Errorf("the command asks for the audit %s", r.PathValue("id"))
		}
		a.reads++
		if a.at != nil {
			a.at(a.reads)
		}
		w.Header().Set("Retry-After", fmt.Sprint(4*a.reads-1))
		if a.problem != "" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, `{"type": "/problems/%s", "title": "x"}`, a.problem)
			a.problem = ""
			return
		}
		answer(w, http.StatusOK, a.states[min(a.reads, len(a.states)-1)])
	})
	mux.HandleFunc("GET /v1/findings", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("audit_id") != a.states[0].ID || q.Has("status") || q.Get("limit") != "200" {
			t.Errorf("the command asks for the findings %s", r.URL.RawQuery)
		}
		page := client.FindingList{Findings: []client.Finding{}}
		for _, f := range a.findings {
			if f.ID > q.Get("marker") && len(page.Findings) < 2 {
				page.Findings = append(page.Findings, f)
			}
		}
		if n := len(page.Findings); n > 0 && page.Findings[n-1].ID != a.findings[len(a.findings)-1].ID {
			page.Links = client.Links{{Rel: "next", Href: "x"}}
		}
		answer(w, http.StatusOK, page)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return []string{"TENANTRY_URL=" + server.URL, "OS_TOKEN=token"}
}

// auditIn returns an audit in a state.
func auditIn(state client.AuditState) client.Audit {
	at := time.Unix(1e9, 0).UTC()
	return client.Audit{
		ID: someMerchant, State: state, By: "ann", CreatedAt: at, Found: map[string]int{"high": 1, "info": 2}, Read: map[string]int{"projects": 3},
		Progress: client.AuditProgress{Phase: "reading Keystone", Done: 1, Total: 4},
	}
}

func findingOf(id string, severity client.Severity) client.Finding {
	return client.Finding{
		ID: "00000000-" + id, Code: "tenant-renamed", Severity: severity, Status: client.FindingNew, FirstSeen: time.Unix(1e9, 0).UTC(),
		Objects: []client.FindingObject{{Kind: "project", ID: "p" + id}}, Detail: "it is renamed",
	}
}

func TestAnAuditEndsWithAnExitCode(t *testing.T) {
	pending, complete, gap, failed := auditIn("pending"), auditIn("complete"), auditIn("incomplete"), auditIn("failed")
	gap.Gaps = &[]client.AuditGap{{Code: "users-not-readable", Cloud: some("default"), Detail: "the users of the domain"}}
	failed.Failure = some("Keystone is down")
	three := []client.Finding{findingOf("1", "medium"), findingOf("2", "info"), findingOf("3", "high")}
	for name, c := range map[string]struct {
		ends     client.Audit
		findings []client.Finding
		args     string
		code     int
		says     string
	}{
		"no finding":                              {ends: complete},
		"findings":                                {complete, three, "", exitFindings, "open findings of severity low or worse: 2"},
		"findings, and none of the severity":      {ends: complete, findings: three, args: "--severity critical"},
		"findings, and one of the severity":       {complete, three, "--severity high", exitFindings, "open findings of severity high or worse: 1"},
		"a harmless finding":                      {ends: complete, findings: three[1:2]},
		"a harmless finding of the severity":      {complete, three[1:2], "--severity info", exitFindings, "open findings of severity info or worse: 1"},
		"a finding of a severity of a later time": {complete, []client.Finding{findingOf("1", "dire")}, "--severity critical", exitFindings, "open findings of severity critical or worse: 1"},
		"incomplete, with findings":               {gap, three, "", exitIncomplete, "audit " + someMerchant + " is incomplete: a part could not be assessed"},
		"incomplete, without findings":            {gap, nil, "", exitIncomplete, "audit " + someMerchant + " is incomplete: a part could not be assessed"},
		"failed":                                  {failed, nil, "", exitIncomplete, "audit " + someMerchant + " has failed: Keystone is down"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.says != "" {
				c.says = "tenantry: " + c.says + "\n"
			}
			server := &audits{states: []client.Audit{pending, c.ends}, findings: c.findings}
			code, out, stderr := line(t, server.start(t), strings.Fields("audit run -f json "+c.args)...)
			var got audited
			if err := json.Unmarshal([]byte(out), &got); err != nil || code != c.code || stderr != c.says {
				t.Fatalf("got %d, %v, %s, want %d, %s", code, err, stderr, c.code, c.says)
			}
			if got.Audit.State != c.ends.State || got.Findings == nil || len(got.Findings) != len(c.findings) {
				t.Errorf("got %s", out)
			}
		})
	}
}

func TestAnAuditIsPrinted(t *testing.T) {
	gap := auditIn("incomplete")
	gap.Gaps = &[]client.AuditGap{{Code: "users-not-readable", Cloud: some("default"), Detail: "the users of the domain"}}
	gap.Scope = client.AuditScope{Cloud: some("default"), ProjectID: some("p")}
	gap.EndedAt = some(time.Unix(1e9+60, 0).UTC())
	server := &audits{states: []client.Audit{auditIn("pending"), gap}, findings: []client.Finding{
		findingOf("1", "medium"), findingOf("2", "info"), findingOf("3", "high"), findingOf("4", "medium"), findingOf("5", "low"),
	}}
	code, out, _ := line(t, server.start(t), "audit", "run", "--project", "p")
	want := `audit          ` + someMerchant + `
state          incomplete
scope          cloud default, project p
requested      2001-09-09 01:46:40Z  by ann
ended          2001-09-09 01:47:40Z
open findings  1 high, 2 info
read           3 projects

NOT ASSESSED        CLOUD    MERCHANT  DETAIL
users-not-readable  default  -         the users of the domain

FINDING     SEVERITY  CODE            STATUS  SINCE                 OBJECT      DETAIL
00000000-3  high      tenant-renamed  new     2001-09-09 01:46:40Z  project:p3  it is renamed
00000000-1  medium    tenant-renamed  new     2001-09-09 01:46:40Z  project:p1  it is renamed
00000000-4  medium    tenant-renamed  new     2001-09-09 01:46:40Z  project:p4  it is renamed
00000000-5  low       tenant-renamed  new     2001-09-09 01:46:40Z  project:p5  it is renamed
00000000-2  info      tenant-renamed  new     2001-09-09 01:46:40Z  project:p2  it is renamed

then type  tenantry audit finding FINDING   # who is affected, and what to do
`
	if code != exitIncomplete || out != want {
		t.Errorf("got %d\n%s\nwant\n%s", code, out, want)
	}
	if got := encoded(t, server.asked); got != `{"project_id":"p"}` {
		t.Errorf("the command asked for an audit of %s", got)
	}
	code, out, stderr := line(t, server.start(t), "audit", "run", "--merchant", "m", "--customer", "c", "--no-wait", "-f", "json")
	var got client.Audit
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.State != "pending" || stderr != "" {
		t.Errorf("--no-wait: got %d, %s%s", code, out, stderr)
	}
	if got := encoded(t, server.asked); got != `{"customer_id":"c","merchant_id":"m"}` || server.reads != 1 {
		t.Errorf("the command requested an audit of %s, and read the audit %d times", got, server.reads)
	}
}

// A command that waits for an audit draws each state, and pauses for the time in the header Retry-After. If the server is overloaded, the
// command asks again.
func TestAnAuditIsFollowed(t *testing.T) {
	server := &audits{states: []client.Audit{auditIn("pending"), auditIn("running"), auditIn("running"), auditIn("complete")}}
	server.at = func(read int) {
		if read == 2 {
			server.problem = "overloaded"
		}
	}
	env := variables(server.start(t))
	s, err := dial(env["TENANTRY_URL"], withToken("token"))
	if err != nil {
		t.Fatal(err)
	}
	var pauses []time.Duration
	s.after = func(d time.Duration) <-chan time.Time {
		pauses = append(pauses, d)
		now := make(chan time.Time, 1)
		now <- time.Time{}
		return now
	}
	var drawn []string
	got, err := s.followAudit(t.Context(), server.states[0], func(a client.Audit) { drawn = append(drawn, string(a.State)) })
	if want := []string{"pending", "running", "complete"}; err != nil || got.State != "complete" || !slices.Equal(drawn, want) {
		t.Errorf("got %s, %v, after drawing %v, want %v", got.State, err, drawn, want)
	}
	if want := []time.Duration{3 * time.Second, 7 * time.Second}; !slices.Equal(pauses, want) {
		t.Errorf("the command paused for %v, want %v", pauses, want)
	}
}

// If `audit run` ends before its audit has ended, it prints the command that shows the audit.
func TestAnAuditOutlivesItsCommand(t *testing.T) {
	note := "tenantry: the audit goes on; to look at it, type tenantry audit show " + someMerchant + "\n"
	down := &audits{states: []client.Audit{auditIn("pending")}, problem: "upstream-unavailable"}
	if code, out, stderr := line(t, down.start(t), "audit", "run"); code != exitUnreachable || out != "" || stderr != note+"tenantry: x\ntenantry:   ()\n" {
		t.Errorf("the server is down: got %d, %s%s", code, out, stderr)
	}
	ctx, signal := context.WithCancel(t.Context())
	defer signal()
	waiting := &audits{states: []client.Audit{auditIn("pending")}, at: func(int) { signal() }}
	var out, stderr bytes.Buffer
	p := program{out: &out, err: &stderr, environ: waiting.start(t)}
	if code := p.run(ctx, []string{"audit", "run"}); code != 1 || out.Len() > 0 || stderr.String() != note+"tenantry: interrupted\n" {
		t.Errorf("interrupted: got %d, %s%s", code, &out, &stderr)
	}
}

// If the pages of a server's list never end, the command stops with an error.
func TestAListOfFindingsThatDoesNotEnd(t *testing.T) {
	page := encoded(t, client.FindingList{Findings: []client.Finding{findingOf("1", "low")}, Links: client.Links{{Rel: "next", Href: "x"}}})
	f := &fake{status: 200, answer: page}
	s, err := dial(variables(f.start(t))["TENANTRY_URL"], withToken("token"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.allFindings(t.Context(), client.ListFindingsParams{}); err == nil || f.requests.Load() != 2 {
		t.Errorf("got %v after %d requests, want an error after 2", err, f.requests.Load())
	}
}

func TestTheProgressOfAnAudit(t *testing.T) {
	at := func(phase string, done, total int) client.Audit {
		a := auditIn("running")
		a.Progress = client.AuditProgress{Phase: phase, Done: done, Total: total}
		return a
	}
	for want, a := range map[string]client.Audit{
		"audit " + someMerchant + " waits for a replica": auditIn("pending"),
		"reading the runs": at("reading the runs", 5, 0),
		"[                              ]   0%  reading Keystone":   at("reading Keystone", 0, 9),
		"[##########                    ]  33%  reading Keystone":   at("reading Keystone", 3, 9),
		"[##############################] 100%  reading Keystone":   at("reading Keystone", 12, 9),
		"[                              ]   0%  less than nothing":  at("less than nothing", -3, 9),
		"[###############               ]  50%  " + `a\u001b[2J\nb`: at("a\x1b[2J\nb", 1, 2),
	} {
		if got := progressLine(a, 100); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if got := progressLine(a, 20); utf8.RuneCountInString(got) > 20 {
			t.Errorf("%q does not fit into 20 columns", got)
		}
	}
}

func TestWrongCommandsAboutAudits(t *testing.T) {
	f := &fake{status: 200, answer: "{}"}
	env := f.start(t)
	id := uuid.NewString()
	for _, args := range []string{
		"run --severity bad", "run --severity=", "run x", "list x", "show", "show ..", "show 7", "findings x", "finding ..", "finding",
		"finding a/b", "finding 0123456", "accept " + id, "accept " + id + " --why x --withdraw", "accept " + id + " --withdraw --until 1h",
		"accept " + id + " --until 1h", "accept " + id + " --why x --until soon", "accept .. --why x", "accept --why x", "frobnicate",
	} {
		if code, _, stderr := line(t, env, append([]string{"audit"}, strings.Fields(args)...)...); code != exitUsage {
			t.Errorf("audit %s: got %d, %s", args, code, stderr)
		}
	}
	if n := f.requests.Load(); n > 0 {
		t.Errorf("the commands sent %d requests, want none", n)
	}
}

func TestTheEndOfAnAcceptance(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "2999-01-31": "2999-01-31T00:00:00Z", "2999-01-31T12:00:00+01:00": "2999-01-31T12:00:00+01:00",
	} {
		if got, err := future(text); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
	}
	before := time.Now()
	got, err := future("24h")
	at, parsed := time.Parse(time.RFC3339, got)
	if d := at.Sub(before) - 24*time.Hour; err != nil || parsed != nil || d < -time.Second || d > time.Minute {
		t.Errorf("24h: got %s, %v, %v", got, err, parsed)
	}
}
