package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
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

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api/client"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/escape"
	"github.com/tenantry/tenantry/orchestrator/merchants"
	"github.com/tenantry/tenantry/orchestrator/saga"
	meters "github.com/tenantry/tenantry/orchestrator/usage"
)

// The constants are the ids of the objects of the hostile server and of the hostile database.
const (
	hostileRun          = "0199f0a4-0000-7000-8000-000000000001"
	hostileSubscription = "0199f0a4-0000-7000-8000-000000000002"
	hostileFinding      = "0199f0a4-0000-5000-8000-000000000003"
	hostileAudit        = "0199f0a4-0000-7000-8000-000000000004"
	hostilePlan         = "0199f0a4-0000-7000-8000-000000000005"
)

// hostileCommands has at least one command line for each command that prints texts of a server, an upstream or a database. The key is the path of
// the command without the first word. A command of the database is listed in ofDatabase, too.
var hostileCommands = map[string][]string{
	"subscribe": {
		"--merchant MERCHANT --plan PLAN --name Ann --key k", "--merchant MERCHANT --plan PLAN --name Ann --dry-run",
	},
	"subscriptions list":        {"--merchant MERCHANT"},
	"subscriptions show":        {"SUBSCRIPTION --merchant MERCHANT"},
	"subscriptions suspend":     {"SUBSCRIPTION --merchant MERCHANT --why x", "SUBSCRIPTION --merchant MERCHANT --why x --dry-run"},
	"subscriptions resume":      {"SUBSCRIPTION --merchant MERCHANT --why x"},
	"subscriptions change-plan": {"SUBSCRIPTION --merchant MERCHANT --plan PLAN --why x"},
	"subscriptions unsubscribe": {"SUBSCRIPTION --merchant MERCHANT --why x"},
	"subscriptions restore":     {"SUBSCRIPTION --merchant MERCHANT --why x"},
	"subscriptions remove":      {"SUBSCRIPTION --merchant MERCHANT --why x"},
	"subscriptions hold":        {"SUBSCRIPTION --merchant MERCHANT --why x"},
	"subscriptions release":     {"SUBSCRIPTION --merchant MERCHANT"},
	"runs list":                 {"", "--attention"},
	"runs show":                 {"RUN"},
	"runs events":               {"RUN"},
	"runs watch":                {"RUN"},
	"runs retry":                {"RUN --why x"},
	"runs skip":                 {"RUN STEP --why x"},
	"runs compensate":           {"RUN --why x"},
	"runs hold":                 {"RUN --why x"},
	"runs cancel":               {"RUN --why x"},
	"audit run":                 {"", "--no-wait"},
	"audit list":                {""},
	"audit show":                {"AUDIT"},
	"audit findings":            {""},
	"audit finding":             {"FINDING"},
	"audit accept":              {"FINDING --why x", "FINDING --withdraw"},
	"audit plan":                {"-o -"},
	"audit plans":               {""},
	"audit apply":               {"FILE", "FILE --dry-run"},
	"explain":                   {"RUN", "FINDING", "SUBSCRIPTION"},
	"whois":                     {"USER"},
	"usage show":                {"SUBSCRIPTION --merchant MERCHANT"},
	"usage unmatched":           {"--merchant MERCHANT"},
	"usage bill":                {"--merchant MERCHANT --from 2026-01-31T12:00:00Z --to 2026-01-31T13:00:00Z --why x"},

	"doctor":              {""},
	"bootstrap keystone":  {"--apply --public-url http://t --credentials NEWFILE"},
	"merchant create":     {"NEWID --name Shop --domain other"},
	"merchant list":       {""},
	"merchant update":     {"MERCHANT --domain other"},
	"merchant disable":    {"MERCHANT"},
	"merchant enable":     {"MERCHANT"},
	"merchant rotate-key": {"MERCHANT"},
	"meter-key create":    {""},
	"meter-key list":      {""},
	"meter-key revoke":    {"METERKEY"},
	"healthcheck":         {""},
}

// ofDatabase are the commands of hostileCommands that use the database of the server without --local, or no server of the API.
var ofDatabase = []string{
	"doctor", "bootstrap keystone", "merchant create", "merchant list", "merchant update", "merchant disable", "merchant enable", "merchant rotate-key",
	"meter-key create", "meter-key list", "meter-key revoke", "healthcheck",
}

