package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/explain"
)

// answering starts a server that has one run, one finding or one subscription, and no other object. It returns an operator's environment.
func answering(t *testing.T, answers map[string]any) []string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, has := answers[r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		if !has {
			w.WriteHeader(http.StatusNotFound)
			answer = client.Problem{Title: "There is no such object", Type: "/problems/x", Status: 404, RequestID: "req"}
		}
		_, _ = w.Write([]byte(encoded(t, answer)))
	}))
	t.Cleanup(server.Close)
	return []string{"TENANTRY_URL=" + server.URL, "OS_TOKEN=token"}
}

func evilExplanation() client.Explanation {
	return client.Explanation{
		What: evil, Why: some(evil), Means: evil, Who: evil, FixBy: evil,
		Next: []client.NextStep{{Text: evil, Command: some(evil), Request: some(evil)}},
	}
}

// `tenantry explain` finds out what an id names.
func TestExplainingEachKindOfObject(t *testing.T) {
	id, merchant := uuid.NewString(), uuid.NewString()
	x := evilExplanation()
	run := evilRun()
	run.ID, run.MerchantID, run.Explanation = id, merchant, &x
	about := run
	about.ID = uuid.NewString()
	for kind, answers := range map[string]map[string]any{
		"run": {"/v1/runs/" + id: run},
		"finding": {"/v1/findings/" + id: client.Finding{
			ID: id, Code: evil, Severity: client.Severity(evil), Status: client.FindingStatus(evil), Explanation: &x,
		}},
		"subscription": {
			"/v1/runs": client.RunList{Runs: []client.Run{about}},
			"/v1/merchants/" + merchant + "/subscriptions/" + id + "/explanation": client.SubscriptionExplanation{
				SubscriptionID: id, MerchantID: merchant, State: some(evil), Explanation: x,
				Run:      client.ExplainedRun{ID: about.ID, Workflow: evil, State: client.RunState(evil), Explanation: x},
				Findings: []client.ExplainedFinding{{ID: id, Code: evil, Severity: client.Severity(evil), Explanation: x}},
			},
		},
	} {
		env := answering(t, answers)
		code, out, stderr := line(t, env, "explain", id)
		harmless(t, "explain of a "+kind, "\n"+out+stderr)
		if first, _, _ := strings.Cut(out, "\n"); code != 0 || !slices.Equal(strings.Fields(first), []string{kind, id}) {
			t.Errorf("%s: got %d, %s%s", kind, code, out, stderr)
		}
		code, out, stderr = line(t, env, "explain", id, "-f", "json")
		harmless(t, "explain of a "+kind+" as JSON", "\n"+out+stderr)
		var back explained
		if err := json.Unmarshal([]byte(out), &back); err != nil || code != 0 || back.Kind != kind || back.ID != id || back.Explanation.What != evil {
			t.Errorf("%s: got %d, %v, %s%s", kind, code, err, out, stderr)
		}
	}
	env := answering(t, map[string]any{"/v1/runs": client.RunList{Runs: []client.Run{}}})
	code, out, stderr := line(t, env, "explain", id)
	if code != exitRefused || out != "" || stderr != "tenantry: there is no run, finding or subscription with the id "+id+"\n" {
		t.Errorf("nothing: got %d, %s%s", code, out, stderr)
	}
	for _, wrong := range []string{"", "..", "a/b", "RUN"} {
		if code, _, stderr := line(t, env, "explain", wrong); code != exitUsage {
			t.Errorf("%q: got %d, %s", wrong, code, stderr)
		}
	}
	older := run
	older.Explanation = nil
	if code, _, stderr := line(t, answering(t, map[string]any{"/v1/runs/" + id: older}), "explain", id); code != exitUnreachable {
		t.Errorf("a server without explanations: got %d, %s", code, stderr)
	}
}

func TestALongSentenceIsWrappedAndACommandIsNot(t *testing.T) {
	id, long := uuid.NewString(), strings.Repeat("words and ", 30)
	run := evilRun()
	run.ID = id
	run.Explanation = &client.Explanation{
		What: long, Who: "an operator", FixBy: "operator", Next: []client.NextStep{{Text: "Type this.", Command: some("tenantry " + long)}},
	}
	_, out, _ := line(t, answering(t, map[string]any{"/v1/runs/" + id: run}), "explain", id)
	if !strings.Contains(out, "   tenantry "+long+"\n") {
		t.Errorf("the command is wrapped:\n%s", out)
	}
	for text := range strings.Lines(out) {
		if !strings.Contains(text, "tenantry ") && !strings.HasPrefix(text, "state") && len(text) > maxLine+20 {
			t.Errorf("a line is too long: %s", text)
		}
	}
}

