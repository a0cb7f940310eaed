package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
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
	portal.get(s.page()).wants(t, "BillingStack lacks it", "There is no such subscription", `href="/console/runs/`+s.run)
	v := w.operator(t)
	other, err := w.Billing.EnsureSubscription(t.Context(), w.Merchant.ID, billing.Subscription{
		ID: uuid.NewString(), PlanID: w.Merchant.Plan, CustomerID: w.Merchant.Customer, ResourceID: "elsewhere", ResourceType: "openstack",
	})
	if err != nil {
		t.Fatal(err)
	}
	v.get("/console/subscriptions/"+other.ID+"?merchant="+w.Merchant.ID).wants(t, "not by Tenantry", "elsewhere", "There is no such tenant")
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
