package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/escape"
)

const somePlan = "0199f0a4-6c1e-7d3b-9a55-0c2f6f7c8b1d"

// repairer is a fake server that has one repair plan. The test sets the server's answers to requests for repairs.
type repairer struct {
	t     *testing.T
	plan  client.RepairPlan
	asked client.RepairPlanFilter

	planning func() // called while the plan is made

	mu       sync.Mutex
	requests []client.RepairRequest
	paths    []string                                        // of all requests
	answer   func(n int, finding string) client.RepairResult // returns the result of entry number n of a request; nil means that each entry gets a run that succeeds
	problem  func(request int) (status int, kind string)     // returns the problem for a request for repairs; requests are counted from 0; nil or status 0 means no problem
	runs     map[string][]client.Run                         // by run id: the answers to successive requests for the run; the last answer is repeated
	refuse   int                                             // this number of requests for runs get the problem overloaded; later requests get the run
}

// start starts the server, and returns the environment of an operator who uses it.
func (r *repairer) start() []string {
	r.t.Helper()
	server := httptest.NewServer(r)
	r.t.Cleanup(server.Close)
	return []string{"TENANTRY_URL=" + server.URL, "OS_TOKEN=token"}
}

func (r *repairer) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := func(status int, body any) {
		kind := "application/json"
		if status >= 300 {
			kind, body = "application/problem+json", client.Problem{Type: fmt.Sprint("/problems/", body), Title: fmt.Sprint("the problem ", body), RequestID: "req-1"}
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(encoded(r.t, body)))
	}
	r.paths = append(r.paths, q.Method+" "+q.URL.Path)
	switch path := q.Method + " " + q.URL.Path; path {
	case "POST /v1/repair-plans":
		if r.planning != nil {
			r.planning()
		}
		r.asked = client.RepairPlanFilter{}
		if err := json.NewDecoder(q.Body).Decode(&r.asked); err != nil {
			r.t.Error(err)
		}
		answer(http.StatusCreated, r.plan)
	case "GET /v1/repair-plans/" + r.plan.ID:
		answer(http.StatusOK, r.plan)
	case "POST /v1/repairs":
		var request client.RepairRequest
		if err := json.NewDecoder(q.Body).Decode(&request); err != nil {
			r.t.Error(err)
		}
		r.requests = append(r.requests, request)
		if r.problem != nil {
			if status, kind := r.problem(len(r.requests) - 1); status > 0 {
				answer(status, kind)
				return
			}
		}
		all := client.RepairAnswer{PlanID: request.PlanID}
		for i, e := range request.Entries {
			result := started(e.FindingID, client.RunStatePending)
			if r.answer != nil {
				result = r.answer(i, e.FindingID)
			}
			result.FindingID = e.FindingID
			all.Repairs = append(all.Repairs, result)
		}
		if valueOf(request.DryRun) {
			answer(http.StatusOK, all)
			return
		}
		answer(http.StatusAccepted, all)
	default:
		id, ok := strings.CutPrefix(path, "GET /v1/runs/")
		if r.refuse > 0 {
			r.refuse--
			answer(http.StatusServiceUnavailable, "overloaded")
			return
		}
		if states := r.runs[id]; len(states) > 0 {
			if len(states) > 1 {
				r.runs[id] = states[1:]
			}
			answer(http.StatusOK, states[0])
		} else if ok {
			answer(http.StatusOK, runIn(id, client.RunStateSucceeded, true))
		} else {
			answer(http.StatusNotFound, "plan-not-found")
		}
	}
}

// runFor returns the id of the run of a finding.
func runFor(finding string) string { return "0199f0a4-0000-7000-8000-" + finding[24:] }

func started(finding string, state client.RunState) client.RepairResult {
	return client.RepairResult{RunID: some(runFor(finding)), RunState: &state}
}

func runIn(id string, state client.RunState, atRest bool) client.Run {
	return client.Run{ID: id, State: state, AtRest: atRest, Steps: []client.Step{}, CreatedAt: time.Unix(1e9, 0), Workflow: "repair"}
}

// findingNumber returns the id of the finding with the number n.
func findingNumber(n int) string { return fmt.Sprintf("6f1c2d5e-8a3b-5c4d-9e7f-%012d", n) }

// planOf returns a plan with n entries.
func planOf(n int) client.RepairPlan {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	p := client.RepairPlan{ID: somePlan, Installation: someMerchant, CreatedAt: at, ExpiresAt: at.AddDate(0, 0, 7), By: "ann", Entries: []client.RepairPlanEntry{}}
	for i := range n {
		p.Entries = append(p.Entries, client.RepairPlanEntry{
			FindingID: findingNumber(i), Code: "role-missing", Severity: "high", Detail: "the role is missing", MerchantID: someMerchant,
			Cloud: some("default"), ProjectID: some("0123"), UserID: some("u1"), RunID: someMerchant, Objects: []client.FindingObject{},
			Action: "assign-role", Values: map[string]string{"project_id": "0123", "role_id": "r1", "user_id": "u1"},
		})
	}
	return p
}

