package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
)

// The method `explained` returns the explanation of a run. The method `read` of the contract also checks the answer against the document.
func (w *world) explained(q request) api.Explanation {
	w.t.Helper()
	x := read[api.Run](w.t, w.call(q)).Explanation
	if x == nil {
		w.t.Fatalf("%s has no explanation", q.path)
	}
	return *x
}

func commandsOf(x api.Explanation) (commands, requests []string) {
	for _, s := range x.Next {
		if s.Command != nil {
			commands = append(commands, *s.Command)
		}
		if s.Request != nil {
			requests = append(requests, *s.Request)
		}
	}
	return commands, requests
}

func TestARunIsExplainedToItsReader(t *testing.T) {
	w := newWorld(t)
	path := w.held(w.order("k"))
	id := strings.TrimPrefix(path, "/v1/runs/")

	x := w.explained(w.admin("GET", path, ""))
	commands, requests := commandsOf(x)
	if x.FixBy != api.FixByOperator || !strings.Contains(x.What, "A project with the tenant's name exists") ||
		!strings.Contains(text(x.Why), `The error of the step create-subscription: "somebody must decide".`) {
		t.Errorf("got %+v", x)
	}
	if want := "tenantry runs retry " + id + " --why REASON"; !strings.Contains(strings.Join(commands, "\n"), want) || len(requests) > 0 {
		t.Errorf("an operator gets the commands %q and the requests %q, want %s", commands, requests, want)
	}

	x = w.explained(w.get(path))
	commands, requests = commandsOf(x)
	if want := "POST " + path + "/cancel"; len(commands) > 0 || !strings.Contains(strings.Join(requests, "\n"), want) {
		t.Errorf("a portal gets the commands %q and the requests %q, want %s", commands, requests, want)
	}
	if a := w.call(request{path: path, portal: w.Other}); a.status != http.StatusNotFound || strings.Contains(a.body, "explanation") {
		t.Errorf("another portal: got %d %s", a.status, a.body)
	}
	for _, list := range []string{"/v1/runs", "/v1/runs?attention=true"} {
		if a := w.call(w.admin("GET", list, "")); !strings.Contains(a.body, id) || strings.Contains(a.body, "explanation") {
			t.Errorf("%s: got %s", list, a.body)
		}
	}
	w.call(w.action(path, "compensate", `{"why": "not wanted"}`))
	w.await(path, api.RunStateCompensated)
	if x := w.explained(w.get(path)); x.FixBy != api.FixByNobody || !strings.Contains(text(x.Why), `The reason given: "not wanted".`) || len(x.Next) > 0 {
		t.Errorf("compensated: got %+v", x)
	}
}

// A run that was repeated names the run that repeats it.
func TestARepeatedRunNamesItsSuccessor(t *testing.T) {
	w := newWorld(t)
	w.steps.fail(errRefused)
	got := w.call(w.order("k"))
	path := *read[api.Problem](t, got).Instance
	if commands, _ := commandsOf(w.explained(w.admin("GET", path, ""))); !strings.Contains(strings.Join(commands, "\n"), "tenantry runs retry ") {
		t.Errorf("compensated: got %q", commands)
	}
	w.steps.fail(nil)
	successor := read[api.ActionTaken](t, w.call(w.action(path, "retry", `{"why": "again"}`)))
	x := w.explained(w.admin("GET", path, ""))
	if commands, _ := commandsOf(x); len(commands) != 1 || commands[0] != "tenantry explain "+successor.ID || !strings.Contains(x.What, successor.ID) {
		t.Errorf("got %+v, want run %s", x, successor.ID)
	}
}

// The meaning of a run comes from the definition of its workflow.
func TestAnExplanationSaysWhatTheRunMeans(t *testing.T) {
	w := newWorldOf(t, "")
	run := read[api.Run](t, w.call(w.order("k")))
	if run.Explanation != nil {
		t.Error("the answer to an order has an explanation")
	}
	if x := w.explained(w.get("/v1/runs/" + run.ID)); x.Means != "The user is subscribed, and can work in the tenants." || len(x.Next) > 0 {
		t.Errorf("got %+v", x)
	}
}