// exempt are the commands that hostileCommands does not need, each with the reason.
var exempt = map[string]string{
	"demo":    "the demo has its own merchants, users and upstreams, whose names are constants",
	"serve":   "the server prints its log, which TestTheConsoleLogEscapesForeignTexts checks; the log in JSON goes through the type screen",
	"migrate": "the command prints a number",
	"version": "the command prints the version of the binary",
}

// leaves returns the commands without subcommands, by their paths without the first word.
func leaves(c *cobra.Command) map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	if !c.HasSubCommands() {
		_, path, _ := strings.Cut(c.CommandPath(), " ")
		all[path] = c
	}
	for _, sub := range c.Commands() {
		maps.Copy(all, leaves(sub))
	}
	return all
}

// commandTree returns the commands of the program, before cobra adds its own.
func commandTree() map[string]*cobra.Command { return leaves((&program{}).root()) }

// Each command that prints texts from outside must be in the tests of this file. A new command is added to hostileCommands, or to `exempt`.
func TestEachCommandIsPartOfTheHostileWalk(t *testing.T) {
	tree := commandTree()
	for path := range tree {
		if _, walked := hostileCommands[path]; walked == (exempt[path] != "") {
			t.Errorf("%q must be in one of hostileCommands and exempt", path)
		}
	}
	for path := range hostileCommands {
		if tree[path] == nil {
			t.Errorf("hostileCommands: there is no command %q", path)
		}
	}
	for path := range exempt {
		if tree[path] == nil {
			t.Errorf("exempt: there is no command %q", path)
		}
	}
}

// The function `filled` returns a value whose texts are the constant `evil`, also the texts of nested values. Each list and each map has one element,
// and no pointer is nil. The functions `change` then replace the values that a command checks.
func filled[T any](change ...func(*T)) T {
	var v T
	fill(reflect.ValueOf(&v).Elem())
	for _, c := range change {
		c(&v)
	}
	return v
}

func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(evil)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(evil))
	default:
		panic("fill: " + v.Type().String())
	}
}

