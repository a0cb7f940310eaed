package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/merchants"

	"github.com/tenantry/tenantry/orchestrator/escape"
)

// The constant `evil` is a text that changes the title of a terminal, clears the screen, adds lines, reverses text and hides text.
const evil = "a\x1b]0;title\a\x1b[2J\r\ntenantry: forged\u0085\u009b31m\u202egnp\u2066\u2028\u200b\ufeff\U000E0041\tz"

// The type `fake` is a server that gives the same answer to each request. After 100 requests, the server answers with status 500, so that
// each test ends.
type fake struct {
	status   int
	answer   string
	kind     string
	requests atomic.Int32
}

func (f *fake) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	n := f.requests.Add(1)
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
	if n > 100 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(f.status)
	_, _ = w.Write([]byte(f.answer))
}

// The method `start` starts the server, and returns environment variables with which an operator or a portal can use the server.
func (f *fake) start(t *testing.T) []string {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	if f.kind == "" {
		f.kind = "application/json"
	}
	return []string{"TENANTRY_URL=" + server.URL, "OS_TOKEN=token", "TENANTRY_USER_TOKEN=token"}
}

func asPortal(env []string) []string {
	return append([]string{"TENANTRY_API_KEY=key", "TENANTRY_API_SECRET=secret"}, env...)
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// evilRun returns a run whose field AtRest is true. Each text of the run is the constant `evil`.
func evilRun() client.Run {
	failure := client.Failure{Code: evil, Detail: evil, FixBy: evil, Step: some(evil), Service: some(evil), RequestID: some(evil)}
	return client.Run{
		ID: uuid.NewString(), Workflow: evil, MerchantID: evil, UserID: some(evil), State: client.RunState(evil), AtRest: true,
		Reason: &client.Reason{Code: evil, Detail: evil, FixBy: evil, Step: some(evil), Service: some(evil)}, Cause: &failure,
		RetryOf: some(evil), RetriedBy: some(evil), WaitsFor: some(evil), Actions: []string{evil}, CreatedAt: time.Unix(1, 0),
		Steps:      []client.Step{{Name: evil, State: client.StepState(evil), Error: &failure}},
		LeftBehind: []client.LeftBehind{{Step: evil, Kind: some(evil), ID: some(evil)}},
		Result:     client.Result{"customer_id": evil, evil: "x"},
	}
}

// The function `harmless` checks that a command has printed no character that controls a terminal, and that no part of a server's text
// has become a line of its own.
func harmless(t *testing.T, what, printed string) {
	t.Helper()
	if i := strings.IndexFunc(printed, func(r rune) bool { return r != '\n' && escape.Controls(r) }); i >= 0 {
		t.Errorf("%s: printed the control character %q in %q", what, []rune(printed[i:])[0], printed)
	}
	if strings.Contains(printed, "\ntenantry: forged") || !strings.Contains(printed, "forged") {
		t.Errorf("%s: the text of the server is a line of its own, or is not shown: %q", what, printed)
	}
}

// readOnly are the commands that print runs. RUN is the id of a run.
var readOnly = []string{"list", "list --state stuck", "list --attention", "show RUN", "events RUN", "watch RUN"}

func TestTextsOfAServerCannotControlTheTerminal(t *testing.T) {
	run := evilRun()
	page := encoded(t, client.RunList{Runs: []client.Run{run}})
	history := encoded(t, client.EventList{Events: []client.Event{{
		Seq: 1, Kind: evil, Step: some(evil), Who: some(evil), Why: some(evil), Action: some(evil), RequestID: some(evil), Failure: run.Cause,
	}}})
	for _, command := range append([]string{"retry RUN --why x", "subscribe"}, readOnly...) {
		f := &fake{status: 200, answer: encoded(t, run)}
		args := append([]string{"runs"}, strings.Fields(strings.ReplaceAll(command, "RUN", run.ID))...)
		env := f.start(t)
		switch name, _, _ := strings.Cut(command, " "); name {
		case "list":
			f.answer = page
		case "events":
			f.answer = history
		case "retry":
			f.status = 202
		case "subscribe":
			env = asPortal(env)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.Method == http.MethodPost {
					w.WriteHeader(http.StatusAccepted)
				}
				_, _ = w.Write([]byte(f.answer))
			}))
			t.Cleanup(server.Close)
			env = append(env, "TENANTRY_URL="+server.URL)
			args = []string{"subscribe", "--merchant", uuid.NewString(), "--plan", uuid.NewString(), "--name", "Ann", "--key", "k"}
		}
		for _, format := range []string{"table", "json", "yaml"} {
			_, out, stderr := line(t, env, append(args, "-f", format)...)
			harmless(t, command+" as "+format, "\n"+out+stderr)
			var back map[string]any
			switch format {
			case "json":
				if err := json.Unmarshal([]byte(out), &back); err != nil || !strings.Contains(fmt.Sprint(back), evil) {
					t.Errorf("%s: the JSON does not contain the text of the server: %v, %s", command, err, out)
				}
			case "yaml":
				if err := yaml.Unmarshal([]byte(out), &back); err != nil || !strings.Contains(fmt.Sprint(back), evil) {
					t.Errorf("%s: the YAML does not contain the text of the server: %v, %s", command, err, out)
				}
			}
		}
	}
}

func TestProblemsCannotControlTheTerminal(t *testing.T) {
	problem := encoded(t, client.Problem{
		Title: evil, Detail: some(evil), RequestID: evil, Type: "x",
		InvalidParams: &[]client.InvalidParam{{Pointer: some(evil), Detail: evil}, {Parameter: some(evil), Detail: evil}},
	})
	for _, command := range append([]string{"hold RUN --why x"}, readOnly...) {
		env := (&fake{status: 409, answer: problem}).start(t)
		code, out, stderr := line(t, env, append([]string{"runs"}, strings.Fields(strings.ReplaceAll(command, "RUN", uuid.NewString()))...)...)
		harmless(t, command, "\n"+out+stderr)
		if code != exitRefused || strings.Count(stderr, "\n") != 4 {
			t.Errorf("%s: got %d, %q, want one line for the problem, for each parameter, and for the request id", command, code, stderr)
		}
	}
}

