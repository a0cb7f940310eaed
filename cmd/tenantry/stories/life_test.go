package stories_test

import (
	"fmt"
	"testing"
	"time"
)

// TestTheLifeOfASubscriptionOnRealParts changes and ends a subscription with the CLI, on a real Keystone and PostgreSQL, until all its
// objects are removed. SQL statements make the removals due at once. After each command, an audit must find nothing.
func TestTheLifeOfASubscriptionOnRealParts(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	a.subscribeAll(2) // the second subscription must not change
	s, other := a.one(), a.one()
	tell := func(command string, more ...string) {
		t.Helper()
		a.run(append([]string{"subscriptions", command, s.id, "--merchant", a.merchant.ID, "--why", "a test"}, more...)...)
		if got := a.audit(0); len(got) > 0 {
			t.Errorf("after %s, the audit finds %v", command, a.open())
		}
	}
	stands := func(state string, enabled bool) {
		t.Helper()
		var seen struct{ State string }
		a.unmarshal(a.run("subscriptions", "show", s.id, "--merchant", a.merchant.ID, "-f", "json"), &seen)
		if p := a.projectOf(s.tenant); seen.State != state || p.Enabled != enabled {
			t.Errorf("the subscription is %q and its tenant enabled %t, want %s and %t", seen.State, p.Enabled, state, enabled)
		}
	}
	tell("suspend")
	stands("suspended", false)
	tell("resume")
	stands("active", true)
	tell("change-plan", "--plan", a.newPlan.ID)
	tell("unsubscribe")
	stands("ending", false)
	tell("restore")
	stands("active", true)
	tell("unsubscribe")

	a.become("remove", s.id)
	if a.has(s.tenant) || !a.has(s.customerTenant) {
		t.Error("the subscription's tenant should be gone, and the customer's should not")
	}
	a.become("close", s.id)
	a.become("remove", s.customer)
	if a.has(s.customerTenant) || !a.has(other.tenant) {
		t.Error("the customer's tenant should be gone, and the other subscription's should not")
	}
	if got := a.audit(0); len(got) > 0 {
		t.Errorf("in the end, the audit finds %v", a.open())
	}
}

// The method `become` makes a follow-up due, as if a year had passed, and waits until a run has deleted the follow-up.
func (a *audited) become(workflow, id string) {
	a.t.Helper()
	var input string
	a.ok(ask(a.t.Context(), a.database, &input, `UPDATE follow_ups SET due_at = due_at - 366 * 86400 * 1000000::bigint,
		input = CASE WHEN input::jsonb ? 'disabled_at' THEN jsonb_set(input::jsonb, '{disabled_at}', to_jsonb(now() - interval '1 year'))::text ELSE input END
		WHERE workflow = $1 AND id = $2 RETURNING input`, workflow, id))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		var left int
		a.ok(ask(a.t.Context(), a.database, &left, "SELECT count(*) FROM follow_ups WHERE workflow = $1 AND id = $2", workflow, id))
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%s of %s has not happened: %s", workflow, id, a.run("runs", "list", "--workflow", workflow))
		}
	}
}

// The method `has` reports whether Keystone has the project.
func (a *audited) has(id string) bool { return a.projectOf(id).ID != "" }

// projectOf returns the tenant with this id, or the zero value if Keystone does not have the tenant.
func (a *audited) projectOf(id string) project {
	a.t.Helper()
	var found struct{ Projects []project }
	a.cloud.call(a.t, "GET", fmt.Sprintf("/projects?domain_id=%s", a.cloud.domain), nil, &found)
	for _, p := range found.Projects {
		if p.ID == id {
			return p
		}
	}
	return project{}
}