// hostileAPI returns a server of the API each of whose texts is the constant `evil`, except the ids that the commands check.
func hostileAPI(t *testing.T) http.Handler {
	t.Helper()
	run := filled(func(r *client.Run) { r.ID, r.MerchantID, r.AtRest = hostileRun, someMerchant, true })
	finding := filled(func(f *client.Finding) { f.ID = hostileFinding })
	running := filled(func(a *client.Audit) { a.ID = hostileAudit })
	failed := filled(func(a *client.Audit) { a.ID, a.State = hostileAudit, client.AuditFailed })
	subscription := filled(func(s *client.BilledSubscription) { s.ID = hostileSubscription })
	dry := filled[client.DryRun]()
	plan := filled(func(p *client.RepairPlan) {
		p.ID = hostilePlan
		p.Entries = append(p.Entries, p.Entries[0])
		p.Entries[0].FindingID, p.Entries[1].FindingID = hostileFinding, hostileAudit
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("hostileAPI has no answer to %s %s", r.Method, r.URL.Path)
	})
	says := func(pattern string, status int, answer any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			var asked struct {
				DryRun bool `json:"dry_run"`
			}
			if len(body) > 0 && json.Unmarshal(body, &asked) != nil {
				t.Errorf("%s: %s", pattern, body)
			}
			status, answer := status, answer
			if asked.DryRun {
				status = http.StatusOK
				if _, ordered := answer.(client.Run); ordered {
					answer = dry
				}
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, encoded(t, answer))
		})
	}
	says("GET /v1/runs", 200, filled(func(l *client.RunList) { l.Runs = []client.Run{run, run} }))
	says("GET /v1/runs/{id}/events", 200, filled[client.EventList]())
	says("POST /v1/runs/{id}/{action}", 202, run)
	// The function `has` answers with an object that has this id, and with status 404 to a request for another id: see the command explain.
	has := func(pattern, id string, answer any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			answer := answer
			if r.PathValue("id") != id {
				w.WriteHeader(http.StatusNotFound)
				answer = filled[client.Problem]()
			}
			_, _ = io.WriteString(w, encoded(t, answer))
		})
	}
	has("GET /v1/runs/{id}", hostileRun, run)
	const ofMerchant = "/v1/merchants/{merchant}/"
	says("GET "+ofMerchant+"subscriptions", 200, filled(func(l *client.SubscriptionList) { l.Subscriptions[0] = subscription }))
	says("POST "+ofMerchant+"subscriptions", 202, run)
	says("GET "+ofMerchant+"subscriptions/{id}", 200, subscription)
	says("POST "+ofMerchant+"subscriptions/{id}/{action}", 202, run)
	says("PUT "+ofMerchant+"subscriptions/{id}/hold", 200, subscription)
	says("DELETE "+ofMerchant+"subscriptions/{id}/hold", 200, subscription)
	says("GET "+ofMerchant+"subscriptions/{id}/explanation", 200, filled(func(x *client.SubscriptionExplanation) { x.SubscriptionID = hostileSubscription }))
	says("GET "+ofMerchant+"subscriptions/{id}/usage", 200, filled[client.UsageList]())
	says("GET "+ofMerchant+"usage/unmatched", 200, filled[client.UnmatchedUsageList]())
	says("POST "+ofMerchant+"usage/billing", 202, filled(func(b *client.UsageBilling) { b.NextFrom = nil }))
	says("GET /v1/audits", 200, filled(func(l *client.AuditList) { l.Audits = []client.Audit{running, failed} }))
	says("POST /v1/audits", 202, running)
	says("GET /v1/audits/{id}", 200, failed)
	says("GET /v1/findings", 200, filled(func(l *client.FindingList) { l.Findings[0] = finding }))
	has("GET /v1/findings/{id}", hostileFinding, finding)
	says("PUT /v1/findings/{id}/acceptance", 200, finding)
	says("DELETE /v1/findings/{id}/acceptance", 200, finding)
	says("GET /v1/repair-plans", 200, filled(func(l *client.RepairPlanList) { l.Plans[0].ID = hostilePlan }))
	says("POST /v1/repair-plans", 201, plan)
	says("GET /v1/repair-plans/{id}", 200, plan)
	says("POST /v1/repairs", 202, filled(func(a *client.RepairAnswer) {
		a.PlanID = hostilePlan
		a.Repairs = append(a.Repairs, filled[client.RepairResult]())
		a.Repairs[0].FindingID, a.Repairs[1].FindingID = hostileFinding, hostileAudit
		a.Repairs[1].Refused, a.Repairs[1].RunID = nil, some(hostileRun)
	}))
	says("GET /v1/ledger", 200, filled(func(l *client.Ledger) { l.Findings[0] = finding }))
	return mux
}

