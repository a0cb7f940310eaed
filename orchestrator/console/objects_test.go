package console_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// The type `made` has the ids of the objects of a subscription.
type made struct{ run, customer, subscription, tenant, customerTenant string }

// subscribed subscribes the user to the merchant's plan.
func (w *world) subscribed(t *testing.T, m servicetest.Merchant) made {
	t.Helper()
	s := made{run: w.order(t, m)}
	r, err := w.Store.Run(t.Context(), s.run)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range r.Objects {
		switch {
		case o.Kind == "customer":
			s.customer = o.ID
		case o.Kind == "subscription":
			s.subscription = o.ID
		case o.Kind == "project" && strings.HasPrefix(o.Name, "bs-customer-"):
			s.customerTenant = o.ID
		case o.Kind == "project":
			s.tenant = o.ID
		}
	}
	return s
}

func (s made) page() string { return "/console/subscriptions/" + s.subscription }

// wants checks that a page has the texts, and none of the texts that begin with "not ".
func (p page) wants(t *testing.T, what string, texts ...string) {
	t.Helper()
	if p.status != http.StatusOK {
		t.Errorf("%s: %d %s %s", what, p.status, between(p.text, `role="alert">`, "</p>"), between(p.text, "<h1>", "</section>"))
	}
	for _, text := range texts {
		text, not := strings.CutPrefix(text, "not ")
		if strings.Contains(p.text, text) == not {
			t.Errorf("%s: the page must have %q: %t", what, text, !not)
		}
	}
}

func TestObjectsAreShown(t *testing.T) {
	w := newWorld(t)
	s, theirs := w.subscribed(t, w.Merchant), w.subscribed(t, w.Other)
	v, portal := w.operator(t), w.merchant(t, w.Merchant)
	for who, p := range map[string]*visitor{"operator": v, "merchant": portal} {
		p.get(s.page()).wants(t, who, "&lt;i&gt;Eve&lt;/i&gt;", "Shop&#39;s plan", keystone.SubscriptionTenant(s.subscription),
			`href="/console/customers/`+s.customer, `href="/console/tenants/`+s.tenant, `href="/console/users/`+w.User, `href="/console/runs/`+s.run,
			"portal with key "+w.Merchant.Key, `<span class="state good">active</span>`, `<span class="state good">enabled</span>`, "<bdi>ada</bdi>",
			"not <i>Eve", "not Findings of audits")
		p.get("/console/customers/"+s.customer).wants(t, who, "&lt;i&gt;Eve&lt;/i&gt;", "nok", keystone.CustomerTenant(s.customer), "bs-admin",
			s.page(), `href="/console/runs/`+s.run, "not <i>Eve")
		p.get("/console/tenants/"+s.tenant).wants(t, who, s.page(), "member", "tenantry-merchant-"+w.Merchant.ID, `href="/console/runs/`+s.run)
		p.get("/console/tenants/"+s.customerTenant).wants(t, who, "/console/customers/"+s.customer, "bs-admin")
		p.get("/console/users/"+w.User).wants(t, who, "<bdi>ada</bdi>", "/console/tenants/"+s.tenant, s.page(), "/console/customers/"+s.customer)
		p.get("/console/runs/"+s.run).wants(t, who, `href="`+s.page(), `href="/console/customers/`+s.customer, `href="/console/tenants/`+s.tenant, `href="/console/users/`+w.User)
		for id, kind := range map[string]string{s.subscription: "subscription", s.customer: "customer", s.tenant: "tenant", w.User: "user"} {
			p.get("/console/runs?q="+id).wants(t, who, "Found the "+kind, `href="/console/`+kind+"s/"+id)
		}
		p.get("/console/runs?q=bs-subscription-"+s.subscription).wants(t, who, "Found the subscription", `href="`+s.page())
		p.get("/console/runs?q="+w.Merchant.Plan).wants(t, who, "not Found the")
		p.get("/console/subscriptions?merchant="+w.Merchant.ID).wants(t, who, s.page(), "not "+theirs.subscription)
		p.get("/console/subscriptions?q="+s.customer).wants(t, who, s.page())
		if p := p.get("/console/subscriptions?q=bs-subscription-" + s.subscription); p.at != s.page() {
			t.Errorf("%s: the name of a tenant leads to %s", who, p.at)
		}
		p.get("/console/subscriptions?q=x").wants(t, who, "Search by the id")
		p.get("/console/subscriptions?q="+uuid.NewString()).wants(t, who, "not <table")
	}
	v.get("/console/subscriptions").wants(t, "operator", "Choose a merchant", ">Shop</option>", ">Other</option>")
	portal.get("/console/subscriptions").wants(t, "merchant", s.page(), "not "+theirs.subscription, "not <select")
	for _, path := range []string{"/console/customers/" + theirs.customer, theirs.page(), "/console/tenants/" + theirs.tenant} {
		for _, query := range []string{"", "?merchant=" + w.Other.ID} {
			if p := portal.get(path + query); p.status != http.StatusNotFound || strings.Contains(p.text, theirs.run) {
				t.Errorf("%s shows another merchant's object: %d", path, p.status)
			}
		}
	}
	portal.get("/console/users/"+w.User).wants(t, "a user of two merchants", s.subscription, "not "+theirs.subscription, "not "+theirs.tenant)
	for _, section := range []string{"subscriptions", "customers", "tenants", "users"} {
		for _, id := range []string{uuid.NewString(), strings.Repeat("x", 300), "..%2f..", "%00", "a%2fb"} {
			if p := v.get("/console/" + section + "/" + id); p.status != http.StatusNotFound && p.status != http.StatusBadRequest {
				t.Errorf("%s %s: %d", section, id, p.status)
			}
		}
	}
}

