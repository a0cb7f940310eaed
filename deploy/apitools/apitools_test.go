package apitools

import (
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The function `run` executes a command and returns the command's output. If the command fails, `run` ends the test.
func run(t *testing.T, directory string, env []string, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Dir, command.Env = directory, append(os.Environ(), env...)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func tool(name string) string { return filepath.Join("node_modules", ".bin", name) }

// The function `published` writes the document of a server to a file, and returns the path of the file.
func published(t *testing.T, in *servicetest.Installation) string {
	t.Helper()
	resp, err := in.Client.Get(in.URL + "/openapi.json")
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	path := filepath.Join(t.TempDir(), "openapi.json")
	must(t, os.WriteFile(path, text, 0o600))
	return path
}

func TestTheDocumentPassesTheLinters(t *testing.T) {
	Install(t, ".")
	document := published(t, servicetest.New(t, servicetest.Options{}))
	run(t, ".", nil, "node", "lint.mjs", document)
	run(t, ".", nil, tool("spectral"), "lint", "--ruleset", ".spectral.yaml", "--fail-severity", "hint", document)
}

// TestEachRuleThatIsOffHasAReason checks that a comment precedes each rule that a ruleset switches off.
func TestEachRuleThatIsOffHasAReason(t *testing.T) {
	for _, name := range []string{".spectral.yaml", "redocly.yaml"} {
		text, err := os.ReadFile(name)
		must(t, err)
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			if strings.HasSuffix(line, ": off") && !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "#") {
				t.Errorf("%s: %s has no reason", name, strings.TrimSpace(line))
			}
		}
	}
}

func TestTheTypeScriptClientFitsTheServer(t *testing.T) {
	Install(t, ".")
	refused := ""
	in := servicetest.New(t, servicetest.Options{Around: func(name string, next http.RoundTripper) http.RoundTripper {
		if name != service.BillingStack {
			return next
		}
		return &refusing{next, &refused}
	}})
	plan, err := in.Billing.CreatePlan(t.Context(), in.Merchant.ID, billing.Plan{Name: "refused"})
	must(t, err)
	refused = plan.ID

	directory := t.TempDir()
	here, err := filepath.Abs(".")
	must(t, err)
	must(t, os.Symlink(filepath.Join(here, "node_modules"), filepath.Join(directory, "node_modules")))
	for _, name := range []string{"portal.ts", "tsconfig.json", "package.json"} {
		text, err := os.ReadFile(name)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(directory, name), text, 0o600))
	}
	run(t, directory, nil, tool("openapi-typescript"), published(t, in), "--output", "openapi.d.ts")
	run(t, directory, nil, tool("tsc"), "--project", ".")
	printed := run(t, directory, []string{
		"TENANTRY_URL=" + in.URL, "API_KEY=" + in.Merchant.Key, "API_SECRET=" + in.Merchant.Secret, "USER_TOKEN=" + in.UserToken,
		"MERCHANT=" + in.Merchant.ID, "PLAN=" + in.Merchant.Plan, "REFUSED_PLAN=" + refused,
	}, "node", "portal.js")
	want := []string{
		"subscribe 201", "subscribe 201", "getSubscription 200", "getRun 200", "subscribe 409", "subscribe 400", "listRuns 200",
		"listRunEvents 200",
	}
	if got := strings.TrimSpace(printed); got != strings.Join(want, "\n") {
		t.Errorf("the portal checked the answers\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// The type `refusing` is a transport. In place of BillingStack, it refuses requests for subscriptions to the plan.
type refusing struct {
	next http.RoundTripper
	plan *string
}

// RoundTrip implements [http.RoundTripper].
func (r *refusing) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Method != http.MethodPost || q.GetBody == nil {
		return r.next.RoundTrip(q)
	}
	body, err := q.GetBody()
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(body)
	if err != nil || !strings.Contains(string(text), *r.plan) {
		return r.next.RoundTrip(q)
	}
	return &http.Response{
		StatusCode: http.StatusBadRequest, ProtoMajor: 1, ProtoMinor: 1, Request: q, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"faultcode": "Client", "faultstring": "no more subscriptions to this plan", "debuginfo": null}`)),
	}, nil
}
