package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func TestMeterKeyLife(t *testing.T) {
	env := newDatabase(t)
	code, out, stderr := line(t, env, "meter-key", "create", "--cloud", "west", "-f", "json")
	var created meterKeyView
	if err := json.Unmarshal([]byte(out), &created); err != nil || code != 0 || created.Cloud != "west" || !strings.HasPrefix(created.Key, "tm_") ||
		!strings.HasPrefix(created.Secret, "ts_") {
		t.Fatalf("create: got %d, %s%s, %v", code, out, stderr, err)
	}
	if want := "tenantry: wrote meter key " + created.Key + " to the database sqlite:"; !strings.Contains(stderr, want) {
		t.Errorf("create: got %q, want %q", stderr, want)
	}
	if code, out, _ := line(t, env, "meter-key", "create"); code != 0 || !strings.Contains(out, "default") || !strings.Contains(out, "ts_") {
		t.Errorf("create without a cloud: got %d, %s", code, out)
	}
	if code, out, _ := line(t, env, "meter-key", "list"); code != 0 || strings.Count(out, "\n") != 3 || strings.Contains(out, created.Secret) {
		t.Errorf("list: got %d\n%s", code, out)
	}
	for range 2 {
		if code, out, _ := line(t, env, "meter-key", "revoke", created.Key, "-f", "json"); code != 0 || !strings.Contains(out, "revoked_at") {
			t.Errorf("revoke: got %d, %s", code, out)
		}
	}
	if code, _, stderr := line(t, env, "meter-key", "revoke", "tm_none"); code != exitRefused || !strings.Contains(stderr, "no such meter key") {
		t.Errorf("revoke an unknown key: got %d, %s", code, stderr)
	}
	if code, _, stderr := line(t, env, "meter-key", "create", "--cloud", ""); code != exitUsage || !strings.Contains(stderr, "--cloud") {
		t.Errorf("create with an empty cloud: got %d, %s", code, stderr)
	}
}