// If Keystone is down, or BillingStack lacks an object, the rest of the page is shown.
func TestAPartOfAPageIsMissing(t *testing.T) {
	w := newWorld(t)
	s := w.subscribed(t, w.Merchant)
	portal := w.merchant(t, w.Merchant)
	w.keystoneDown.Store(true)
	portal.get(s.page()).wants(t, "Keystone is down", "Shop&#39;s plan", `class="part-fault"`, "not <bdi>ada</bdi>", `href="/console/runs/`+s.run)
	w.keystoneDown.Store(false)
	if _, err := w.Billing.RemoveSubscription(t.Context(), w.Merchant.ID, s.subscription); err != nil {
		t.Fatal(err)
	}
	portal.get(s.page()).wants(t, "BillingStack lacks it", "There is no such subscription", `href="/console/runs/`+s.run, "not formaction")
	v := w.operator(t)
	other, err := w.Billing.EnsureSubscription(t.Context(), w.Merchant.ID, billing.Subscription{
		ID: uuid.NewString(), PlanID: w.Merchant.Plan, CustomerID: w.Merchant.Customer, ResourceID: "elsewhere", ResourceType: "openstack",
	})
	if err != nil {
		t.Fatal(err)
	}
	v.get("/console/subscriptions/"+other.ID+"?merchant="+w.Merchant.ID).wants(t, "not by Tenantry", "elsewhere", "There is no such tenant", "not formaction")
}

