package stories_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// notRepaired are the codes of the findings that Tenantry does not repair.
var notRepaired = []string{
	"tenant-renamed", "tenant-duplicate", "role-extra-group", "role-extra-inherited", "role-of-disabled-user", "subscriber-gone",
	"objects-gone", "plan-gone", "plan-differs", "subscription-moved",
}

// The method `remaining` returns the number of findings of each code that must remain after the repairs. Tenantry does not repair a
// project that has the name of a tenant but was not made by a run. The test has made `times` such projects with the name of a customer
// tenant, and `times` with the name of a subscription tenant.
func (a *audited) remaining(times int) map[string]int {
	left := map[string]int{"tenant-without-subscription": times, "tenant-without-customer": times}
	for code, n := range a.want {
		if slices.Contains(notRepaired, code) {
			left[code] = n
		}
	}
	return left
}

// The method `repair` plans the repairs of all findings, approves all entries, and applies the plan twice. Then `repair` waits until the
// tenants to be removed are gone.
func (a *audited) repair() {
	a.t.Helper()
	file := filepath.Join(a.t.TempDir(), "repair.yaml")
	a.run("audit", "plan", "-o", file)
	plan, err := os.ReadFile(file)
	a.ok(err)
	if out, code, _ := a.exits("audit", "apply", file); code == 0 {
		a.t.Errorf("a plan without an approved entry is applied: %s", out)
	}
	a.ok(os.WriteFile(file, []byte(strings.ReplaceAll(string(plan), "approve: false", "approve: true")), 0o600))
	if out, code, stderr := a.exits("audit", "apply", file, "--dry-run"); code != 0 {
		a.t.Errorf("the dry run exits with %d: %s%s", code, out, stderr)
	}
	once := a.apply(file)
	if twice := a.apply(file); !maps.Equal(once, twice) {
		a.t.Errorf("the first application has the runs %v, the second %v: want the same runs", once, twice)
	}
	a.removeTenants()
}

// The method `apply` applies a plan, and returns the id of each finding's run.
func (a *audited) apply(file string) map[string]string {
	a.t.Helper()
	out, code, stderr := a.exits("audit", "apply", file, "--wait", "5m", "-f", "json")
	if code != 0 {
		a.t.Fatalf("tenantry audit apply exits with %d: %s%s", code, out, stderr)
	}
	var applied struct {
		Repairs []struct {
			FindingID string `json:"finding_id"`
			RunID     string `json:"run_id"`
			RunState  string `json:"run_state"`
		}
	}
	a.unmarshal(out, &applied)
	runs := map[string]string{}
	for _, r := range applied.Repairs {
		if runs[r.FindingID] = r.RunID; r.RunState != "succeeded" {
			a.t.Errorf("the repair of finding %s is %q: %s", r.FindingID, r.RunState, a.run("runs", "show", r.RunID))
		}
	}
	return runs
}

// removeTenants shifts the planned removals of tenants into the past by eleven minutes, so that they are due now. It then waits until all
// these removals have ended.
func (a *audited) removeTenants() {
	a.t.Helper()
	var left int
	a.ok(ask(a.t.Context(), a.database, &left, `WITH shifted AS (UPDATE follow_ups SET due_at = due_at - 11 * 60 * 1000000,
		input = jsonb_set(input::jsonb, '{disabled_at}', to_jsonb(now() - interval '11 minutes'))::text WHERE workflow = 'repair' RETURNING 1)
		SELECT count(*) FROM shifted`))
	if left == 0 {
		a.t.Error("there is no tenant to remove")
	}
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
		a.ok(ask(a.t.Context(), a.database, &left, "SELECT count(*) FROM follow_ups WHERE workflow = 'repair'"))
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%d tenants are not removed: %s", left, a.run("runs", "list", "--attention"))
		}
	}
	if failed := string(a.run("runs", "list", "--workflow", "repair", "--state", "compensated")); strings.Count(failed, "\n") > 1 {
		a.t.Errorf("repairs have failed: %s", failed)
	}
}

// The method `accept` accepts all open findings.
func (a *audited) accept() {
	a.t.Helper()
	for id := range a.open() {
		a.run("audit", "accept", id, "--why", "a test")
	}
}
