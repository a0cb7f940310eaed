package api_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows/workflowstest"
)

// The function `dry` returns the request q as a request for a dry run.
func dry(q request) request {
	q.body = strings.Replace(q.body, "{", `{"dry_run": true, `, 1)
	return q
}

// The type `everything` is the state that a dry run must not change.
type everything struct {
	rows    map[string]int
	outside workflowstest.Outside
	writes  int32 // requests that change something
}

func (w *world) everything() everything {
	w.t.Helper()
	outside, err := workflowstest.Look(w.t.Context(), w.Keystone, w.Billing, w.Merchant.ID, w.Other.ID)
	must(w.t, err)
	outside.Assignments = slices.SortedFunc(slices.Values(outside.Assignments), func(a, b keystone.Assignment) int {
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	return everything{storetest.Rows(w.t, w.database), outside, w.upstreams.writes.Load()}
}

// dryRun sends the request q as a dry run, and checks that it changes nothing.
func (w *world) dryRun(t *testing.T, q request) answer {
	t.Helper()
	before := w.everything()
	a := w.call(dry(q))
	if after := w.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("the dry run has changed something: got %+v, before %+v", after, before)
	}
	for _, name := range []string{"Location", "Link", "Idempotency-Replayed", "Preference-Applied", "X-Subject-Token"} {
		if a.header.Get(name) != "" {
			t.Errorf("the answer to a dry run has the header %s", name)
		}
	}
	return a
}

// The function `foreseen` converts the API's answer to a saga.DryRun.
func foreseen(t *testing.T, a answer) (d saga.DryRun) {
	t.Helper()
	view := read[api.DryRun](t, a)
	d = saga.DryRun{Workflow: view.Workflow, Merchant: view.MerchantID, State: saga.RunState(view.State)}
	for _, s := range view.Steps {
		step := saga.DryStep{Name: s.Name, Optional: s.Optional, Outcome: saga.DryOutcome(s.Outcome), Undo: s.Undo}
		if s.After != nil {
			step.After = *s.After
		}
		if f := s.Failure; f != nil {
			step.Failure = &saga.Failure{Code: saga.Code(f.Code), Detail: f.Detail, FixBy: saga.FixBy(f.FixBy)}
		}
		if s.Objects != nil {
			for _, o := range *s.Objects {
				step.Objects = append(step.Objects, saga.Object{Kind: o.Kind, ID: text(o.ID), Name: text(o.Name)})
			}
		}
		d.Steps = append(d.Steps, step)
	}
	return d
}

// The function `brief` returns a dry run as a text: its state, and the outcomes of the steps.
func brief(d saga.DryRun) string {
	all := []string{string(d.State) + ":"}
	for _, s := range d.Steps {
		outcome := string(s.Outcome)
		if s.Failure != nil {
			outcome += "(" + string(s.Failure.Code) + ")"
		}
		all = append(all, outcome)
	}
	return strings.Join(all, " ")
}

// The method `rehearse` sends the request as a dry run, and then as an order with the same key. The order's run must do what the dry run
// has predicted. If the request is refused, both answers must be the same. The result is the dry run or the refusal as a text.
func (w *world) rehearse(t *testing.T, q request) string {
	t.Helper()
	first := w.dryRun(t, q)
	before := w.everything().outside
	second := w.call(q)
	if first.status != http.StatusOK {
		want, got := read[api.Problem](t, second), read[api.Problem](t, first)
		want.RequestID, got.RequestID, want.Errors, got.Errors = "", "", nil, nil
		if first.status != second.status || !reflect.DeepEqual(got, want) {
			t.Errorf("the dry run is refused with %d %+v, and the order with %d %+v", first.status, got, second.status, want)
		}
		return fmt.Sprintf("%d %s", first.status, strings.TrimPrefix(got.Type, "/problems/"))
	}
	d := foreseen(t, first)
	if second.header.Get("Location") == "" {
		t.Fatalf("the order after a dry run: got %d %s", second.status, second.body)
	}
	run, err := w.Store.Run(t.Context(), strings.TrimPrefix(second.header.Get("Location"), "/v1/runs/"))
	must(t, err)
	if d.Workflow != run.Workflow || d.Merchant != run.Merchant {
		t.Errorf("the dry run has workflow %s and merchant %s, but the run has workflow %s and merchant %s", d.Workflow, d.Merchant, run.Workflow, run.Merchant)
	}
	for _, differs := range workflowstest.DryRunDiffers(d, run, before) {
		t.Error(differs)
	}
	return brief(d)
}

// 200 dry runs change no row, project, role assignment, customer or subscription.
func TestDryRunsChangeNothing(t *testing.T) { onBoth(t, dryRunsChangeNothing) }

func dryRunsChangeNothing(t *testing.T, database string) {
	w := newWorldOf(t, database)
	active, suspended, ending := w.subscribed("a"), w.subscribed("s"), w.subscribed("e")
	w.changes(w.change(suspended.id, "suspend", "k1"))
	w.changes(w.change(ending.id, "unsubscribe", "k2"))
	foreign := w.order("f")
	foreign.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, w.Merchant.Plan, w.Merchant.Customer)
	async := w.order("n")
	async.header.Set("Prefer", "respond-async")
	mixed := map[string]struct {
		q      request
		status int
	}{
		"subscribe": {w.order("n"), 200}, "async": {async, 200}, "conflict": {foreign, 200}, "suspend": {w.change(active.id, "suspend", "x"), 200},
		"unsubscribe": {w.asOperator(w.change(active.id, "unsubscribe", "x")), 200}, "resume": {w.change(suspended.id, "resume", "x"), 200},
		"change-plan": {w.changePlan(ending.id, w.newPlan(w.Merchant.ID), "x"), 200}, "restore": {w.change(ending.id, "restore", "x"), 200},
		"remove": {w.asOperator(w.change(ending.id, "remove", "x")), 409}, "refused": {w.change(active.id, "resume", "x"), 409},
	}
	before := w.everything()
	const each = 20
	for range each {
		for name, c := range mixed {
			if a := w.call(dry(c.q)); a.status != c.status {
				t.Fatalf("%s: got %d %s, want %d", name, a.status, a.body, c.status)
			}
		}
	}
	if after := w.everything(); !reflect.DeepEqual(after, before) {
		t.Errorf("%d dry runs have changed something: got %+v, before %+v", each*len(mixed), after, before)
	}
	if n := before.rows["runs"]; n != 5 || len(mixed)*each != 200 {
		t.Errorf("there are %d runs, and %d dry runs: %v", n, len(mixed)*each, before.rows)
	}
	for _, q := range []request{w.order("a"), w.order("x")} { // the key of a run, and a key that only dry runs have used
		if a := w.dryRun(t, q); a.status != http.StatusOK {
			t.Errorf("key %v: got %d %s", q.header["Idempotency-Key"], a.status, a.body)
		}
	}
	if a := w.call(w.change(active.id, "suspend", "x")); a.status != http.StatusCreated {
		t.Errorf("the key of dry runs: got %d %s", a.status, a.body)
	}
}