func TestAChangeIsForeseenAndMade(t *testing.T) {
	w := newWorld(t)
	s, theirs := w.subscribed(t, w.Merchant), w.subscribed(t, w.Other)
	portal := w.merchant(t, w.Merchant)
	form := func(why string) url.Values { return url.Values{"why": {why}, "merchant": {w.Merchant.ID}} }
	enabled := func() bool {
		p, err := w.Identity.Project(t.Context(), s.tenant)
		if err != nil {
			t.Fatal(err)
		}
		return p.Enabled
	}
	if p := portal.post(s.page()+"/suspend/dry-run", form(" ")); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.text, "Write why") {
		t.Errorf("without a reason: %d", p.status)
	}
	if p := portal.post(s.page()+"/suspend/dry-run", form("\x1b[31m")); p.status != http.StatusBadRequest || !strings.Contains(p.text, `value="\u001b[31m"`) {
		t.Errorf("a reason with a control character: %d %s", p.status, between(p.text, `role="alert">`, "</p>"))
	}
	hostile := "overdue <b>now</b> \u202e"
	p := portal.post(s.page()+"/suspend/dry-run", form(hostile))
	p.wants(t, "the dry run", "Suspend?", "disable-tenant", `<span class="state alters">would change</span>`, "not <b>now", "not \u202e", "overdue &lt;b&gt;now")
	if !enabled() || len(w.runsOf(t, s)) != 1 {
		t.Fatal("the dry run has changed something")
	}
	key := between(p.text, `name="key" value="`, `"`)
	if p := portal.post(s.page()+"/suspend", form("overdue")); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.text, `value="overdue"`) {
		t.Errorf("without a dry run: %d", p.status)
	}
	ordered := form("overdue")
	ordered.Set("key", key)
	first, second := portal.post(s.page()+"/suspend", ordered), portal.post(s.page()+"/suspend", ordered)
	if !strings.HasPrefix(first.at, "/console/runs/") || first.at != second.at || len(w.runsOf(t, s)) != 2 {
		t.Fatalf("the change was made %d times: %d at %s, %s", len(w.runsOf(t, s))-1, first.status, first.at, second.at)
	}
	w.settled(t, s, "suspended", portal)
	if enabled() {
		t.Error("the tenant is enabled")
	}
	portal.get("/console/customers/"+s.customer).wants(t, "the customer", `<span class="workflow">suspend</span>`, `<span class="workflow">subscribe</span>`)
	again := portal.post(s.page()+"/suspend/dry-run", form("typed"))
	if again.status != http.StatusConflict || !strings.Contains(again.text, "suspended already") || !strings.Contains(again.text, `value="typed"`) {
		t.Errorf("a change that the state does not allow: %d", again.status)
	}
	if p := portal.post(s.page()+"/remove/dry-run", form("x")); p.status != http.StatusForbidden || !strings.Contains(p.text, "portal may not") {
		t.Errorf("a removal by a merchant: %d %s", p.status, p.text)
	}
	if p := portal.post(s.page()+"/hold", form("x")); p.status != http.StatusForbidden {
		t.Errorf("a hold by a merchant: %d", p.status)
	}
	for _, path := range []string{theirs.page() + "/suspend/dry-run", s.page() + "/delete/dry-run", s.page() + "/delete"} {
		if p := portal.post(path, form("x")); p.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	if p := portal.get(s.page() + "/suspend/dry-run"); p.at != s.page() {
		t.Errorf("the address of a form leads to %s", p.at)
	}
}

// A request that may have failed can be sent again with the same key.
func TestAChangeIsRepeatedAfterAFailure(t *testing.T) {
	w := newWorld(t)
	s := w.subscribed(t, w.Merchant)
	portal := w.merchant(t, w.Merchant)
	form := url.Values{"why": {"overdue"}, "key": {uuid.NewString()}}
	w.keystoneDown.Store(true)
	p := portal.post(s.page()+"/suspend", form)
	w.keystoneDown.Store(false)
	if p.status != http.StatusServiceUnavailable || between(p.text, `name="key" value="`, `"`) != form.Get("key") || !strings.Contains(p.text, "Try again: Suspend") {
		t.Fatalf("%d %s", p.status, p.text)
	}
	deadline := time.Now().Add(time.Minute)
	for p = portal.post(s.page()+"/suspend", form); !strings.HasPrefix(p.at, "/console/runs/"); p = portal.post(s.page()+"/suspend", form) {
		if time.Now().After(deadline) {
			t.Fatalf("%d %s", p.status, p.text)
		}
	}
	w.settled(t, s, "suspended", portal)
}

func TestAnOperatorHoldsAnEnding(t *testing.T) {
	w := newWorld(t)
	s := w.subscribed(t, w.Merchant)
	v, portal := w.operator(t), w.merchant(t, w.Merchant)
	form := url.Values{"why": {"leaves"}, "key": {uuid.NewString()}, "merchant": {w.Merchant.ID}}
	v.post(s.page()+"/unsubscribe", form)
	w.settled(t, s, "ending", v)
	v.get(s.page()).wants(t, "operator", "due to be removed", "/restore/dry-run", "/remove/dry-run", s.page()+`/hold"`, "not /release")
	portal.get(s.page()).wants(t, "merchant", "due to be removed", "/restore/dry-run", "not /remove/dry-run", "not "+s.page()+`/hold"`)
	held := url.Values{"merchant": {w.Merchant.ID}, "why": {"<dispute>"}}
	v.post(s.page()+"/hold", held).wants(t, "held", "The tenant is kept", "&lt;dispute&gt;", "held by <bdi>olga", "/release")
	v.post(s.page()+"/release", url.Values{"merchant": {w.Merchant.ID}}).wants(t, "released", "The hold is lifted", "not /release")
	if p := v.post(s.page()+"/hold", url.Values{"merchant": {w.Merchant.ID}}); p.status != http.StatusUnprocessableEntity {
		t.Errorf("without a reason: %d", p.status)
	}
	soon := v.post(s.page()+"/remove/dry-run", url.Values{"merchant": {w.Merchant.ID}, "why": {"now"}, "force": {"1"}})
	if soon.status != http.StatusConflict || !strings.Contains(soon.text, "checked") {
		t.Errorf("a removal at once: %d", soon.status)
	}
}