// printedCommands returns the commands that explanations print: those of the tables, and those of the golden explanations.
func printedCommands(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, table := range explain.Tables() {
		for code, e := range table.Entries {
			for _, s := range e.Do {
				if s.Command != "" {
					_, command, _ := strings.Cut(explain.Entry{Do: []explain.Step{{Command: s.Command}}}.Advice(), "`")
					all = append(all, strings.TrimSuffix(command, "`."))
				} else if strings.Contains(s.Text, "`tenantry ") && !strings.Contains(s.Text, "`tenantry usage show`") {
					t.Errorf("%s: a command is in the text %q", code, s.Text)
				}
			}
		}
	}
	text, err := os.ReadFile("../../orchestrator/explain/testdata/explanations.txt")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		if command, is := strings.CutPrefix(l, "   "); is && !strings.HasPrefix(command, "GET ") && !strings.HasPrefix(command, "POST ") {
			all = append(all, strings.TrimSuffix(command, "\n"))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// shellWords returns the words that a shell makes of a command.
func shellWords(t *testing.T, command string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\0' `+command).Output()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

// Each command that an explanation prints exists, has the right number of arguments, and has the flags that it needs.
func TestEachPrintedCommandExists(t *testing.T) {
	seen := 0
	for _, command := range printedCommands(t) {
		words := shellWords(t, command)
		if words[0] == "openstack" || command == "curl $TENANTRY_URL/readyz" {
			continue
		}
		seen++
		p := program{environ: nil, in: strings.NewReader(""), out: &strings.Builder{}, err: &strings.Builder{}}
		found, rest, err := p.root().Find(words[1:])
		if words[0] != "tenantry" || err != nil || found.HasSubCommands() {
			t.Errorf("%s: there is no such command: %v", command, err)
			continue
		}
		if err := found.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		if err := found.ValidateArgs(found.Flags().Args()); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		found.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.Contains(f.Usage, "(required)") && !f.Changed {
				t.Errorf("%s: --%s is missing", command, f.Name)
			}
		})
	}
	if seen < 20 {
		t.Errorf("only %d commands were checked", seen)
	}
}

// An operator reads what a blocked run needs, repairs the cause, types the printed command, and sees the run end.
func TestAPrintedCommandEndsABlockedRun(t *testing.T) {
	h := newHouse(t)
	if code, _, stderr := line(t, h.settings, "merchant", "update", h.merchant.ID, "--on-failure", "hold"); code != 0 {
		t.Fatal(code, stderr)
	}
	h.refuse.Store(true)
	_, out, stderr := h.subscribe(h.env, "--key", "first", "-f", "json")
	var run client.Run
	if err := json.Unmarshal([]byte(out), &run); err != nil || run.State != client.RunStateWaiting {
		t.Fatalf("got %v, %s%s", err, out, stderr)
	}
	code, out, stderr := line(t, h.operator(), "explain", run.ID)
	for _, want := range []string{"An operator must act.", "the books are closed", "The user is not subscribed yet.", "an operator of Tenantry"} {
		if code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Fatalf("explain: got %d, %s%s, want %q", code, out, stderr, want)
		}
	}
	_, local, _ := line(t, h.settings, "explain", run.ID, "--local")
	if !strings.Contains(local, "tenantry runs retry "+run.ID+" --why REASON --local\n") {
		t.Errorf("explain --local: got %s", local)
	}
	_, portal, _ := line(t, h.env, "explain", run.ID)
	if strings.Contains(portal, "tenantry runs") || !strings.Contains(portal, "POST /v1/runs/"+run.ID+"/cancel\n") {
		t.Errorf("a portal: got %s", portal)
	}
	h.refuse.Store(false)
	var command string
	for l := range strings.Lines(out) {
		if strings.Contains(l, "tenantry runs retry ") {
			command = strings.TrimSpace(l)
		}
	}
	if code, out, stderr := line(t, h.operator(), shellWords(t, command)[1:]...); code != 0 {
		t.Fatalf("%s: got %d, %s%s", command, code, out, stderr)
	}
	code = exitFailed
	for deadline := time.Now().Add(20 * time.Second); code == exitFailed && time.Now().Before(deadline); {
		code, out, stderr = line(t, h.operator(), "runs", "watch", run.ID) // the run may not have applied the retry yet
	}
	if code != 0 {
		t.Fatalf("after %s: got %d, %s%s", command, code, out, stderr)
	}
	if _, out, _ := line(t, h.operator(), "explain", run.ID); !strings.Contains(out, "The run has succeeded.") || strings.Contains(out, "\nnext ") {
		t.Errorf("explain: got %s", out)
	}
	_, out, _ = line(t, h.operator(), "runs", "show", run.ID, "-f", "json")
	if err := json.Unmarshal([]byte(out), &run); err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(run.Result["subscription_id"])
	for who, env := range map[string][]string{"an operator": h.operator(), "a portal": h.env} {
		code, out, stderr := line(t, env, "explain", id)
		if code != 0 || !strings.HasPrefix(out, "subscription  "+id+"\n") || !strings.Contains(out, "\nnewest run  "+run.ID+"\n") {
			t.Errorf("%s explains the subscription: got %d, %s%s", who, code, out, stderr)
		}
	}
	if code, out, stderr := line(t, h.settings, "explain", id, "--local"); code != 0 || !strings.HasPrefix(out, "subscription  "+id+"\n") {
		t.Errorf("explain --local of the subscription: got %d, %s%s", code, out, stderr)
	}
}