// planned lets the command write the plan to a file, and returns the name and the text of the file.
func (r *repairer) planned(env []string, args ...string) (name, text string) {
	r.t.Helper()
	name = filepath.Join(r.t.TempDir(), "repair.yaml")
	code, out, stderr := line(r.t, env, append([]string{"audit", "plan", "-o", name}, args...)...)
	if code != 0 || out != "" || !strings.HasPrefix(stderr, "wrote "+name+"\n") {
		r.t.Fatalf("got %d, %s%s", code, out, stderr)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return name, string(content)
}

func (r *repairer) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// approve approves all entries of a file.
func approve(text string) string {
	return strings.ReplaceAll(text, "approve: false\n", "approve: true\n")
}

func TestPlansAreListed(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	plans := client.RepairPlanList{
		Plans: []client.RepairPlanSummary{{ID: somePlan, By: "ann", CreatedAt: at, ExpiresAt: at.AddDate(0, 0, 7), Size: 12, Approved: 3}},
		Links: client.Links{{Rel: "next", Href: "/v1/repair-plans?marker=" + somePlan}},
	}
	env := (&fake{status: http.StatusOK, answer: encoded(t, plans)}).start(t)
	code, out, stderr := line(t, env, "audit", "plans")
	want := "PLAN MADE EXPIRES BY ENTRIES APPROVED " + somePlan + " 2026-03-04 05:06:07Z 2026-03-11 05:06:07Z ann 12 3"
	if got := strings.Join(strings.Fields(out), " "); code != 0 || got != want || !strings.Contains(stderr, "--marker "+somePlan) {
		t.Errorf("got %d, %s%s, want %s", code, out, stderr, want)
	}
	for _, answer := range []string{`{}`, `{"plans": [{"id": "x"}], "links": []}`} {
		if code, out, stderr := line(t, (&fake{status: http.StatusOK, answer: answer}).start(t), "audit", "plans"); code != exitUnreachable || out != "" || stderr == "" {
			t.Errorf("the answer %s: got %d, %s%s", answer, code, out, stderr)
		}
	}
}

func TestAPlanIsWrittenToAFile(t *testing.T) {
	r := &repairer{t: t, plan: planOf(1)}
	r.plan.LeftOut, r.plan.Suspect = 2, 3
	env := r.start()
	name, text := r.planned(env, "--severity", "high", "--code", "role-missing,tag-missing", "--merchant", someMerchant, "--customer", somePlan,
		"--cloud", "default", "--project", "p", "--user", "u", "--subscription", "s", "--audit", "a", "--finding", "f1,f2", "--finding", "f3")
	want := client.RepairPlanFilter{
		Severity: some(client.SeverityHigh), Code: &[]string{"role-missing", "tag-missing"}, MerchantID: some(someMerchant), CustomerID: some(somePlan),
		Cloud: some("default"), ProjectID: some("p"), UserID: some("u"), SubscriptionID: some("s"), AuditID: some("a"),
		FindingID: &[]string{"f1", "f2", "f3"},
	}
	if !reflect.DeepEqual(r.asked, want) {
		t.Errorf("the command asked for %+v, want %+v", r.asked, want)
	}
	body := `plan: "` + somePlan + `"
installation: "` + someMerchant + `"
created_at: "2026-03-04T05:06:07.000008Z"
expires_at: "2026-03-11T05:06:07.000008Z"
entries:
  - finding: "6f1c2d5e-8a3b-5c4d-9e7f-000000000000"
    code: role-missing
    severity: high
    what: the role is missing
    action: assign-role
    merchant_id: "` + someMerchant + `"
    cloud: default
    project_id: "0123"
    user_id: "u1"
    run_id: "` + someMerchant + `"
    values:
      project_id: "0123"
      role_id: "r1"
      user_id: "u1"
    approve: false
    comment: ""
`
	head, got, _ := strings.Cut(text, "\n\n")
	if got != body || !strings.Contains(head, "before 2026-03-11 05:06:07Z: later, the plan is refused. Change nothing else") {
		t.Errorf("got %s\nwant %s", text, body)
	}
	code, out, stderr := line(t, env, "audit", "plan", "-o", "-")
	if code != 0 || out != text || stderr != "plan "+somePlan+" can be applied before 2026-03-11 05:06:07Z; repairs: 1\n"+
		"2 more findings have a repair, but did not fit into the plan: plan again after the repairs of this plan\n"+
		"3 findings were left out, because a list of Keystone or BillingStack seems to be incomplete: see the findings with the code suspect-absence\n" {
		t.Errorf("to standard output: got %d, %s%s", code, out, stderr)
	}

	r.write(name, "mine")
	before := len(r.paths)
	code, _, stderr = line(t, env, "audit", "plan", "-o", name)
	if content, _ := os.ReadFile(name); code != exitUsage || !strings.Contains(stderr, "exists already") || string(content) != "mine" || len(r.paths) > before {
		t.Errorf("the file exists: got %d, %s, and the file has %q", code, stderr, content)
	}
	other := filepath.Join(t.TempDir(), "other")
	r.planning = func() { r.write(other, "theirs") }
	code, _, stderr = line(t, env, "audit", "plan", "-o", other)
	if content, _ := os.ReadFile(other); code != exitUsage || !strings.Contains(stderr, "exists already") || string(content) != "theirs" {
		t.Errorf("the file appears while the plan is made: got %d, %s, and the file has %q", code, stderr, content)
	}
	r.planning = nil
	if code, _, stderr = line(t, env, "audit", "plan", "-o", name, "--force"); code != 0 {
		t.Errorf("with --force: got %d, %s", code, stderr)
	}
	if content, _ := os.ReadFile(name); string(content) != text {
		t.Errorf("with --force: the file has %s", content)
	}
	if files, err := os.ReadDir(filepath.Dir(name)); err != nil || len(files) != 1 {
		t.Errorf("got the files %v, %v; want only the plan", files, err)
	}
	for _, path := range []string{t.TempDir(), filepath.Join(name, "x"), filepath.Join(t.TempDir(), "no", "x")} {
		if code, _, stderr := line(t, env, "audit", "plan", "--force", "-o", path); code != exitUsage || stderr == "" {
			t.Errorf("-o %s: got %d, %s", path, code, stderr)
		}
	}
	if code, _, _ := line(t, env, "audit", "plan"); code != exitUsage {
		t.Errorf("without -o: got %d", code)
	}

	r.plan = planOf(0)
	empty := filepath.Join(t.TempDir(), "x")
	for _, path := range []string{empty, "-"} {
		code, out, stderr = line(t, env, "audit", "plan", "-o", path)
		if code != 0 || out != "" || stderr != "there is nothing to repair, and no file was written\n" {
			t.Errorf("nothing to repair: got %d, %s%s", code, out, stderr)
		}
	}
	if _, err := os.Lstat(empty); err == nil {
		t.Error("a file was written although there is nothing to repair")
	}
}

// hostileTexts returns texts that could be parsed as YAML syntax, or that could control a terminal.
func hostileTexts() []string {
	all := []string{
		evil, "", " ", "a: b", "a #b", "# x", "- x", "? x", "!!binary x", "!x", "&a", "*a", "a<<", "<<", "%TAG", "@", "`", "|", ">", "[", "{", "}", ",", "'", "\"", "\\", "\\n",
		"null", "~", "true", "True", "no", "0123", "1e3", "0x1F", ".inf", ".nan", "2026-03-04", "---", "...", "a\nb", "a\n  b: c\n", "\n", "\r\n", "\t", "x\t", "a ", " a",
		"\x1b[2J", "\u0085", "\u2028", "\ufeff", "\U000E0041", "\u200d", "\x00", "\x7f", "é", "🎉", "approve: true", "\"\n    approve: true\n    comment: \"", "a\\", "a\\\"", "${HOME}", "=",
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same texts each time
	for range 600 {
		var parts []string
		for range 1 + random.IntN(4) {
			parts = append(parts, all[random.IntN(len(all))])
		}
		all = append(all, strings.Join(parts, ""))
	}
	return all
}

// A plan may contain any text. Its file can still be applied unchanged, and contains no character that controls a terminal.
func TestHostileTextsOfAPlan(t *testing.T) {
	r := &repairer{t: t, plan: planOf(0)}
	for i, text := range hostileTexts() {
		e := planOf(1).Entries[0]
		e.FindingID, e.Code, e.Severity, e.Detail, e.MerchantID, e.RunID, e.Action = findingNumber(i), text, client.Severity(text), text, text, text, "x"+text
		e.Cloud, e.CustomerID, e.SubscriptionID, e.ProjectID, e.UserID = &text, &text, &text, &text, &text
		e.Values = map[string]string{text: text, "user_id": text, text + "x": ""}
		r.plan.Entries = append(r.plan.Entries, e)
	}
	r.plan.Installation = evil
	env := r.start()
	name, text := r.planned(env)
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && escape.Controls(r) }); i >= 0 {
		t.Errorf("the file contains the control character %q", []rune(text[i:])[0])
	}
	if strings.Contains(text, "approve: true\n    comment") || strings.Count(text, "\n    approve: ") != len(r.plan.Entries) {
		t.Error("a text of the plan has become a key of the file")
	}
	r.write(name, strings.Replace(text, "    approve: false", "    approve: true", 1))
	code, out, stderr := line(t, env, "audit", "apply", name)
	if code != 0 || len(r.requests) != 1 || len(r.requests[0].Entries) != 1 || r.requests[0].Entries[0].FindingID != findingNumber(0) {
		t.Fatalf("got %d, %.2000s, %v", code, stderr, r.requests)
	}
	harmless(t, "audit apply", "\n"+out+stderr)
	code, out, _ = line(t, env, "audit", "plan", "-o", "-")
	if code != 0 || out != text {
		t.Errorf("to standard output: got %d, and a text that differs from the file", code)
	}
	for i := range r.plan.Entries { // now each entry of the plan differs from the file
		r.plan.Entries[i].Values["user_id"] += "!"
	}
	code, _, stderr = line(t, env, "audit", "apply", name)
	if code != exitUsage || !strings.Contains(stderr, fmt.Sprintf(": %d more faults\n", len(r.plan.Entries)-maxFileFaults)) {
		t.Errorf("each entry differs: got %d, %.2000s", code, stderr)
	}
	harmless(t, "audit apply", "\nforged\n"+stderr)
}