func TestAPlanIsChosen(t *testing.T) {
	w := newWorld(t)
	s := w.subscribed(t, w.Merchant)
	large, err := w.Billing.CreatePlan(t.Context(), w.Merchant.ID, billing.Plan{Name: "<u>large</u>"})
	if err != nil {
		t.Fatal(err)
	}
	for who, v := range map[string]*visitor{"operator": w.operator(t), "merchant": w.merchant(t, w.Merchant)} {
		v.get(s.page()).wants(t, who, `<option value="`+large.ID+`">&lt;u&gt;large&lt;/u&gt;</option>`, "not <u>", "not "+`<option value="`+w.Merchant.Plan)
		form := url.Values{"why": {"grows"}, "plan_id": {large.ID}, "merchant": {w.Merchant.ID}}
		v.post(s.page()+"/change-plan/dry-run", form).wants(t, who, "Change the plan?", `name="plan_id" value="`+large.ID)
	}
}

// runsOf returns the runs about a subscription.
func (w *world) runsOf(t *testing.T, s made) []*saga.Run {
	t.Helper()
	all, err := w.Store.Runs(t.Context(), saga.Filter{Objects: []saga.ObjectRef{{Kind: "subscription", ID: s.subscription}}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	live, err := w.Store.Runs(t.Context(), saga.Filter{Live: true, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range live { // has not recorded the subscription yet
		if !slices.ContainsFunc(all, func(other *saga.Run) bool { return other.ID == r.ID }) {
			all = append(all, r)
		}
	}
	return all
}

// settled waits until the page of a subscription shows a state.
func (w *world) settled(t *testing.T, s made, state string, v *visitor) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(v.get(s.page()).text, ">"+state+"</span></h1>") {
		if time.Now().After(deadline) {
			t.Fatalf("the subscription is not %s: %s", state, v.get(s.page()).text)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Operators see the findings of audits about an object, and merchants do not.
func TestFindingsAreShown(t *testing.T) {
	w := newWorld(t)
	s := w.subscribed(t, w.Merchant)
	v, portal := w.operator(t), w.merchant(t, w.Merchant)
	w.Keystone.EnableProject(s.tenant, false)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/v1/audits", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", w.OperatorToken)
	r.Header.Set("Content-Type", "application/json")
	resp, err := w.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("the audit: %d", resp.StatusCode)
	}
	deadline := time.Now().Add(time.Minute)
	for !strings.Contains(v.get("/console/tenants/"+s.tenant).text, "Findings of audits") {
		if time.Now().After(deadline) {
			t.Fatal("the page has no finding")
		}
		time.Sleep(50 * time.Millisecond)
	}
	v.get("/console/tenants/"+s.tenant).wants(t, "operator", "<b>tenant-disabled</b>", `<span class="tag finding bad">tenant-disabled</span>`, `<span class="state bad">high</span>`)
	portal.get("/console/tenants/"+s.tenant).wants(t, "merchant", "not tenant-disabled", "not Findings of audits")
}

func TestTheLedgerIsShownInPages(t *testing.T) {
	w := newWorld(t)
	first := w.subscribed(t, w.Merchant)
	for range 8 {
		w.order(t, w.Merchant)
	}
	portal := w.merchant(t, w.Merchant)
	p := portal.get("/console/users/" + w.User)
	older := strings.ReplaceAll(between(p.text, `<nav class="pages" aria-label="Pages of the ledger">`, `#h-ledger" rel="next"`), "&amp;", "&")
	older = older[strings.Index(older, `href="`)+len(`href="`):]
	if strings.Contains(between(p.text, `id="h-ledger"`, "</section>"), first.subscription) {
		t.Error("the first page has the oldest entries")
	}
	portal.get(older).wants(t, "the second page", first.subscription, `href="/console/users/`+w.User+`#h-ledger">Newest`, `not rel="next"`)
}