// A meter key is refused for a cloud that neither a merchant nor clouds.yaml has. If the command cannot know, it warns.
func TestMeterKeysAreForKnownClouds(t *testing.T) {
	env := newDatabase(t)
	dir := t.TempDir()
	t.Chdir(dir) // it has no clouds.yaml
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	if code, _, stderr := line(t, env, "merchant", "create", uuid.NewString(), "--name", "M", "--cloud", "east"); code != 0 {
		t.Fatalf("merchant: got %d, %s", code, stderr)
	}
	file := filepath.Join(dir, "elsewhere.yaml")
	for _, c := range []struct {
		what, content, cloud string // content is that of clouds.yaml; empty: there is none
		code                 int
		says, not            string
	}{
		{"the cloud of a merchant", "", "east", 0, "", "dropped"},
		{"the default cloud", "clouds: {west: {}}", "default", 0, "", "dropped"},
		{"no clouds.yaml", "", "west", 0, "tenantry: no merchant has the cloud west, and there is no clouds.yaml here: if the name is wrong, the samples are dropped", ""},
		{"an entry", "clouds: {west: {}, south: {}}", "west", 0, "tenantry: no merchant has the cloud west yet: its samples are dropped until a merchant has it", ""},
		{"no entry", "clouds: {west: {}, south: {auth: {password: hidden}}}", "wset", exitUsage, `--cloud: no merchant has the cloud "wset", and ` + file +
			" has no such entry; the known clouds are default, east, south, west", "hidden"},
		{"a clouds.yaml without clouds", "clouds: {}", "wset", exitUsage, "has no such entry; the known clouds are default, east\n", ""},
		{"a clouds.yaml that cannot be read", "clouds: [", "west", 0, "no merchant has the cloud west, and clouds.yaml cannot be read: " + file + " is not valid YAML", ""},
	} {
		t.Setenv("OS_CLIENT_CONFIG_FILE", "")
		if c.content != "" {
			t.Setenv("OS_CLIENT_CONFIG_FILE", file)
			if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, out, stderr := line(t, env, "meter-key", "create", "--cloud", c.cloud)
		if code != c.code || !strings.Contains(stderr, c.says) || c.not != "" && strings.Contains(stderr, c.not) || (code == 0) != strings.Contains(out, "ts_") {
			t.Errorf("%s: got %d, %s%s", c.what, code, out, stderr)
		}
	}
}

// An operator can read each fault on a line of its own.
func TestServeRefusesAFileOfMetersWithFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "meters.yaml")
	if err := os.WriteFile(file, []byte("meters: [{meter: a, product: P, kind: x}, {meter: a, product: P}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(newDatabase(t), "TENANTRY_METERS="+file, "OS_AUTH_URL=http://127.0.0.1:1/v3", "OS_USERNAME=u", "OS_PASSWORD=p", "OS_PROJECT_ID=p")
	want := "tenantry: meters: " + file + ": meter 1 \"a\": `kind` is \"x\", but must be cumulative, delta or gauge\n" +
		"tenantry: meters: " + file + ": meter 2 \"a\": the meter is in the file twice\n"
	if code, _, stderr := line(t, env, "serve"); code != exitUsage || stderr != want {
		t.Errorf("got %d, %q, want %q", code, stderr, want)
	}
}

func TestUsageShow(t *testing.T) {
	h := newHouse(t)
	merchant := "--merchant=" + h.merchant.ID
	_, made, _ := h.subscribe(h.env, "-f", "json")
	var run client.Run
	h.ok(json.Unmarshal([]byte(made), &run))
	id := fmt.Sprint(run.Result["subscription_id"])
	for _, env := range [][]string{h.env, h.operator()} {
		code, out, stderr := line(t, env, "usage", "show", id, merchant)
		if code != 0 || out != "FROM  TO  METER  AMOUNT  UNIT  STATE  PLAN  BILLED AS\n" {
			t.Errorf("got %d, %q%s", code, out, stderr)
		}
	}
	if code, out, _ := line(t, h.operator(), "usage", "show", id, merchant, "-f", "json"); code != 0 ||
		!strings.Contains(out, "\"rows\": [],\n  \"usage\": []\n}") {
		t.Errorf("as JSON: got %d, %q", code, out)
	}
	for what, args := range map[string][]string{
		"no merchant":    {id},
		"no time":        {id, merchant, "--from", "yesterday"},
		"no id":          {"x", merchant},
		"too few of all": {merchant},
	} {
		if code, _, stderr := line(t, h.operator(), append([]string{"usage", "show"}, args...)...); code != exitUsage {
			t.Errorf("%s: got %d, %s", what, code, stderr)
		}
	}
	code, _, stderr := line(t, h.operator(), "usage", "show", id, merchant, "--from", "2026-01-01T00:00:00Z", "--to", "2026-02-01T00:00:00Z")
	if code != exitRefused || !strings.Contains(stderr, "at most 7 days") {
		t.Errorf("a long range: got %d, %s", code, stderr)
	}
}

// A server may divide the usage among several pages.
func TestUsageShowReadsAllPages(t *testing.T) {
	hour := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	var queries []string
	endless := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		from := r.URL.Query().Get("from")
		answer := client.UsageList{
			Usage: []client.Usage{{From: hour, To: hour.Add(time.Hour), Meter: "page " + from, Kind: client.Delta, Amount: "1", BilledAs: some("Pages")}},
			Rows:  []client.UsageRow{{ID: "row " + from, From: hour, To: hour.Add(time.Hour), Value: "1", State: client.UsageRowStateDiffering, Detail: some("the value is 2")}},
		}
		if from != "2026-01-31T14:00:00Z" || endless {
			answer.Links = client.Links{{Rel: "next", Href: "/usage?from=2026-01-31T14:00:00Z&to=2026-01-31T16:00:00Z"}}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	env := []string{"TENANTRY_URL=" + server.URL, "TENANTRY_API_KEY=k", "TENANTRY_API_SECRET=s"}
	const id, merchant = "7d5d2ad3-61ac-4b0a-9e0e-24aef3e0a3f1", "--merchant=0c0a5f7e-13f7-4b5c-9d1c-1b1b6c1f7a01"
	code, out, stderr := line(t, env, "usage", "show", id, merchant, "--to", "2026-01-31T16:00:00Z")
	if code != 0 || strings.Count(out, "page ") != 2 || strings.Count(out, "row ") != 2 || strings.Count(out, "the value is 2") != 2 || strings.Count(out, "Pages") != 2 {
		t.Errorf("got %d, %s%s", code, out, stderr)
	}
	if len(queries) != 2 || !strings.Contains(queries[1], "to=2026-01-31T16%3A00%3A00Z") {
		t.Errorf("the queries are %q", queries)
	}
	endless = true
	if code, _, stderr := line(t, env, "usage", "show", id, merchant); code != exitUnreachable || !strings.Contains(stderr, "does not end") {
		t.Errorf("a list without an end: got %d, %s", code, stderr)
	}
}

func TestUsageUnmatched(t *testing.T) {
	h := newHouse(t)
	merchant := "--merchant=" + h.merchant.ID
	for _, env := range [][]string{h.env, h.operator()} {
		code, out, stderr := line(t, env, "usage", "unmatched", merchant)
		if code != 0 || out != "REASON  METER  AMOUNT  UNIT  SUBSCRIPTION  PROJECT  CLOUD  FIRST HOUR  LAST HOUR\n" {
			t.Errorf("got %d, %q%s", code, out, stderr)
		}
	}
	if code, _, stderr := line(t, h.operator(), "usage", "unmatched"); code != exitUsage || !strings.Contains(stderr, "--merchant is required") {
		t.Errorf("without a merchant: got %d, %s", code, stderr)
	}
	if code, _, stderr := line(t, h.operator(), "usage", "unmatched", merchant, "--limit", "0"); code != exitRefused || !strings.Contains(stderr, "limit") {
		t.Errorf("with a limit of 0: got %d, %s", code, stderr)
	}
}

func TestUsageBill(t *testing.T) {
	h := newHouse(t)
	merchant := "--merchant=" + h.merchant.ID
	good := []string{merchant, "--from=2026-01-31T12:00:00Z", "--to=2026-01-31T14:00:00+01:00", "--why=a new product"}
	code, out, stderr := line(t, h.operator(), append([]string{"usage", "bill"}, good...)...)
	if want := "FROM                  TO                    HOURS  PROJECTS\n2026-01-31 12:00:00Z  2026-01-31 13:00:00Z  0      0\n"; code != 0 || out != want {
		t.Errorf("got %d, %q%s, want %q", code, out, stderr, want)
	}
	if code, out, stderr := line(t, h.operator(), append([]string{"usage", "bill", "-f", "json"}, good...)...); code != 0 || !strings.Contains(out, `"hours": 0`) {
		t.Errorf("as JSON: got %d, %s%s", code, out, stderr)
	}
	for what, args := range map[string][]string{
		"no merchant":     good[1:],
		"no beginning":    {merchant, good[2], good[3]},
		"no end":          {merchant, good[1], good[3]},
		"no reason":       good[:3],
		"no time":         {merchant, "--from=yesterday", good[2], good[3]},
		"no end of a day": {merchant, good[1], "--to=2026-02-30T00:00:00Z", good[3]},
		"no subscription": append([]string{"--subscription=x"}, good...),
		"an argument":     append([]string{"x"}, good...),
	} {
		if code, _, stderr := line(t, h.operator(), append([]string{"usage", "bill"}, args...)...); code != exitUsage {
			t.Errorf("%s: got %d, %s", what, code, stderr)
		}
	}
	code, out, stderr = line(t, h.operator(), "usage", "bill", merchant, "--from=2026-01-01T00:00:00Z", "--to=2026-03-01T00:00:00Z", good[3])
	if code != exitRefused || !strings.Contains(stderr, "at most 31 days") || out != "" {
		t.Errorf("a long range: got %d, %s%s", code, out, stderr)
	}
}

// A server may need several calls for a range. If one of them fails, the command prints what the earlier ones have done.
func TestUsageBillMakesSeveralCalls(t *testing.T) {
	var froms []string
	var answers []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var want client.UsageBillingRequest
		if err := json.NewDecoder(r.Body).Decode(&want); err != nil || want.To != "2026-01-31T16:00:00Z" || want.Why != "because" || *want.SubscriptionID == "" || !*want.Current {
			t.Errorf("got %+v, %v", want, err)
		}
		froms = append(froms, want.From)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(answers[len(froms)-1]))
	}))
	defer server.Close()
	env := []string{"TENANTRY_URL=" + server.URL, "OS_TOKEN=t"}
	call := func() (int, string, string) {
		froms = nil
		return line(t, env, "usage", "bill", "--merchant=0c0a5f7e-13f7-4b5c-9d1c-1b1b6c1f7a01", "--from=2026-01-31T12:00:00Z", "--to=2026-01-31T16:00:00Z",
			"--why=because", "--current", "--subscription=7d5d2ad3-61ac-4b0a-9e0e-24aef3e0a3f1")
	}
	first := `{"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T14:00:00Z", "hours": 70, "projects": 35, "next_from": "2026-01-31T14:00:00Z"}`
	answers = []string{first, `{"from": "2026-01-31T14:00:00Z", "to": "2026-01-31T16:00:00Z", "hours": 8, "projects": 4}`}
	code, out, stderr := call()
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(out, "70     35") || !strings.Contains(out, "8      4") || strings.Join(froms, " ") != "2026-01-31T12:00:00Z 2026-01-31T14:00:00Z" {
		t.Errorf("got %d, %s%s, and the calls %q", code, out, stderr, froms)
	}
	answers = []string{first, "no JSON"}
	if code, out, stderr := call(); code != exitUnreachable || !strings.Contains(out, "70     35") || strings.Count(out, "\n") != 2 {
		t.Errorf("the second call fails: got %d, %s%s", code, out, stderr)
	}
	answers = []string{first, strings.Replace(first, "12:00:00Z", "14:00:00Z", 1)}
	if code, _, stderr := call(); code != exitUnreachable || !strings.Contains(stderr, "has billed this hour already") {
		t.Errorf("a server that repeats an hour: got %d, %s", code, stderr)
	}
}