// The command accepts a file in which the keys and entries are in another sequence, the quotes differ, and comments are missing or added.
func TestAPlanInAnotherForm(t *testing.T) {
	r := &repairer{t: t, plan: planOf(3)}
	r.plan.Entries[2].Values = map[string]string{}
	env := r.start()
	name, text := r.planned(env)
	var back map[string]any
	if err := yaml.Unmarshal([]byte(approve(text)), &back); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(back["entries"].([]any))
	other, err := yaml.Marshal(back) // sorts the keys
	if err != nil {
		t.Fatal(err)
	}
	flow, err := json.MarshalIndent(back, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	unquoted := strings.NewReplacer(`"`+someMerchant+`"`, someMerchant, `"0123"`, "0123", `"u1"`, "'u1'", `    comment: ""`, "    comment: # later",
		"the role is missing\n", ">-\n      the role\n      is missing\n").Replace(approve(text))
	for what, form := range map[string]string{
		"other order and quotes": string(other), "JSON": string(flow), "without quotes": unquoted, "no comments": strings.ReplaceAll(approve(text), "    comment: \"\"\n", ""),
		"lines of Windows": strings.ReplaceAll(approve(text), "\n", "\r\n"), "a byte order mark": "\ufeff" + approve(text), "a document marker": "---\n" + approve(text),
	} {
		r.requests = nil
		r.write(name, form)
		code, _, stderr := line(t, env, "audit", "apply", name, "--wait", "0s")
		if code != 0 || len(r.requests) != 1 || len(r.requests[0].Entries) != 3 || r.requests[0].Entries[0].FindingID != findingNumber(0) {
			t.Errorf("%s: got %d, %s, %v\n%s", what, code, stderr, r.requests, form)
		}
	}
}

// If a file differs from the plan, the command names the lines that differ, and sends nothing.
func TestRefusedFiles(t *testing.T) {
	r := &repairer{t: t, plan: planOf(2)}
	env := r.start()
	name, text := r.planned(env)
	text = approve(text)
	head := strings.Count(strings.SplitAfter(text, "\n\n")[0], "\n") // the number of lines of the header
	entry := text[strings.Index(text, "  - finding"):strings.LastIndex(text, "\n  - finding")]
	second := strings.LastIndex(text, "  - finding")
	before, _, _ := strings.Cut(text, "entries:")
	replaced := func(old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("the file does not contain %q", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	in2 := func(old, new string) string { return text[:second] + strings.Replace(text[second:], old, new, 1) }
	const only = ": only the keys approve and comment may be changed"
	long := strings.Repeat("x", 1001)
	for what, c := range map[string]struct {
		text string
		line int    // counted from the end of the header; -1 means line 1 of the file
		says string // the message after the name of the file and the line number
	}{
		"another value":                 {in2(`user_id: "u1"`+"\n    approve", `user_id: "u2"`+"\n    approve"), 36, `values.user_id: the plan has "u1"` + only},
		"another user":                  {replaced(`user_id: "u1"`, `user_id: "u2"`), 14, `user_id: the plan has "u1"` + only},
		"a value that is removed":       {replaced("      role_id: \"r1\"\n", ""), 6, `values.role_id is missing: the plan has "r1"` + only},
		"a value that is added":         {replaced("      role_id: \"r1\"\n", "      role_id: \"r1\"\n      x: y\n"), 19, "values.x: the plan has no such value" + only},
		"no values":                     {replaced("    values:\n      project_id: \"0123\"\n      role_id: \"r1\"\n      user_id: \"u1\"\n", ""), 6, "the key values is missing in the entry" + only},
		"values that are a text":        {replaced("values:\n      project_id: \"0123\"\n      role_id: \"r1\"\n      user_id: \"u1\"\n", "values: x\n"), 16, "values must be a mapping of keys to values"},
		"a value that is a list":        {replaced(`role_id: "r1"`, `role_id: ["r1"]`), 18, "values.role_id: the value must be a text"},
		"a value that is null":          {replaced(`role_id: "r1"`, `role_id:`), 18, "values.role_id: the value must be a text"},
		"another action":                {replaced("assign-role", "revoke-role"), 10, `action: the plan has "assign-role"` + only},
		"another detail":                {replaced("the role is missing", "the role is"), 9, `what: the plan has "the role is missing"` + only},
		"another severity":              {replaced("severity: high", "severity: low"), 8, `severity: the plan has "high"` + only},
		"a key that is removed":         {replaced("    cloud: default\n", ""), 6, `cloud is missing: the plan has "default"` + only},
		"a key that the entry lacks":    {replaced("    cloud: default\n", "    cloud: default\n    customer_id: x\n"), 13, "customer_id: the plan has no such value" + only},
		"a key that no entry has":       {replaced("    cloud: default\n", "    cloud: default\n    force: true\n"), 13, "force: an entry has no such key" + only},
		"a key twice":                   {replaced("    cloud: default\n", "    cloud: default\n    cloud: default\n"), 13, `mapping key "cloud" already defined at [` + fmt.Sprint(head+12) + ":5]"},
		"a value twice":                 {replaced("      role_id: \"r1\"\n", "      role_id: \"r1\"\n      role_id: \"r1\"\n"), 19, `mapping key "role_id" already defined at [` + fmt.Sprint(head+18) + ":7]"},
		"an approval twice":             {replaced("    approve: true\n", "    approve: true\n    approve: true\n"), 21, `mapping key "approve" already defined at [` + fmt.Sprint(head+20) + ":5]"},
		"a key twice, in quotes":        {replaced("    approve: true\n", "    approve: true\n    \"approve\": true\n"), 21, `mapping key "approve" already defined at [` + fmt.Sprint(head+20) + ":5]"},
		"an anchor":                     {replaced("cloud: default", "cloud: &c default"), 12, "anchors, aliases and tags are not allowed"},
		"an alias":                      {replaced("cloud: default", "cloud: *c"), 12, "anchors, aliases and tags are not allowed"},
		"a tag":                         {replaced("cloud: default", "cloud: !!str default"), 12, "anchors, aliases and tags are not allowed"},
		"a merge":                       {replaced("    cloud: default\n", "    cloud: default\n    <<: {a: b}\n"), 13, "an entry has a key that is not a text"},
		"an entry that is removed":      {text[:second], 5, "entries: the entry for the finding " + findingNumber(1) + " is missing: add the entry again, with approve: false"},
		"an entry that is added":        {text + "\n" + strings.ReplaceAll(entry, findingNumber(0), findingNumber(7)), 40, `finding: the plan has no entry for "` + findingNumber(7) + `"` + only},
		"an entry twice":                {text + "\n" + entry, 40, "finding: the finding " + findingNumber(0) + " occurs twice, first in line " + fmt.Sprint(head+6)},
		"an entry without finding":      {replaced(`  - finding: "`+findingNumber(0)+"\"\n    code", "  - code"), 6, "the entry has no finding" + only},
		"an entry that is a text":       {text + "\n  - x\n", 40, "an entry must be a mapping of keys to values"},
		"an entry that is empty":        {text + "\n  - {}\n", 40, "the entry is empty" + only},
		"approve in quotes":             {replaced("    approve: true", `    approve: "true"`), 20, "approve: the value must be true or false, without quotes"},
		"approve: yes":                  {replaced("    approve: true", "    approve: yes"), 20, "approve: the value must be true or false, without quotes"},
		"approve without value":         {replaced("    approve: true", "    approve:"), 20, "approve: the value must be true or false, without quotes"},
		"no approve":                    {replaced("    approve: true\n", ""), 6, "the key approve is missing in the entry: the value must be true or false"},
		"a comment that is a number":    {replaced(`comment: ""`, "comment: 7"), 21, "comment: the value must be a text: put it into quotes"},
		"a comment that is a list":      {replaced(`comment: ""`, "comment: [a]"), 21, "comment: the value must be a text: put it into quotes"},
		"a comment of two lines":        {replaced(`comment: ""`, "comment: |\n      a\n      b"), 21, "comment: the text must be one line, and cannot contain the character U+000A"},
		"a comment with an emoji":       {replaced(`comment: ""`, "comment: 🎉"), 21, "comment: the text must be one line, and cannot contain the character U+1F389"},
		"a long comment":                {replaced(`comment: ""`, "comment: "+long), 21, "comment: the text is longer than 1000 characters"},
		"another plan's time":           {replaced("2026-03-11T", "2027-03-11T"), 4, `expires_at: the plan has "2026-03-11T05:06:07.000008Z"` + only},
		"another installation":          {replaced(`installation: "`+someMerchant, `installation: "`+somePlan), 2, `installation: the plan has "` + someMerchant + `"` + only},
		"no installation":               {replaced(`installation: "`+someMerchant+"\"\n", ""), -1, `installation is missing: the plan has "` + someMerchant + `"` + only},
		"no plan":                       {replaced(`plan: "`+somePlan+"\"\n", ""), -1, "the key plan is missing: the file is not a repair plan"},
		"a plan that has no id":         {replaced(`plan: "`+somePlan, `plan: "../x`), 1, `plan: "../x` + `" is not the id of a plan: the id must be a lower-case uuid`},
		"an unknown key":                {replaced("entries:", "force: true\nentries:"), 5, "force: there is no such key" + only},
		"no entries":                    {before, -1, "the key entries is missing" + only},
		"entries that are a text":       {before + "entries: x\n", 5, "entries must be a list"},
		"two documents":                 {text + "---\nx: y\n", -1, "the file must have one YAML document"},
		"a list":                        {"- a\n", -1, "the file must be a mapping of keys to values"},
		"a text":                        {"hello\n", -1, "the file must be a mapping of keys to values"},
		"nothing":                       {"", -1, "the file must have one YAML document"},
		"only comments":                 {"# x\n", -1, "the file must have one YAML document"},
		"broken YAML":                   {replaced("    cloud: default\n", "    cloud: [default\n"), 13, "',' or ']' must be specified"},
		"bytes that are no text":        {replaced("cloud: default", "cloud: \xff"), 12, "the file is not valid UTF-8"},
		"texts that control a terminal": {replaced("cloud: default", "cloud: default\n    \"\\e[2J\\nforged\": x"), 13, `\u001b[2J\nforged: an entry has no such key` + only},
	} {
		r.write(name, c.text)
		sent := len(r.requests)
		code, out, stderr := line(t, env, "audit", "apply", name)
		at := head + c.line
		if c.line < 0 {
			at = 1
		}
		want := fmt.Sprintf("tenantry: %s:%d: %s\n", name, at, c.says)
		if code != exitUsage || out != "" || stderr != want || len(r.requests) != sent {
			t.Errorf("%s: got %d, %s%s\nwant %s", what, code, out, stderr, want)
		}
	}
	for what, c := range map[string]struct{ text, says string }{
		"no entry is approved": {strings.ReplaceAll(text, "    approve: true", "    approve: false"), "no entry is approved"},
		"a large file":         {text + strings.Repeat("#", maxPlanFile), "is larger than 4 MiB"},
		"two faults": {
			strings.Replace(replaced("cloud: default", "cloud: x"), "severity: high", "severity: low", 1),
			fmt.Sprintf(`:%d: severity: the plan has "high"%s`+"\ntenantry: "+name+`:%d: cloud: the plan has "default"`, head+8, only, head+12),
		},
	} {
		r.write(name, c.text)
		code, out, stderr := line(t, env, "audit", "apply", name)
		if code != exitUsage || out != "" || !strings.Contains(stderr, c.says) || len(r.requests) > 0 {
			t.Errorf("%s: got %d, %s%s", what, code, out, stderr)
		}
	}
	for _, args := range []string{"", name + " x", name + " --wait -1s", name + " --wait soon", name + " --local", t.TempDir(), name + ".no"} {
		if code, _, stderr := line(t, env, append([]string{"audit", "apply"}, strings.Fields(args)...)...); code != exitUsage || stderr == "" {
			t.Errorf("audit apply %s: got %d, %s", args, code, stderr)
		}
	}
	r.write(name, strings.ReplaceAll(text, somePlan, someMerchant)) // a plan that the server does not have
	if code, _, stderr := line(t, env, "audit", "apply", name); code != exitRefused || !strings.Contains(stderr, "plan-not-found") {
		t.Errorf("a plan that the server does not have: got %d, %s", code, stderr)
	}
}

// A file with deeply nested YAML is refused, and does not crash the program.
func TestAPlanThatNestsDeeply(t *testing.T) {
	r := &repairer{t: t, plan: planOf(1)}
	env := r.start()
	name := filepath.Join(t.TempDir(), "x")
	for _, text := range []string{strings.Repeat("[", 100_000), strings.Repeat("{a: ", 100_000), strings.Repeat("- ", 100_000), "a: &a [" + strings.Repeat("*a,", 1000) + "*a]"} {
		r.write(name, text)
		if code, _, stderr := line(t, env, "audit", "apply", name); code != exitUsage || len(r.paths) > 0 {
			t.Errorf("got %d, %.200s", code, stderr)
		}
	}
}

// The approved entries are sent in batches, in the sequence in which the plan lists them, and the states of their runs are printed.
func TestRepairsAreSentInBatches(t *testing.T) {
	r := &repairer{t: t, plan: planOf(45)}
	env := r.start()
	name, text := r.planned(env)
	text = approve(text)
	first := strings.Index(text, "    approve: true")
	text = text[:first] + "    approve: false" + strings.TrimPrefix(text[first:], "    approve: true") // the first entry is not approved
	text = strings.Replace(text, findingNumber(1), "FINDING", 1)
	before, after, _ := strings.Cut(text, "FINDING")
	r.write(name, before+findingNumber(1)+strings.Replace(after, `comment: ""`, `comment: " agreed with Ann "`, 1))
	r.problem = func(n int) (int, string) {
		if n == 1 {
			return http.StatusServiceUnavailable, "overloaded"
		}
		return 0, ""
	}
	r.runs = map[string][]client.Run{runFor(findingNumber(2)): {
		runIn(runFor(findingNumber(2)), client.RunStateRunning, false), runIn(runFor(findingNumber(2)), client.RunStateSucceeded, true),
	}}
	r.refuse = 1
	code, out, stderr := line(t, env, "audit", "apply", name)
	var sizes []int
	var sent []string
	for i, q := range r.requests {
		sizes = append(sizes, len(q.Entries))
		if i == 1 {
			continue // refused
		}
		for _, e := range q.Entries {
			sent = append(sent, e.FindingID)
			if comment := valueOf(e.Comment); (comment == "agreed with Ann") != (e.FindingID == findingNumber(1)) || comment == "" && e.Comment != nil {
				t.Errorf("the comment of %s is %q", e.FindingID, comment)
			}
		}
		if q.PlanID != somePlan || q.DryRun != nil {
			t.Errorf("sent %+v", q)
		}
	}
	var want []string
	for i := 1; i < 45; i++ {
		want = append(want, findingNumber(i))
	}
	if !slices.Equal(sizes, []int{20, 20, 20, 4}) || !slices.Equal(sent, want) {
		t.Errorf("sent %v: %v", sizes, sent)
	}
	rows := strings.Split(strings.TrimSpace(words(out)), "\n")
	if code != 0 || stderr != "" || len(rows) != 45 || rows[0] != "FINDING CODE ACTION RUN STATE NOTE" ||
		rows[2] != findingNumber(2)+" role-missing assign-role "+runFor(findingNumber(2))+" succeeded -" {
		t.Errorf("got %d, %s%s", code, out, stderr)
	}
	r.problem = nil
	if again, same, _ := line(t, env, "audit", "apply", name); again != 0 || same != out {
		t.Errorf("again: got %d, %s", again, same)
	}
	r.refuse = 1 << 30
	code, out, stderr = line(t, env, "audit", "apply", name, "--wait", "0s")
	if code != 0 || strings.Count(out, " pending ") != 44 || !strings.HasPrefix(stderr, "tenantry: 44 of 44 repairs have not ended") {
		t.Errorf("too many requests for runs: got %d, %s%s", code, out, stderr)
	}
}

// The exit code says whether a repair has failed, was refused or could not be checked.
func TestAppliedRepairsEndWithAnExitCode(t *testing.T) {
	refused := func(code string) client.RepairResult {
		return client.RepairResult{Refused: &client.RepairRefusal{Code: code, Detail: "the finding is resolved", FixBy: client.FixByNobody}}
	}
	stuck := runIn(runFor(findingNumber(1)), client.RunStateWaiting, true)
	stuck.Reason = &client.Reason{Code: "tenant-not-ours", Kind: "operator", Detail: "the tenant has lost its tag", FixBy: client.FixByOperator}
	failed := runIn(runFor(findingNumber(1)), client.RunStateCompensated, true)
	failed.Cause = &client.Failure{Code: "role-gone", Detail: "the role is gone", Step: some("assign-role")}
	running := runIn(runFor(findingNumber(1)), client.RunStateRunning, false)
	for name, c := range map[string]struct {
		answer client.RepairResult
		run    client.Run
		code   int
		row    string
		says   string
	}{
		"refused":       {answer: refused("finding-closed"), code: exitFailed, row: "- refused (finding-closed) the finding is resolved", says: "1 of 2 repairs have failed, were refused or wait for an operator"},
		"not checked":   {answer: refused("upstream-unavailable"), code: exitUnreachable, row: "- refused (upstream-unavailable) the finding is resolved", says: "1 of 2 repairs could not be checked now: repeat the command later"},
		"for a person":  {run: stuck, code: exitFailed, row: "waiting (operator, tenant-not-ours) the tenant has lost its tag (for an operator of Tenantry to fix)", says: "1 of 2 repairs have failed"},
		"compensated":   {run: failed, code: exitFailed, row: "compensated (role-gone) assign-role: the role is gone", says: "1 of 2 repairs have failed"},
		"still running": {run: running, row: "running -", says: "1 of 2 repairs have not ended: repeat the command to see them"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &repairer{t: t, plan: planOf(2), runs: map[string][]client.Run{}}
			r.answer = func(n int, finding string) client.RepairResult {
				if n == 1 && c.answer.Refused != nil {
					return c.answer
				}
				return started(finding, client.RunStatePending)
			}
			if c.run.ID != "" {
				r.runs[c.run.ID] = []client.Run{c.run}
			}
			env := r.start()
			file, text := r.planned(env)
			r.write(file, approve(text))
			code, out, stderr := line(t, env, "audit", "apply", file, "--wait", "100ms")
			if code != c.code || !strings.Contains(words(out), " "+c.row+"\n") || !strings.Contains(stderr, c.says) {
				t.Errorf("got %d, %s%s", code, out, stderr)
			}
			code, out, _ = line(t, env, "audit", "apply", file, "--wait", "0s", "-f", "json")
			var got applied
			if err := json.Unmarshal([]byte(out), &got); err != nil || code != c.code || got.PlanID != somePlan || len(got.Repairs) != 2 ||
				got.Repairs[0].Run == nil || got.Repairs[1].FindingID != findingNumber(1) || got.Repairs[1].Action != "assign-role" || got.Repairs[1].Code != "role-missing" {
				t.Errorf("as JSON: got %d, %v, %s", code, err, out)
			}
		})
	}
}

// The command prints the problem of a request, and the runs that earlier requests have started.
func TestAServerThatRefusesRepairs(t *testing.T) {
	r := &repairer{t: t, plan: planOf(25)}
	env := r.start()
	name, text := r.planned(env)
	r.write(name, approve(text))
	for kind, c := range map[string]struct{ status, code int }{
		"plan-expired": {409, exitRefused}, "plan-of-other-installation": {409, exitRefused}, "upstream-unavailable": {503, exitUnreachable},
	} {
		r.problem = func(int) (int, string) { return c.status, kind }
		code, out, stderr := line(t, env, "audit", "apply", name)
		if code != c.code || out != "" || stderr != "tenantry: the problem "+kind+"\ntenantry:   (req-1)\n" {
			t.Errorf("%s: got %d, %s%s", kind, code, out, stderr)
		}
	}
	r.requests = nil
	r.problem = func(n int) (int, string) { return 503 * (n % 2), "upstream-unavailable" }
	code, out, stderr := line(t, env, "audit", "apply", name)
	if code != exitUnreachable || strings.Count(out, " pending ") != 20 || !strings.HasPrefix(stderr, "tenantry: 20 of 25 approved entries were sent: repeat the command") {
		t.Errorf("the second request fails: got %d, %s%s", code, out, stderr)
	}
	r.problem = nil
	for what, spoil := range map[string]func(*client.RepairResult){
		"a run without id":       func(r *client.RepairResult) { r.RunID = nil },
		"a run with a path":      func(r *client.RepairResult) { r.RunID = some("../x") },
		"a run without state":    func(r *client.RepairResult) { r.RunState = nil },
		"a refusal without code": func(r *client.RepairResult) { *r = client.RepairResult{Refused: &client.RepairRefusal{}} },
		"a dry run": func(r *client.RepairResult) {
			*r = client.RepairResult{DryRun: &client.DryRun{State: "succeeded", Steps: []client.DryRunStep{}}}
		},
	} {
		r.answer = func(n int, finding string) client.RepairResult {
			result := started(finding, client.RunStatePending)
			if n == 3 {
				spoil(&result)
			}
			return result
		}
		if code, out, stderr := line(t, env, "audit", "apply", name); code != exitUnreachable || out != "" || !strings.Contains(stderr, "not in Tenantry's format") {
			t.Errorf("%s: got %d, %s%s", what, code, out, stderr)
		}
	}
}

// A dry run prints the steps of each repair, and does not read any run.
func TestDryRunsOfAPlan(t *testing.T) {
	r := &repairer{t: t, plan: planOf(22)}
	r.answer = func(_ int, finding string) client.RepairResult {
		d := client.DryRun{State: client.DryRunStateSucceeded, Workflow: "repair", Steps: []client.DryRunStep{
			{Name: "check", Outcome: "only-reads", Undo: "none: it only reads"},
			{Name: "assign-role", Outcome: "would-create", Undo: "remove", Objects: &[]client.DryRunObject{{Kind: "role-assignment", ID: some("p/u/r")}}},
		}}
		return client.RepairResult{DryRun: &d}
	}
	env := r.start()
	name, text := r.planned(env)
	r.write(name, approve(text))
	code, out, stderr := line(t, env, "audit", "apply", name, "--dry-run")
	rows := strings.Split(strings.TrimSpace(words(out)), "\n")
	if code != 0 || stderr != "" || len(rows) != 45 || rows[0] != "FINDING ACTION STEP WHAT UNDO NOTE" ||
		rows[44] != findingNumber(21)+" assign-role assign-role would-create remove role-assignment p/u/r" {
		t.Errorf("got %d, %s%s", code, out, stderr)
	}
	if len(r.requests) != 2 || !valueOf(r.requests[0].DryRun) || slices.ContainsFunc(r.paths, func(p string) bool { return strings.Contains(p, "/runs/") }) {
		t.Errorf("sent %v, %v", r.requests, r.paths)
	}
	ok := r.answer
	for state, want := range map[client.DryRunState]string{
		client.DryRunStateCompensated: "1 of 22 repairs would fail, or are refused", client.DryRunStateWaiting: "1 of 22 repairs would fail, or are refused",
		"": "1 of 22 repairs would fail, or are refused",
	} {
		r.answer = func(n int, finding string) client.RepairResult {
			result := ok(n, finding)
			if finding == findingNumber(21) {
				if result.DryRun.State = state; state == "" {
					result = client.RepairResult{Refused: &client.RepairRefusal{Code: "finding-closed", Detail: "it is closed"}}
				}
			}
			return result
		}
		code, out, stderr := line(t, env, "audit", "apply", name, "--dry-run")
		if code != exitFailed || !strings.Contains(stderr, want) || state == "" && !strings.Contains(words(out), " assign-role - refused (finding-closed) - it is closed\n") {
			t.Errorf("%s: got %d, %s%s", state, code, out, stderr)
		}
	}
}

// The table of `audit apply` names an object that a run has kept, or the time at which another run removes the tenant.
func TestTheNoteOfARepair(t *testing.T) {
	for want, r := range map[string]client.Run{
		"-": {},
		"the tenant is disabled, and another run removes the tenant at 2026-12-01T10:00:00Z: accept the finding to prevent the removal": {Result: client.Result{
			"removal_due_at": "2026-12-01T10:00:00Z",
		}},
		"customer c1 was kept: it has a subscription": {Result: client.Result{
			"kept": []any{map[string]any{"kind": "customer", "id": "c1", "why": "it has a subscription"}},
		}},
	} {
		if got := runNote(r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