// hostileUpstream starts a Keystone or BillingStack that refuses each request with the constant `evil`, and returns its address.
func hostileUpstream(t *testing.T, status int) string {
	t.Helper()
	text := encoded(t, map[string]any{"error": map[string]any{"code": status, "title": evil, "message": evil}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// The function `plain` checks that a command has printed no character that controls a terminal, and that no part of the constant `evil` has become
// a line of its own.
func plain(t *testing.T, what, printed string) {
	t.Helper()
	if i := strings.IndexFunc(printed, func(r rune) bool { return r != '\n' && escape.Controls(r) }); i >= 0 {
		t.Errorf("%s: printed the control character %q in %q", what, []rune(printed[i:])[0], printed)
	}
	for text := range strings.Lines(printed) {
		if text = strings.TrimLeft(text, " "); strings.HasPrefix(text, "tenantry: forged") || strings.HasPrefix(text, "z\"") || text == "z\n" {
			t.Errorf("%s: a line break in a text from outside has become one in the output: %q", what, printed)
		}
	}
}

// hostileArgs returns the command lines of a command, once for each format of its output.
func hostileArgs(t *testing.T, path string, replaced map[string]string) (all [][]string) {
	t.Helper()
	formats := [][]string{nil}
	if commandTree()[path].Flags().Lookup("format") != nil {
		formats = [][]string{{"-f", "table"}, {"-f", "json"}, {"-f", "yaml"}}
	}
	for _, more := range hostileCommands[path] {
		for _, format := range formats {
			args := strings.Fields(path)
			for arg := range strings.FieldsSeq(more) {
				if text, is := replaced[arg]; is {
					arg = text
				}
				args = append(args, arg)
			}
			all = append(all, slices.Concat(args, format))
		}
	}
	return all
}

// hostileIDs returns the arguments that hostileCommands names in capitals.
func hostileIDs() map[string]string {
	return map[string]string{
		"MERCHANT": someMerchant, "PLAN": somePlan, "SUBSCRIPTION": hostileSubscription, "RUN": hostileRun, "STEP": "step", "AUDIT": hostileAudit,
		"FINDING": hostileFinding, "USER": "u", "METERKEY": evil, "NEWID": uuid.NewString(),
	}
}

// Whatever texts a server answers with, no command prints a character that controls the terminal, or lets a text begin a line of the output.
func TestNoTextOfAServerControlsTheTerminal(t *testing.T) {
	api := httptest.NewServer(hostileAPI(t))
	t.Cleanup(api.Close)
	problem := &fake{status: http.StatusConflict, kind: "application/problem+json", answer: encoded(t, filled[client.Problem]())}
	address := "TENANTRY_URL=" + api.URL
	env, refused := []string{address, "OS_TOKEN=token"}, problem.start(t)
	ids := hostileIDs()
	ids["FILE"] = filepath.Join(t.TempDir(), "plan.yaml")
	if code, _, stderr := line(t, env, "audit", "plan", "-o", ids["FILE"]); code != 0 {
		t.Fatalf("writing the plan: %d, %s", code, stderr)
	}
	text, err := os.ReadFile(ids["FILE"])
	if err == nil {
		plain(t, "the file of a plan", string(text))
		err = os.WriteFile(ids["FILE"], []byte(approve(string(text))), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	keystoneEnv(t, hostileUpstream(t, http.StatusUnauthorized)+"/v3")
	for path := range hostileCommands {
		if slices.Contains(ofDatabase, path) {
			continue
		}
		for _, args := range hostileArgs(t, path, ids) {
			what, portal := strings.Join(args, " "), path == "subscribe"
			as := func(env []string) []string {
				problem.requests.Store(0)
				if portal {
					env = asPortal(append(slices.Clone(env), "TENANTRY_USER_TOKEN=token"))
				}
				return env
			}
			_, out, stderr := line(t, as(env), args...)
			plain(t, what, out+stderr)
			if !strings.Contains(out, "forged") && path != "usage bill" { // whose answer has no text
				t.Errorf("%s: the text of the server is not shown: %s%s", what, out, stderr)
			}
			code, out, stderr := line(t, as(refused), args...)
			plain(t, what+", which is refused", out+stderr)
			if code != exitRefused || !strings.Contains(stderr, "forged") {
				t.Errorf("%s, which is refused: %d, %s%s", what, code, out, stderr)
			}
			if !portal {
				code, out, stderr = line(t, []string{address}, args...)
				plain(t, what+", after a login that is refused", out+stderr)
				if code != exitRefused {
					t.Errorf("%s, after a login that is refused: %d, %s%s", what, code, out, stderr)
				}
			}
		}
	}
}

// Whatever texts a command line has, they do not control the terminal that shows the error.
func TestNoArgumentControlsTheTerminal(t *testing.T) {
	for path := range commandTree() {
		for _, more := range [][]string{{evil, evil, evil}, {"--" + evil}, {"-f", evil}, {"--merchant", evil, "--why", evil, evil}} {
			args := append(strings.Fields(path), more...)
			code, out, stderr := line(t, []string{"HOME=" + t.TempDir()}, args...)
			plain(t, fmt.Sprintf("%q", args), out+stderr)
			if code != exitUsage {
				t.Errorf("%q: got %d, %s%s, want %d", args, code, out, stderr, exitUsage)
			}
		}
	}
}

// hostileDatabase fills the database with objects each of whose texts is the constant `evil`: a merchant, a meter key, a run, a finding, an audit and a
// plan.
func hostileDatabase(t *testing.T, url string) {
	t.Helper()
	s, _, err := open(t.Context(), withDatabase(url))
	if err != nil {
		t.Fatal(err)
	}
	at := now()
	m := merchants.Merchant{
		ID: someMerchant, Name: evil, Cloud: evil, Domain: evil, CustomerRoles: []string{evil}, SubscriptionRoles: []string{evil},
		OnFailure: merchants.Compensate, CreatedAt: at,
	}
	key, _, keyErr := newKey(m)
	failure := filled[saga.Failure]()
	failure.At = at
	run := &saga.Run{
		ID: hostileRun, Workflow: evil, Merchant: m.ID, Cloud: evil, Subject: evil, User: "u", Key: evil, Input: []byte("{}"), CreatedAt: at, UpdatedAt: at,
		BudgetFrom: at, State: saga.Running, HoldsSubject: true, Replica: evil, Epoch: 1, Version: 1, AttentionAt: &at,
		Steps: []saga.StepRow{{Name: evil, State: saga.StepUndoFailed, Error: &failure, Attempts: 1, Undos: 1}},
	}
	event := saga.Event{
		RunID: run.ID, Seq: 1, At: at, Kind: saga.EventKind(evil), Step: evil, Action: evil, Who: evil, Why: evil, RequestID: evil, Failure: &failure,
	}
	_, joinErr := s.Join(t.Context(), evil, at.Add(time.Hour))
	stuck := run.Clone()
	stuck.State, stuck.Replica, stuck.Seq, stuck.DueAt = saga.Stuck, "", 1, nil
	stuck.Reason, stuck.Cause = &saga.Reason{Kind: saga.ReasonKind(evil), Failure: failure}, &failure
	stuck.LeftBehind = []saga.LeftBehind{filled[saga.LeftBehind]()}
	finding := audit.Finding{
		ID: hostileFinding, Code: audit.Code(evil), Severity: audit.High, Cloud: evil, MerchantID: m.ID, CustomerID: evil, SubscriptionID: evil, ProjectID: evil,
		UserID: "u", RunID: hostileRun, Objects: []audit.Object{{Kind: evil, ID: evil, Name: evil}}, Detail: evil, Affected: evil,
		Repair: audit.Repair{Action: audit.EnableProject, Advice: evil, Values: map[string]string{evil: evil}},
	}
	ended := audit.Audit{ID: hostileAudit, By: evil, CreatedAt: at, State: audit.Pending, Scope: audit.Scope{Cloud: evil}}
	err = errors.Join(
		keyErr, joinErr, s.Merchants().Create(t.Context(), m, key),
		s.Usage().CreateMeterKey(t.Context(), meters.MeterKey{Key: evil, Cloud: evil, CreatedAt: at}),
		s.Create(t.Context(), saga.NewRun{Run: run}),
		s.Commit(t.Context(), at, []saga.Checkpoint{{
			Run: stuck, Replica: evil, Steps: run.Steps, Events: []saga.Event{event},
			Objects: []saga.Object{{Step: evil, Kind: evil, Cloud: evil, ID: evil, Name: evil, Origin: saga.Own, RequestID: evil}},
		}})[0].Err,
		s.Audits().Create(t.Context(), ended),
		s.Audits().CreatePlan(t.Context(), audit.Plan{ID: hostilePlan, Installation: evil, CreatedAt: at, By: evil}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Audits().Take(t.Context(), evil, at, at); err != nil {
		t.Fatal(err)
	}
	ended.State, ended.EndedAt, ended.Failure = audit.Incomplete, &at, evil
	ended.Gaps = []audit.Gap{{Code: evil, Cloud: evil, MerchantID: evil, Detail: evil}}
	if err := errors.Join(s.Audits().Finish(t.Context(), evil, audit.Outcome{Audit: ended, Seen: []audit.Finding{finding}}), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// Whatever texts are stored, the commands with --local and the commands on a server's host print none that controls the terminal.
func TestNoStoredTextControlsTheTerminal(t *testing.T) {
	upstream := hostileUpstream(t, http.StatusForbidden)
	honest, stop, err := keystonetest.New(keystonetest.Options{AdminPassword: "canary-password"}).Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	clouds := filepath.Join(t.TempDir(), "clouds.yaml")
	if err := os.WriteFile(clouds, []byte(fmt.Sprintf("clouds: {%q: {}}", evil)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OS_CLIENT_CONFIG_FILE", clouds)
	template := filepath.Join(t.TempDir(), "t.db")
	hostileDatabase(t, "sqlite:"+template)
	var mu sync.Mutex
	shown := map[string]bool{} // by command: whether a stored text, or one of an upstream, was shown
	// The function `execute` executes a command line on a copy of the database.
	execute := func(path string, args []string) {
		folder := t.TempDir()
		for _, name := range []string{"t.db", "t.db.key"} {
			content, err := os.ReadFile(filepath.Join(filepath.Dir(template), name))
			if err == nil {
				err = os.WriteFile(filepath.Join(folder, name), content, 0o600)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
		if i := slices.Index(args, "NEWFILE"); i >= 0 {
			args[i] = filepath.Join(folder, "new")
		}
		env := []string{"TENANTRY_DATABASE_URL=sqlite:" + filepath.Join(folder, "t.db"), "TENANTRY_BILLING_URL=" + upstream + "/v2", "HOME=" + folder}
		_, out, stderr := line(t, env, args...)
		plain(t, strings.Join(args, " "), out+stderr)
		mu.Lock()
		defer mu.Unlock()
		shown[path] = shown[path] || strings.Contains(out+stderr, "forged")
	}
	for round, auth := range []string{honest, upstream + "/v3"} {
		keystoneEnv(t, auth)
		var all sync.WaitGroup
		slots := make(chan struct{}, 4) // some commands wait for a replica
		for path, leaf := range commandTree() {
			var more []string
			switch {
			case hostileCommands[path] == nil, path == "healthcheck": // see TestTheStatusOfAServerCannotControlTheTerminal
				continue
			case slices.Contains(ofDatabase, path):
			case round == 0 && cmp.Or(leaf.Flags().Lookup(localFlag), leaf.InheritedFlags().Lookup(localFlag)) != nil: // these commands do not ask Keystone
				more = []string{"--local"}
			default:
				continue
			}
			if path == "audit run" {
				more = append(more, "--no-wait") // no server executes the audit
			}
			for _, args := range hostileArgs(t, path, hostileIDs()) {
				all.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					execute(path, append(args, more...))
				})
			}
		}
		all.Wait()
	}
	for path, does := range shown {
		if !does && !slices.Contains(silent, path) {
			t.Errorf("%s: no stored text is shown", path)
		}
	}
}

// The commands in `silent` print no stored text: they print new keys or new objects, or the server's own words for a refusal.
var silent = []string{
	"merchant rotate-key", "meter-key create", "audit apply", "audit run", "audit plan", "runs hold", "runs cancel", "runs compensate", "runs skip",
}

// The status line of an answer can have any character except line breaks.
func TestTheStatusOfAServerCannotControlTheTerminal(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 500 forged\x1b[2J\u009b\u202e\x9b\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	}()
	code, out, stderr := line(t, []string{"HOME=/users/ann", "TENANTRY_LISTEN=" + l.Addr().String()}, "healthcheck")
	plain(t, "healthcheck", out+stderr)
	if code != exitUnreachable || !strings.Contains(stderr, "forged") {
		t.Errorf("got %d, %s%s", code, out, stderr)
	}
}

// On a terminal, the steps of a run and the progress of an audit are drawn with the program's own control sequences, and with no others.
func TestPicturesOnATerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "screen"))
	if err != nil {
		t.Fatal(err)
	}
	p := &picture{w: file}
	for range 2 {
		p.draw(filled[client.Run]())
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("\x1b[%dA", p.lines)
	if !bytes.Contains(drawn, []byte(own)) {
		t.Errorf("the second picture does not overwrite the first: %q", drawn)
	}
	plain(t, "the picture of a run", strings.NewReplacer("\x1b[2K", "", "\x1b[J", "", own, "").Replace(string(drawn)))
	for _, total := range []int{0, 2} {
		a := filled(func(a *client.Audit) { a.State, a.Progress.Total = client.AuditRunning, total })
		plain(t, "the progress of an audit", progressLine(a, 500)+"\n")
	}
}