// The checks and limits of an order also apply to a dry run.
func TestADryRunIsCheckedLikeAnOrder(t *testing.T) {
	w := newWorldOf(t, "")
	s := w.subscribed("k")
	with := func(header http.Header) request {
		return request{method: http.MethodPost, path: w.order("").path, portal: w.Merchant, body: w.order("").body, header: header}
	}
	unknown, anothers, anonymous, silent := w.order("k1"), w.order("k1"), w.order("k1"), w.change(s.id, "suspend", "k1")
	unknown.body = strings.Replace(unknown.body, w.Merchant.Plan, s.id, 1)
	anothers.portal, anonymous.portal, silent.body = w.Other, portal{}, `{"why": " "}`
	for name, q := range map[string]request{
		"no key": with(nil), "a bad key": w.order(strings.Repeat("k", 256)), "no token": with(http.Header{"Idempotency-Key": {"k1"}}),
		"an operator": w.asOperator(w.order("k1")), "nobody": anonymous, "another's": anothers, "an unknown plan": unknown, "no reason": silent,
		"not allowed": w.change(s.id, "remove", "k1"),
		"not made":    w.change("9b351268-22c6-4cf9-922f-7a5db1c1a27b", "suspend", "k1"),
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.rehearse(t, q); strings.HasPrefix(got, "succeeded") {
				t.Errorf("the request was accepted: %s", got)
			}
		})
	}
	for _, value := range []string{`"true"`, "1", "null", "[true]"} {
		q := w.order("k2")
		q.body = strings.Replace(q.body, "{", `{"dry_run": `+value+", ", 1)
		if a := w.refused(q, http.StatusBadRequest, "invalid-params"); !strings.Contains(a.body, "/dry_run") {
			t.Errorf("dry_run %s: the answer does not name the field: %s", value, a.body)
		}
	}
	no := w.order("k3")
	no.body = strings.Replace(no.body, "{", `{"dry_run": false, `, 1)
	w.changes(no)

	run := w.admin(http.MethodPost, "/v1/runs/"+read[api.Run](t, w.call(no)).ID+"/hold", `{"why": "a test", "dry_run": true}`)
	w.refused(run, http.StatusBadRequest, "invalid-params")
}