func TestTextsOfMerchantsCannotControlTheTerminal(t *testing.T) {
	env := newDatabase(t)
	s, _, err := open(t.Context(), withDatabase(variables(env)["TENANTRY_DATABASE_URL"]))
	if err != nil {
		t.Fatal(err)
	}
	m := merchants.Merchant{ID: uuid.NewString(), Name: evil, Cloud: evil, Domain: evil, OnFailure: merchants.Compensate, CreatedAt: now()}
	key, _, err := newKey(m)
	if err := errors.Join(err, s.Merchants().Create(t.Context(), m, key), s.Close()); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"list"}, {"list", "-f", "yaml"}, {"list", "-f", "json"}, {"disable", m.ID}} {
		_, out, stderr := line(t, env, append([]string{"merchant"}, args...)...)
		harmless(t, fmt.Sprint(args), "\n"+out+stderr)
	}
}

func TestEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"plain ünïcode ✓ 🙂 می\u200cخواهم": "plain ünïcode ✓ 🙂 می\u200cخواهم",
		"\x1b[31m":                    `\u001b[31m`,
		"a\r\n\tb":                    `a\r\n\tb`,
		"\u009b31m\u202e\U000E0041":   `\u009b31m\u202e\udb40\udc41`,
		"a byte \x9b, a rune \ufffd.": "a byte \\x9b, a rune \ufffd.",
	} {
		if got := visible(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnIDCannotChangeThePath(t *testing.T) {
	f := &fake{status: 200, answer: encoded(t, evilRun())}
	env := f.start(t)
	for _, id := range []string{
		"..", ".", "", "../merchants", "%2e%2e", "a/b", "?x", uuid.NewString() + "/events", strings.ToUpper(uuid.NewString()),
	} {
		for _, command := range []string{"show", "events", "watch", "retry", "compensate", "hold", "cancel", "skip"} {
			args := []string{"runs", command}
			if !slices.Contains([]string{"show", "events", "watch"}, command) {
				args = append(args, "--why", "x")
			}
			args = append(args, "--", id)
			if command == "skip" {
				args = append(args, "step")
			}
			if code, _, stderr := line(t, env, args...); code != exitUsage || !strings.Contains(stderr, "lower-case uuid") {
				t.Errorf("%v: got %d, %s, want %d", args, code, stderr, exitUsage)
			}
		}
		code, _, stderr := line(t, asPortal(env), "subscribe", "--merchant="+id, "--plan", uuid.NewString(), "--name", "Ann")
		if code != exitUsage {
			t.Errorf("subscribe --merchant=%s: got %d, %s, want %d", id, code, stderr, exitUsage)
		}
	}
	if n := f.requests.Load(); n > 0 {
		t.Errorf("the commands sent %d requests, want none", n)
	}
}

func TestAnswersThatAreNotTenantrys(t *testing.T) {
	run := encoded(t, evilRun())
	long := strings.Repeat(" ", maxAnswer) + run
	for name, answer := range map[string]string{
		"null": "null", "an empty object": "{}", "a list": "[]", "a text": `"x"`, "no JSON": "<html>", "nothing": "",
		"a list that is null": `{"runs": null, "events": null, "links": []}`, "a null in a list": `{"runs": [null], "events": [null], "links": []}`,
		"an empty run in a list": `{"runs": [{}], "events": [{}], "links": []}`, "a run whose id is a path": strings.Replace(run, `"id":"`, `"id":"../`, 1),
		"a long answer": long,
	} {
		for _, command := range append([]string{"retry RUN --why x"}, readOnly...) {
			f := &fake{status: 200, answer: answer}
			if strings.HasPrefix(command, "retry") {
				f.status = 202
			}
			args := append([]string{"runs"}, strings.Fields(strings.ReplaceAll(command, "RUN", uuid.NewString()))...)
			code, out, stderr := line(t, f.start(t), args...)
			if code != exitUnreachable || out != "" || stderr == "" {
				t.Errorf("%s, and the answer is %s: got %d, %q, %q, want %d and an error", command, name, code, out, stderr, exitUnreachable)
			}
			if answer == long && !strings.Contains(stderr, "longer than 16 MiB") {
				t.Errorf("%s, and the answer is long: got %s", command, stderr)
			}
		}
	}
}

// If the reader of a command's output is gone, the command ends, and prints no error.
func TestTheReaderOfTheOutputIsGone(t *testing.T) {
	run := evilRun()
	run.AtRest = false
	page := encoded(t, client.RunList{Runs: []client.Run{run, run}})
	for _, command := range readOnly {
		f := &fake{status: 200, answer: encoded(t, run)}
		if strings.HasPrefix(command, "list") {
			f.answer = page
		}
		if strings.HasPrefix(command, "events") {
			f.answer = encoded(t, client.EventList{Events: []client.Event{{Seq: 1, Kind: "accepted"}}})
		}
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := reader.Close(); err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		p := program{in: strings.NewReader(""), out: writer, err: &stderr, environ: f.start(t)}
		code := p.run(t.Context(), append([]string{"runs"}, strings.Fields(strings.ReplaceAll(command, "RUN", run.ID))...))
		if code != 1 || stderr.Len() > 0 {
			t.Errorf("%s: got %d, %q, want 1 and no error", command, code, stderr.String())
		}
		_ = writer.Close()
	}
}
