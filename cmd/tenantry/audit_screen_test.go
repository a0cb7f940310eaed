package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

// auditCommand is a command about audits, and the answer that a fake server sends to it.
type auditCommand struct {
	args   string
	status int
	answer any
}

// auditCommands returns commands, each with the fake server's answer. In the answers, every text is the constant `evil`, except the ids and
// states that a command checks.
func auditCommands() []auditCommand {
	at := time.Unix(1, 0)
	a := client.Audit{
		ID: uuid.NewString(), State: client.AuditState(evil), By: evil, CreatedAt: at, Failure: some(evil),
		Scope:    client.AuditScope{MerchantID: some(evil), CustomerID: some(evil), Cloud: some(evil), ProjectID: some(evil)},
		Progress: client.AuditProgress{Phase: evil}, Found: map[string]int{evil: 1}, Read: map[string]int{evil: 1},
		Gaps: &[]client.AuditGap{{Code: evil, Cloud: some(evil), MerchantID: some(evil), Detail: evil}},
	}
	running := a
	running.State = client.AuditRunning
	f := client.Finding{
		ID: uuid.NewString(), Code: evil, Severity: evil, Status: evil, Cloud: some(evil), MerchantID: some(evil), CustomerID: some(evil),
		SubscriptionID: some(evil), ProjectID: some(evil), UserID: some(evil), RunID: some(evil), Detail: evil, Affected: evil,
		Objects: []client.FindingObject{{Kind: evil, ID: evil, Name: some(evil)}}, FirstAuditID: evil, LastAuditID: evil,
		Repair:     client.Repair{Action: some(evil), Advice: evil, Values: &map[string]string{evil: evil}},
		Acceptance: &client.Acceptance{Who: evil, Why: evil},
		History:    &[]client.FindingChange{{Status: evil, AuditID: some(evil), Who: some(evil), Why: some(evil)}},
	}
	entry := client.LedgerEntry{
		Kind: evil, ID: evil, Name: some(evil), Cloud: some(evil), Origin: evil, RunID: evil, Workflow: evil, RunState: evil, MerchantID: evil,
		Step: evil, By: evil, Why: some(evil), RequestID: some(evil),
		Findings: []client.LedgerFinding{{ID: evil, Code: evil, Severity: evil, Status: evil}},
	}
	accept := "audit accept " + f.ID
	return []auditCommand{
		{"audit list", http.StatusOK, client.AuditList{Audits: []client.Audit{a}}},
		{"audit plans", http.StatusOK, client.RepairPlanList{Plans: []client.RepairPlanSummary{{ID: a.ID, By: evil, CreatedAt: at, ExpiresAt: at}}}},
		{"audit show " + a.ID, http.StatusOK, a},
		{"audit show " + a.ID, http.StatusOK, running},
		{"audit run --no-wait", http.StatusAccepted, a},
		{"audit findings", http.StatusOK, client.FindingList{Findings: []client.Finding{f}}},
		{"audit finding " + f.ID, http.StatusOK, f},
		{accept + " --why x", http.StatusOK, f},
		{accept + " --withdraw", http.StatusOK, f},
		{"whois --user u", http.StatusOK, client.Ledger{Entries: []client.LedgerEntry{entry}, Findings: []client.Finding{f}}},
	}
}

func TestTextsOfAuditsCannotControlTheTerminal(t *testing.T) {
	for _, c := range auditCommands() {
		for _, format := range []string{"table", "json", "yaml"} {
			env := (&fake{status: c.status, answer: encoded(t, c.answer)}).start(t)
			_, out, stderr := line(t, env, append(strings.Fields(c.args), "-f", format)...)
			harmless(t, c.args+" as "+format, "\n"+out+stderr)
			var back map[string]any
			switch format {
			case "json":
				if err := json.Unmarshal([]byte(out), &back); err != nil || !strings.Contains(fmt.Sprint(back), evil) {
					t.Errorf("%s: the JSON does not contain the text of the server: %v, %s", c.args, err, out)
				}
			case "yaml":
				if err := yaml.Unmarshal([]byte(out), &back); err != nil || !strings.Contains(fmt.Sprint(back), evil) {
					t.Errorf("%s: the YAML does not contain the text of the server: %v, %s", c.args, err, out)
				}
			}
		}
	}
	ended := auditIn(client.AuditFailed)
	ended.Failure, ended.By = some(evil), evil
	server := &audits{states: []client.Audit{auditIn(client.AuditPending), ended}}
	code, out, stderr := line(t, server.start(t), "audit", "run")
	harmless(t, "audit run", "\n"+out+stderr)
	if code != exitIncomplete {
		t.Errorf("audit run: got %d", code)
	}
}

func TestProblemsOfAuditsCannotControlTheTerminal(t *testing.T) {
	problem := encoded(t, client.Problem{Title: evil, Detail: some(evil), RequestID: evil, Type: "x"})
	for _, c := range auditCommands() {
		code, out, stderr := line(t, (&fake{status: 409, answer: problem}).start(t), strings.Fields(c.args)...)
		harmless(t, c.args, "\n"+out+stderr)
		if code != exitRefused || strings.Count(stderr, "\n") != 2 {
			t.Errorf("%s: got %d, %q, want one line for the problem and one for the request id", c.args, code, stderr)
		}
	}
}

func TestAnswersAboutAuditsThatAreNotTenantrys(t *testing.T) {
	for _, c := range auditCommands() {
		answers := []string{
			"null", "{}", "[]", `"x"`, "<html>", "", `{"audits": null, "findings": null, "entries": null, "links": []}`,
			`{"audits": [null], "findings": [null], "entries": [null], "links": []}`,
			`{"audits": [{}], "findings": [{}], "entries": [{}], "links": []}`,
		}
		if text := encoded(t, c.answer); strings.Contains(text, `"id":"`) && !strings.HasPrefix(c.args, "whois") {
			answers = append(answers, strings.Replace(text, `"id":"`, `"id":"../`, 1))
		}
		for _, answer := range answers {
			code, out, stderr := line(t, (&fake{status: c.status, answer: answer}).start(t), strings.Fields(c.args)...)
			if code != exitUnreachable || out != "" || stderr == "" {
				t.Errorf("%s, and the answer is %s: got %d, %q, %q, want %d and an error", c.args, answer, code, out, stderr, exitUnreachable)
			}
		}
	}
}

func TestTheReaderOfAnAuditIsGone(t *testing.T) {
	for _, c := range auditCommands() {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		env := (&fake{status: c.status, answer: encoded(t, c.answer)}).start(t)
		p := program{in: strings.NewReader(""), out: writer, err: &stderr, environ: slices.Clone(env)}
		if code := p.run(t.Context(), strings.Fields(c.args)); code != 1 || stderr.Len() > 0 {
			t.Errorf("%s: got %d, %q, want 1 and no error", c.args, code, stderr.String())
		}
		_ = writer.Close()
	}
}