// The limit of live runs applies to dry runs, but a dry run does not count as a live run.
func TestADryRunIsLimited(t *testing.T) {
	w := newWorldOf(t, "")
	set := func(limit int) {
		t.Helper()
		q := w.admin(http.MethodPatch, "/v1/merchants/"+w.Merchant.ID, fmt.Sprintf(`{"max_live_runs": %d}`, limit))
		if a := w.call(q); a.status != http.StatusOK {
			t.Fatalf("got %d %s", a.status, a.body)
		}
	}
	set(2)
	waiting := w.order("waits")
	waiting.body = fmt.Sprintf(`{"plan_id": %q, "customer_id": %q}`, w.Merchant.Plan, w.Merchant.Customer)
	if a := w.call(waiting); a.status != http.StatusAccepted {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	for range 3 {
		if a := w.dryRun(t, w.order("k")); a.status != http.StatusOK || a.header.Get("RateLimit") != `"live-runs";r=0` {
			t.Errorf("got %d, %q", a.status, a.header.Get("RateLimit"))
		}
	}
	set(1)
	if a := w.dryRun(t, w.order("k")); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("above the limit: got %d %s", a.status, a.body)
	}
}

// If an upstream is down, a dry run is refused like an order. It is also refused if the upstream fails later, when a step looks for its
// effect.
func TestADryRunWhoseUpstreamIsDown(t *testing.T) {
	var passing atomic.Pointer[func(path string)]
	w := newWorldOf(t, "", func(o *servicetest.Options) {
		before := o.Around
		o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
			return before(upstream, roundTrip(func(req *http.Request) (*http.Response, error) {
				if see := passing.Load(); see != nil {
					(*see)(req.URL.Path)
				}
				return next.RoundTrip(req)
			}))
		}
	})
	for _, c := range []struct {
		// The upstream goes down at the first request whose path contains the text `at`. The checks of the order send no such request.
		at, service string
		down        *atomic.Bool
	}{
		{"/subscriptions", "keystone", &w.upstreams.keystoneDown}, {"/v3/projects", "billingstack", &w.upstreams.billingDown},
	} {
		passing.Store(new(func(path string) {
			if strings.Contains(path, c.at) {
				c.down.Store(true)
			}
		}))
		a := w.dryRun(t, w.order("k"))
		passing.Store(nil)
		fell := c.down.Swap(false)
		if p := read[api.Problem](t, a); !fell || a.status != http.StatusServiceUnavailable || p.Type != "/problems/upstream-unavailable" ||
			p.Upstream == nil || p.Upstream.Service != c.service || a.header.Get("Retry-After") != "17" || strings.Contains(a.body, "canary") {
			t.Errorf("%s is down (%t): got %d %s", c.service, fell, a.status, a.body)
		}
		c.down.Store(true)
		a = w.dryRun(t, w.order("k"))
		c.down.Store(false)
		if p := read[api.Problem](t, a); a.status != http.StatusServiceUnavailable || p.Type != "/problems/upstream-unavailable" {
			t.Errorf("%s is down at the admission: got %d %s", c.service, a.status, a.body)
		}
	}
}
