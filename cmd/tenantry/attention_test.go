package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func TestWhatNeedsAttentionIsOneList(t *testing.T) {
	accepted := time.Unix(1e9, 0)
	long := strings.Repeat("a long cause, ", 30) + "the end"
	failure := client.Failure{Code: "c", Detail: long, FixBy: client.FixByOperator, Step: some("attach-tenant")}
	reason := func(kind, code, detail string, fixBy client.FixBy) *client.Reason {
		return &client.Reason{Kind: client.ReasonKind(kind), Code: code, Detail: detail, FixBy: fixBy, Step: some("create-customer")}
	}
	undoRefused := func(step, detail string) client.Step {
		failure := &client.Failure{Detail: detail, FixBy: client.FixByOperator}
		return client.Step{Name: step, State: client.StepStateUndoFailed, Error: failure}
	}
	refused := []client.Step{{Name: "assign-customer-role/a'b c", State: client.StepStateUndoFailed, Error: &failure}}
	for name, c := range map[string]struct {
		run  client.Run
		want string
	}{
		"stuck": {
			client.Run{State: client.RunStateStuck, Steps: refused, Cause: &failure, Actions: []string{"retry", "skip"}},
			"cause      the undo of assign-customer-role/a'b c was refused: " + long + "\n" + `fix by     an operator of Tenantry
then type  tenantry runs retry ID --why REASON
or         tenantry runs skip ID 'assign-customer-role/a'\''b c' --why REASON   # skip the undo of this step. The object of this step is then left behind.
or         tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"stuck with two refused undos": {
			client.Run{State: client.RunStateStuck, Actions: []string{"retry", "skip"}, Steps: []client.Step{
				undoRefused("create-customer", "it has orders"),
				{Name: "check", State: client.StepStateSucceeded},
				undoRefused("create-tenant", "it has servers"),
			}},
			`cause      the undo of create-customer was refused: it has orders
and        the undo of create-tenant was refused: it has servers
fix by     an operator of Tenantry
then type  tenantry runs retry ID --why REASON
or         tenantry runs skip ID create-customer --why REASON   # skip the undo of this step. The object of this step is then left behind.
or         tenantry runs skip ID create-tenant --why REASON   # skip the undo of this step. The object of this step is then left behind.
or         tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"compensating with a refused undo": {
			client.Run{State: client.RunStateCompensating, Steps: refused, Actions: []string{"hold"}},
			"cause      the undo of assign-customer-role/a'b c was refused: " + long + "\n" + `fix by     an operator of Tenantry
then type  tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"held": {
			client.Run{State: client.RunStateWaiting, Reason: reason("operator", "held", "maintenance", client.FixByOperator), Actions: []string{"retry", "compensate"}},
			`cause      held: maintenance
fix by     an operator of Tenantry
then type  tenantry runs retry ID --why REASON
or         tenantry runs compensate ID --why REASON   # undo the run.
or         tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"blocked": {
			client.Run{State: client.RunStateWaiting, Reason: reason("operator", "x", long, client.FixByMerchant), Actions: []string{"retry"}},
			"cause      create-customer: " + long + "\n" + `fix by     the merchant's portal
then type  tenantry runs retry ID --why REASON
or         tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"blocked by the policy of Keystone": {
			client.Run{State: client.RunStateWaiting, Actions: []string{"retry", "compensate"}, Reason: &client.Reason{
				Kind: "operator", Code: "keystone-blocked", Detail: "a permission is missing", FixBy: client.FixByAdministrator, Service: some("keystone"),
			}},
			`cause      a permission is missing
fix by     an administrator of Keystone
then type  tenantry runs retry ID --why REASON
or         tenantry runs compensate ID --why REASON   # undo the run. The undo of a step may be refused for the same reason.
or         tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"waiting for an upstream": {
			client.Run{State: client.RunStateWaiting, Reason: reason("upstream", "x", "no answer", client.FixByNobody), Actions: []string{"retry"}},
			`cause      create-customer: no answer
fix by     an operator of Tenantry
then type  tenantry runs retry ID --why REASON
or         tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"trying again": {
			client.Run{State: client.RunStateRunning, Steps: []client.Step{{Name: "create-customer", Error: &client.Failure{Detail: "no answer", FixBy: client.FixByNobody}}}},
			`cause      create-customer: no answer
fix by     an operator of Tenantry
then type  tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
		"trying an undo again": {
			client.Run{State: client.RunStateCompensating, Cause: &failure, Actions: []string{"hold"}, Steps: []client.Step{
				{Name: "attach-tenant", State: client.StepStateFailed, Error: &failure},
				{Name: "create-customer", State: client.StepStateUndoing, Error: &client.Failure{Detail: "it is busy", FixBy: client.FixByNobody}},
			}},
			`cause      create-customer: it is busy
fix by     an operator of Tenantry
then type  tenantry explain ID   # what has happened, and how to repair the cause
`,
		},
	} {
		c.run.ID, c.run.MerchantID, c.run.CreatedAt = "ID", "M", accepted
		want := "run        ID\nstate      " + string(c.run.State) + "\nmerchant   M\nage        1h1m\n" + c.want
		var got bytes.Buffer
		err := asTable.print(&got, nil, func(w io.Writer) {
			attentionTable(w, []client.Run{c.run}, accepted.Add(61*time.Minute+time.Second))
		})
		if err != nil || got.String() != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got.String(), want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0s", 59 * time.Second: "59s", time.Hour - 1: "59m59s", 25 * time.Hour: "1d1h"} {
		if got := age(d); got != want {
			t.Errorf("the age of %v: got %s, want %s", d, got, want)
		}
	}
}

// The printed state of a run contains the kind and the code of the run's reason, because the tables of run states in the documents
// list these words.
func TestTheStateOfARunNamesItsReason(t *testing.T) {
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") + " " }
	for want, run := range map[string]client.Run{
		"state waiting (upstream, keystone-unavailable)": {
			State: client.RunStateWaiting, Reason: &client.Reason{Kind: "upstream", Code: "keystone-unavailable", Detail: "no answer"},
		},
		"state compensated (role-renewed)": {
			State: client.RunStateCompensated, Cause: &client.Failure{Code: "role-renewed", Detail: "the role was created again"},
		},
		"state succeeded": {State: client.RunStateSucceeded},
	} {
		var got bytes.Buffer
		if err := asTable.print(&got, nil, func(w io.Writer) { runTable(w, run) }); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(words(got.String()), " "+words(want)) {
			t.Errorf("got %s, want %s", got.String(), want)
		}
	}
}

// If there is something to do, `runs show` names the command that says what.
func TestARunNamesItsExplanation(t *testing.T) {
	something := []client.NextStep{{Text: "do it"}}
	for want, x := range map[string]*client.Explanation{"tenantry explain R --local": {Next: something}, "": {}} {
		run := client.Run{ID: "R", State: client.RunStateCompensated, Explanation: x}
		var got bytes.Buffer
		if err := asTable.print(&got, nil, func(w io.Writer) { runTable(w, run, "--local") }); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got.String(), "what to do") != (want != "") || !strings.Contains(got.String(), want) {
			t.Errorf("got %s, want %q", got.String(), want)
		}
	}
}

func TestAStoppedRunSaysThatItsDetailIsAReason(t *testing.T) {
	for code, want := range map[string]string{
		"cancelled": "stopped on request: not wanted", "compensated-by-operator": "stopped on request: not wanted", "role-gone": "not wanted",
	} {
		if got := failureText(client.Failure{Code: code, Detail: "not wanted"}); got != want {
			t.Errorf("%s: got %q, want %q", code, got, want)
		}
	}
}

// While Keystone is down, operators cannot log in. The message therefore names the flag --local. If the database is down, the flag
// does not help, and the message does not name it.
func TestAnOutageOfKeystoneNamesTheLocalFlag(t *testing.T) {
	for detail, want := range map[string]bool{"the server's own login to Keystone is refused": true, "the database could not be reached": false} {
		body := `{"type": "/problems/upstream-unavailable", "title": "The database or an upstream is not available", "detail": "` + detail + `"}`
		if err := problemError(503, []byte(body)); strings.Contains(err.Error(), "--local") != want {
			t.Errorf("%s: got %v", detail, err)
		}
	}
}

func TestTheHelpOfAnActionSaysWhoSeesTheReason(t *testing.T) {
	for _, action := range []string{"retry", "skip", "compensate", "hold", "cancel"} {
		code, out, stderr := line(t, nil, "runs", action, "--help")
		if code != 0 || !strings.Contains(out, "which the run's history records and the merchant sees (required)") {
			t.Errorf("%s: got %d, %s%s", action, code, out, stderr)
		}
	}
}

// An operator finds a held run, reads its history and retries it, with the commands that are printed.
func TestTheNightShift(t *testing.T) {
	h := newHouse(t)
	if code, out, _ := line(t, h.operator(), "runs", "list", "--attention"); code != 0 || out != noRuns {
		t.Errorf("got %d, %s", code, out)
	}
	if code, _, stderr := line(t, h.settings, "merchant", "update", h.merchant.ID, "--on-failure", "hold"); code != 0 {
		t.Fatal(code, stderr)
	}
	h.refuse.Store(true)
	h.subscribe(h.env, "--key", "first")
	_, out, stderr := line(t, h.operator(), "runs", "list", "--attention")
	for _, want := range []string{"\nstate      waiting\nmerchant   " + h.merchant.ID + "\nage ", "\ncause      attach-tenant: ", "the books are closed", "\nfix by "} {
		if !strings.Contains(out, want) {
			t.Fatalf("runs list --attention: got %s%s, want %q", out, stderr, want)
		}
	}
	_, command, _ := strings.Cut(out, "\nthen type  tenantry ")
	command, _, _ = strings.Cut(command, "\n")
	h.refuse.Store(false)
	args := strings.Fields(command)
	if code, out, stderr := line(t, h.operator(), args...); code != 0 {
		t.Fatalf("%s: got %d, %s%s", command, code, out, stderr)
	}
	id := args[2]
	code, out, stderr := line(t, h.operator(), "runs", "watch", id)
	for deadline := time.Now().Add(20 * time.Second); code == exitFailed && time.Now().Before(deadline); {
		code, out, stderr = line(t, h.operator(), "runs", "watch", id) // the run may not have applied the retry yet
	}
	if code != 0 {
		t.Errorf("runs watch: got %d, %s%s", code, out, stderr)
	}
	_, out, _ = line(t, h.operator(), "runs", "events", id)
	for _, want := range []string{"SEQ ", " action retry ", " operator ", "  REASON  ", " attempt-failed ", "the books are closed", " run-succeeded "} {
		if !strings.Contains(out, want) {
			t.Errorf("runs events: got %s, want %q", out, want)
		}
	}
	if code, out, _ := line(t, h.operator(), "runs", "list", "--attention", "--state", "waiting,stuck", "--state", "succeeded"); code != 0 || out != noRuns {
		t.Errorf("after the retry: got %d, %s", code, out)
	}
	code, out, stderr = line(t, h.operator(), "runs", "list", "--state", "waiting,succeeded")
	if code != 0 || !strings.Contains(out, "\n"+id+"  succeeded ") {
		t.Errorf("runs list --state waiting,succeeded: got %d, %s%s", code, out, stderr)
	}
	_, _, stderr = line(t, h.operator(), "runs", "events", id, "--limit", "2")
	if stderr != "there are more events: repeat the command with --after 2\n" {
		t.Errorf("runs events --limit 2: got %s", stderr)
	}
}

func TestWhatIsShownOfARun(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	later := at.Add(time.Hour)
	long := strings.Repeat("a long cause, ", 30) + "the end"
	failure := client.Failure{Code: "c", Detail: long, FixBy: client.FixByMerchant, Step: some("attach-tenant")}
	retried, waiting := evilRun(), evilRun()
	for _, r := range []*client.Run{&retried, &waiting} {
		*r = client.Run{ID: uuid.NewString(), CreatedAt: at, Steps: []client.Step{}, Cause: &failure}
	}
	retried.State, retried.RetriedBy, retried.RetryOf = client.RunStateCompensated, some("the-next"), some("the-one-before")
	waiting.State, waiting.Cause = client.RunStateWaiting, nil
	waiting.Reason = &client.Reason{Kind: "upstream", Code: "c", Detail: long, FixBy: "nobody", Step: some("create-customer"), Until: &later}
	waiting.Steps = []client.Step{{Name: "x", RetryAt: &later}, {Name: "y", RetryAt: &at, Error: &failure}}
	for _, c := range []struct {
		run  client.Run
		want []string
	}{
		{retried, []string{"\nretried by    the-next\n", "\nretry of      the-one-before\n", "\nfailing step  attach-tenant\n", "\nfailed        attach-tenant: " + long + "\n"}},
		{waiting, []string{"\nfailing step  create-customer\n", "\nnext try      2026-01-02 03:04:05Z\n", "\nwaits         " + long + "\n", long + "\n"}},
	} {
		env := (&fake{status: 200, answer: encoded(t, c.run)}).start(t)
		_, out, stderr := line(t, env, "runs", "show", c.run.ID)
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("runs show of a %s run: got %s%s, want %q", c.run.State, out, stderr, want)
			}
		}
		env = (&fake{status: 200, answer: encoded(t, client.RunList{Runs: []client.Run{c.run}})}).start(t)
		if _, out, stderr := line(t, env, "runs", "list"); !strings.Contains(out, long+"\n") {
			t.Errorf("runs list: got %s%s, want the whole cause of the %s run", out, stderr, c.run.State)
		}
	}
}

func TestFiltersAreSentToTheServer(t *testing.T) {
	var query string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"runs": [%s], "links": [{"rel": "next", "href": "x"}]}`, encoded(t, evilRun()))
	}))
	t.Cleanup(server.Close)
	env := []string{"TENANTRY_URL=" + server.URL, "OS_TOKEN=token"}
	for args, want := range map[string]string{
		"": "", "--attention": "attention=true", "--state stuck": "state=stuck",
		"--state stuck,waiting --state pending --attention": "state=stuck&state=waiting&state=pending&attention=true",
	} {
		code, _, stderr := line(t, env, append([]string{"runs", "list"}, strings.Fields(args)...)...)
		if code != 0 || query != want || !strings.Contains(stderr, "--marker ") {
			t.Errorf("runs list %s: got %d, %s, the query %q, want %q", args, code, stderr, query, want)
		}
	}
}

const noRuns = "no run needs attention; if orders are refused or do not end, type  curl $TENANTRY_URL/readyz\n"
