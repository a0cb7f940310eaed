package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api/client"
)

func TestDryRuns(t *testing.T) {
	h := newHouse(t)
	runs := func() int {
		t.Helper()
		code, out, stderr := line(t, h.operator(), "runs", "list")
		if code != 0 {
			t.Fatalf("listing the runs: got %d, %s", code, stderr)
		}
		return strings.Count(out, "\n") - 1
	}
	code, out, stderr := h.subscribe(h.env, "--dry-run")
	want := `STEP                             WHAT           UNDO                                                          NOTE
check                            nothing-to-do  none: it only reads                                           -
create-customer                  would-create   remove                                                        customer Ann (ID)
create-customer-tenant           would-create   remove                                                        project bs-customer-ID
assign-customer-role/member      would-create   remove                                                        -
`
	if got := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`).ReplaceAllString(out, "ID"); code != 0 || stderr != "" || !strings.HasPrefix(got, want) {
		t.Errorf("a dry run of an order: got %d, %s%s\nwant %s", code, got, stderr, want)
	}
	if n := runs(); n != 0 || len(h.keystone.Projects()) != 1 {
		t.Errorf("the dry run has left %d runs and the projects %v", n, h.keystone.Projects())
	}

	_, out, _ = h.subscribe(h.env, "-f", "json")
	var made client.Run
	h.ok(json.Unmarshal([]byte(out), &made))
	command := func(name string, more ...string) (code int, out, stderr string) {
		t.Helper()
		id := fmt.Sprint(made.Result["subscription_id"])
		return line(t, h.env, append([]string{"subscriptions", name, id, "--merchant", h.merchant.ID, "--why", "a test", "--dry-run"}, more...)...)
	}
	large, err := h.billing.CreatePlan(t.Context(), h.merchant.ID, billing.Plan{Name: "large"})
	h.ok(err)
	for name, want := range map[string]string{"suspend": "disable-tenant", "unsubscribe": "revoke-role/member", "change-plan": "change-plan"} {
		var more []string
		if name == "change-plan" {
			more = []string{"--plan", large.ID}
		}
		for _, format := range []string{"table", "json", "yaml"} {
			code, out, stderr := command(name, append(more, "-f", format)...)
			if code != 0 || stderr != "" || !strings.Contains(out, want) {
				t.Errorf("%s as %s: got %d, %s%s", name, format, code, out, stderr)
			}
			var d client.DryRun
			if format == "json" && (json.Unmarshal([]byte(out), &d) != nil || d.Workflow != name || d.State != client.DryRunStateSucceeded || len(d.Steps) < 2) {
				t.Errorf("%s as JSON: got %+v", name, d)
			}
		}
	}
	for name, want := range map[string]string{"resume": "is not suspended", "restore": "has not been ended"} {
		if code, _, stderr := command(name); code != exitRefused || !strings.Contains(stderr, want) {
			t.Errorf("%s: got %d, %s", name, code, stderr)
		}
	}
	if n := runs(); n != 1 {
		t.Errorf("there are %d runs, want only the run that is not a dry run", n)
	}
}

// If a run would fail, its dry run prints the cause, and has the same exit code as the run.
func TestADryRunOfARunThatWouldFail(t *testing.T) {
	h := newHouse(t)
	c, err := h.billing.EnsureCustomer(t.Context(), billing.Customer{ID: uuid.NewString(), MerchantID: h.merchant.ID, Name: "Ann", Currency: "eur", Language: "eng"})
	h.ok(err)
	h.keystone.AddProject(keystone.Project{Name: keystone.CustomerTenant(c.ID)})
	order := []string{"subscribe", "--merchant", h.merchant.ID, "--plan", h.plan.ID, "--customer", c.ID, "--add-user"}
	token := "TENANTRY_USER_TOKEN=" + h.keystone.IssueToken(h.keystone.AddUser(keystonetest.User{Name: "ann", Password: "pw"}))
	code, out, stderr := line(t, append(h.env, token), append(order, "--dry-run")...)
	if code != exitFailed || !strings.Contains(out, "conflict: project bs-customer-"+c.ID) || !strings.Contains(out, "not-reached") ||
		stderr != "tenantry: the run would wait for an operator\n" {
		t.Errorf("got %d, %s%s", code, out, stderr)
	}
}