func TestAFindingIsExplained(t *testing.T) {
	w, _ := newFindings(t, "")
	for n, want := range map[int]string{
		1: "tenantry audit accept " + findingID(1) + " --why REASON", 2: "tenantry audit plan --code role-admin -o repair.yaml --cloud default",
		5: "tenantry audit accept " + findingID(5) + " --withdraw",
	} {
		f := read[api.Finding](t, w.call(w.admin("GET", "/v1/findings/"+findingID(n), "")))
		if f.Explanation == nil {
			t.Fatalf("finding %d has no explanation", n)
		}
		if commands, _ := commandsOf(*f.Explanation); !strings.Contains(strings.Join(commands, "\n"), want) {
			t.Errorf("finding %d: got %q, want %s", n, commands, want)
		}
	}
	if a := w.call(w.admin("GET", "/v1/findings", "")); strings.Contains(a.body, "explanation") {
		t.Errorf("the list has explanations: %s", a.body)
	}
	if a := w.call(w.get("/v1/findings/" + findingID(1))); a.status != http.StatusForbidden {
		t.Errorf("a portal: got %d %s", a.status, a.body)
	}
}

// The explanation of a subscription needs no upstream. A portal sees only its own subscriptions, and no findings.
func TestASubscriptionIsExplained(t *testing.T) { onBoth(t, subscriptionIsExplained) }

func subscriptionIsExplained(t *testing.T, database string) {
	w, x := newAuditedWorld(t, database, nil)
	run := read[api.Run](t, w.call(w.order("k")))
	id := idOf(run, "subscription_id")
	x.end(audit.Outcome{Seen: []audit.Finding{
		{ID: findingID(1), Code: "role-missing", Severity: audit.High, MerchantID: w.Merchant.ID, SubscriptionID: id, Detail: "a role is missing"},
		{ID: findingID(2), Code: "role-missing", Severity: audit.High, MerchantID: w.Merchant.ID, SubscriptionID: theSubscription},
	}})
	w.upstreams.keystoneDown.Store(true)
	w.upstreams.billingDown.Store(true)

	path := func(merchant, id string) string {
		return "/v1/merchants/" + merchant + "/subscriptions/" + id + "/explanation"
	}
	reads := w.upstreams.reads.Load()
	portal := read[api.SubscriptionExplanation](t, w.call(w.get(path(w.Merchant.ID, id))))
	if text(portal.State) != "active" || portal.Run.ID != run.ID || portal.Run.Explanation.Means == "" || len(portal.Findings) > 0 ||
		portal.Explanation.Means != "The user can work in the subscription's tenant." {
		t.Errorf("a portal: got %+v", portal)
	}
	if got := w.upstreams.reads.Load(); got != reads {
		t.Errorf("the explanation needed %d calls of upstreams", got-reads)
	}
	for name, q := range map[string]request{
		"another portal":       {path: path(w.Merchant.ID, id), portal: w.Other},
		"by another merchant":  {path: path(w.Other.ID, id), portal: w.Other},
		"no such subscription": w.get(path(w.Merchant.ID, theSubscription)),
		"a malformed id":       w.get(path(w.Merchant.ID, "x")),
	} {
		if a := w.call(q); a.status != http.StatusNotFound {
			t.Errorf("%s: got %d %s", name, a.status, a.body)
		}
	}
	w.upstreams.keystoneDown.Store(false) // operators log in
	operator := read[api.SubscriptionExplanation](t, w.call(w.admin("GET", path(w.Merchant.ID, id), "")))
	if len(operator.Findings) != 1 || operator.Findings[0].ID != findingID(1) || operator.Findings[0].Explanation.What != "A user lacks a role that a run has assigned." {
		t.Errorf("an operator: got %+v", operator.Findings)
	}
	w.upstreams.billingDown.Store(false)

	ended := w.changes(w.change(id, "unsubscribe", "u"))
	ending := read[api.SubscriptionExplanation](t, w.call(w.get(path(w.Merchant.ID, id))))
	_, requests := commandsOf(ending.Explanation)
	if text(ending.State) != "ending" || ending.EndsAt == nil || ending.Run.ID != ended.ID || len(requests) != 1 ||
		requests[0] != "POST /v1/merchants/"+w.Merchant.ID+"/subscriptions/"+id+"/restore" {
		t.Errorf("ending: got %+v", ending)
	}
	hold := w.admin("PUT", strings.TrimSuffix(path(w.Merchant.ID, id), "explanation")+"hold", `{"why": "a \"dispute\""}`)
	if a := w.call(hold); a.status != http.StatusOK {
		t.Fatalf("holding: got %d %s", a.status, a.body)
	}
	held := read[api.SubscriptionExplanation](t, w.call(w.admin("GET", path(w.Merchant.ID, id), "")))
	if !strings.Contains(text(held.Explanation.Why), `The reason given: "a \"dispute\"".`) {
		t.Errorf("held: got %+v", held.Explanation)
	}
}
