package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest/chromium"
)

// tripping opens the circuit of an upstream after one failed call.
func tripping(o *servicetest.Options) {
	before := o.Change
	o.Change = func(o *service.Options) { before(o); o.TripsAfter = 1 }
}

// followUps stores a due and a held follow-up of a workflow that no replica knows.
func (w *world) followUps(t *testing.T) {
	t.Helper()
	now := w.now()
	if _, err := w.Store.Join(t.Context(), "r", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	run := &saga.Run{
		ID: "00000000-0000-7000-8000-000000000000", Workflow: "no-such-workflow", Merchant: w.Merchant.ID, Subject: "s", Key: "k", Input: []byte("{}"),
		CreatedAt: now, UpdatedAt: now, BudgetFrom: now, State: saga.Running, HoldsSubject: true, Replica: "r", Epoch: 1, Version: 1,
	}
	if err := w.Store.Create(t.Context(), saga.NewRun{Run: run}); err != nil {
		t.Fatal(err)
	}
	run.State, run.EndedAt, run.HoldsSubject, run.Replica = saga.Succeeded, &now, false, ""
	later := func(id string) saga.FollowUp {
		return saga.FollowUp{
			Workflow: "no-such-workflow", ID: id, Merchant: w.Merchant.ID, DueAt: now.Add(-time.Hour),
			Reason: &saga.Failure{Code: "c", Detail: "the tenant is <b>not</b> empty", At: now},
		}
	}
	done := w.Store.Commit(t.Context(), now, []saga.Checkpoint{{Run: run, Replica: "r", FollowUps: []saga.FollowUp{later("the-due-one"), later("the-held-one")}}})
	if done[0].Err != nil {
		t.Fatal(done[0].Err)
	}
	hold := &saga.FollowUpHold{Who: "olga", Why: "a <i>dispute</i> \u202e\x1b[31m", At: now}
	if err := w.Store.HoldFollowUp(t.Context(), w.Merchant.ID, "no-such-workflow", "the-held-one", hold); err != nil {
		t.Fatal(err)
	}
}

func TestTheHealthOfTheService(t *testing.T) {
	w := newWorld(t, tripping)
	w.Service.CheckDependencies(t.Context())
	w.followUps(t)
	v := w.operator(t)
	p := v.get("/console/health")
	for _, text := range []string{
		`Health <span class="state good">ok</span>`, "database", "billingstack", "keystone", `<span class="tag">this one</span>`, "No run is in progress.",
		"the-due-one", "the-held-one", "the tenant is &lt;b&gt;not&lt;/b&gt; empty", `a &lt;i&gt;dispute&lt;/i&gt; \u202e\u001b[31m`, "held by <bdi>olga</bdi>",
		`hx-get="/console/health/now" hx-trigger="every 10s"`, `<span class="state good">closed</span>`,
	} {
		if !strings.Contains(p.text, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	if strings.Contains(p.text, "<i>dispute") || strings.Contains(p.text, "\u202e") || strings.Contains(p.text, "\x1b") {
		t.Error("the page has a text from outside without escapes")
	}
	w.down.Store(true)
	w.orderWaits(t, w.Merchant)
	deadline := time.Now().Add(time.Minute)
	for {
		p = v.get("/console/health/now")
		if strings.Contains(p.text, `<span class="state bad">open</span>`) && strings.Contains(p.text, "they wait for Keystone or BillingStack") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %s", p.status, p.text)
		}
	}
	if strings.Contains(p.text, "<html") || !strings.Contains(p.text, "it answered 503 Service Unavailable") {
		t.Errorf("the part of the page: %s", p.text)
	}
	for _, path := range []string{"/console/health", "/console/health/now"} {
		if p := w.merchant(t, w.Merchant).get(path); p.status != http.StatusForbidden || strings.Contains(p.text, "the-due-one") {
			t.Errorf("%s for a merchant: %d", path, p.status)
		}
	}
}

// A page that is still open when the session has ended becomes the page for signing in as a whole.
func TestAnOpenPageLeadsToTheSignIn(t *testing.T) {
	w := newWorld(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/console/health/now", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("HX-Request", "true")
	if p := w.visitor(t).do(r, nil); p.status != http.StatusNoContent || p.header.Get("HX-Redirect") != "/console/sign-in" {
		t.Errorf("%d %v", p.status, p.header)
	}
}

// An operator sees a new circuit without a reload, and keeps the focus.
func TestAnOperatorWatchesTheHealthInChromium(t *testing.T) {
	w := newWorld(t, tripping)
	w.Service.CheckDependencies(t.Context())
	w.followUps(t)
	ctx := chromium.Start(t)
	browser := chromium.Watch(t, ctx)
	chromium.Do(t, ctx, w.signIn("/console/health")...)
	chromium.Do(t, ctx, chromedp.WaitVisible(`.tiles`))
	chromium.Screens(t, ctx, "health")
	chromium.Do(t, ctx, chromedp.Focus(`#to-attention`))
	w.down.Store(true)
	w.orderWaits(t, w.Merchant)
	chromium.Do(t, ctx, chromedp.WaitVisible(`section[aria-labelledby=h-queue] .state.wait`))
	if id := chromium.Read(t, ctx, chromedp.Evaluate[string](`document.activeElement.id`)); id != "to-attention" {
		t.Errorf("the focus has moved to %q", id)
	}
	w.Service.CheckDependencies(t.Context())
	chromium.Screens(t, ctx, "health-down")
	browser.Check(t, w.URL)
}
