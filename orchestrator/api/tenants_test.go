package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// rolesOf returns the roles as USER ROLE on TENANT, sorted.
func rolesOf(roles []api.TenantRole) (all []string) {
	for _, r := range roles {
		all = append(all, text(r.User)+" "+text(r.Role)+" on "+text(r.Tenant))
	}
	slices.Sort(all)
	return all
}

func TestATenantIsShownAsItIsInKeystone(t *testing.T) {
	aTenantIsShown(t)
	t.Run("Identity v2.0", func(t *testing.T) { aTenantIsShown(t, withIdentityV2) })
}

func aTenantIsShown(t *testing.T, change ...func(*servicetest.Options)) {
	w := newWorldOf(t, "", change...)
	s := w.subscribed("k")
	path, name := "/v1/tenants/"+s.tenant, keystone.SubscriptionTenant(s.id)
	stranger := w.Keystone.AddUser(keystonetest.User{Name: "stranger"})
	w.Keystone.Assign(keystone.Assignment{ProjectID: s.tenant, UserID: stranger, RoleID: w.Keystone.AddRole("reader")})
	w.Keystone.Assign(keystone.Assignment{ProjectID: s.tenant, UserID: w.User, RoleID: w.Keystone.AddRole("auditor")})

	show := func(want api.KeystoneState, roles ...string) {
		t.Helper()
		for _, q := range []request{w.get(path), w.admin(http.MethodGet, path, "")} {
			got := read[api.Tenant](t, w.call(q))
			if got.ID != s.tenant || text(got.Name) != name || got.Cloud != "default" || got.MerchantID != w.Merchant.ID || got.State != want || !slices.Equal(rolesOf(got.Roles), roles) {
				t.Errorf("got %+v, want %s with the roles %q", got, want, roles)
			}
		}
	}
	show("enabled", "ada  on "+name, "ada member on "+name)
	w.changes(w.change(s.id, "suspend", "s"))
	show("disabled", "ada  on "+name, "ada member on "+name)

	foreign := w.get(path)
	foreign.portal = w.Other
	w.refused(foreign, http.StatusNotFound, "tenant-not-found")
	operations, err := w.Identity.FindProject(t.Context(), keystonetest.DefaultDomain, "operations")
	must(t, err)
	for _, id := range []string{"nobody", operations.ID} {
		w.refused(w.admin(http.MethodGet, "/v1/tenants/"+id, ""), http.StatusNotFound, "tenant-not-found")
	}
	w.refused(w.admin(http.MethodGet, "/v1/tenants/%00", ""), http.StatusNotFound, "tenant-not-found")

	w.Keystone.RemoveUser(w.User)
	show("disabled")
	made, err := w.Identity.Project(t.Context(), s.tenant)
	must(t, err)
	tag := made.Tags[slices.IndexFunc(made.Tags, func(tag string) bool { return strings.HasPrefix(tag, "tenantry-run-") })]
	if _, err := w.Identity.RemoveProject(t.Context(), made, tag); err != nil {
		t.Fatal(err)
	}
	show("missing")
}

func TestAUserIsShownAsItIsInKeystone(t *testing.T) {
	w := newWorldOf(t, "")
	s := w.subscribed("k")
	customer, subscription := keystone.CustomerTenant(s.customer), keystone.SubscriptionTenant(s.id)
	show := func(want api.KeystoneState, roles ...string) {
		t.Helper()
		for _, q := range []request{w.get("/v1/users/" + w.User), w.admin(http.MethodGet, "/v1/users/"+w.User, "")} {
			got := read[api.TenantUser](t, w.call(q))
			if got.ID != w.User || (want == "missing") != (text(got.Name) != "ada") || got.State != want || !slices.Equal(rolesOf(got.Roles), roles) {
				t.Errorf("got %+v, want %s with the roles %q", got, want, roles)
			}
		}
	}
	all := []string{"ada bs-admin on " + customer, "ada member on " + customer, "ada member on " + subscription}
	show("enabled", all...)
	w.Keystone.EnableUser(w.User, false)
	show("disabled", all...)
	foreign := w.get("/v1/users/" + w.User)
	foreign.portal = w.Other
	w.refused(foreign, http.StatusNotFound, "user-not-found")
	stranger := w.Keystone.AddUser(keystonetest.User{Name: "stranger"})
	for _, id := range []string{"nobody", stranger} {
		w.refused(w.admin(http.MethodGet, "/v1/users/"+id, ""), http.StatusNotFound, "user-not-found")
	}
	w.Keystone.RemoveUser(w.User)
	show("missing")
}

func TestACustomerIsShown(t *testing.T) {
	w := newWorldOf(t, "")
	s := w.subscribed("k")
	path := "/v1/merchants/" + w.Merchant.ID + "/customers/"
	made, err := w.Identity.FindProject(t.Context(), keystonetest.DefaultDomain, keystone.CustomerTenant(s.customer))
	must(t, err)
	for _, q := range []request{w.get(path + s.customer), w.admin(http.MethodGet, path+s.customer, "")} {
		got := read[api.BilledCustomer](t, w.call(q))
		if got.ID != s.customer || got.Name == "" || text(got.Currency) != "nok" || text(got.Language) != "nor" || text(got.TenantID) != made.ID {
			t.Errorf("got %+v, want the tenant %s", got, made.ID)
		}
	}
	if got := read[api.BilledCustomer](t, w.call(w.get(path+w.Merchant.Customer))); got.Name != "Customer of Shop" || got.TenantID != nil {
		t.Errorf("a customer without runs: got %+v", got)
	}
	for _, id := range []string{w.Other.Customer, nobody} {
		w.refused(w.get(path+id), http.StatusNotFound, "customer-not-found")
	}
	foreign := w.get(path + s.customer)
	foreign.portal = w.Other
	w.refused(foreign, http.StatusNotFound, "merchant-not-found")
}

// The actions of a subscription are those that the caller can ask for in its state.
func TestASubscriptionListsItsActions(t *testing.T) {
	w := newWorldOf(t, "")
	s := w.subscribed("k")
	path := "/v1/merchants/" + w.Merchant.ID + "/subscriptions"
	is := func(when, portal, operator string) {
		t.Helper()
		for want, q := range map[string]request{portal: w.get(path + "/" + s.id), operator: w.admin(http.MethodGet, path+"/"+s.id, "")} {
			got := ""
			if a := read[api.BilledSubscription](t, w.call(q)).Actions; a != nil {
				got = strings.Join(*a, " ")
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", when, got, want)
			}
		}
	}
	is("active", "suspend change-plan unsubscribe", "suspend change-plan unsubscribe")
	w.changes(w.change(s.id, "suspend", "s1"))
	is("suspended", "resume change-plan unsubscribe", "suspend resume change-plan unsubscribe")
	w.changes(w.asOperator(w.change(s.id, "suspend", "s2")))
	is("suspended by an operator", "change-plan unsubscribe", "resume change-plan unsubscribe")
	w.changes(w.change(s.id, "unsubscribe", "u"))
	is("ending", "change-plan restore", "change-plan restore remove hold")
	if a := w.call(w.admin(http.MethodPut, path+"/"+s.id+"/hold", `{"why": "x"}`)); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	is("held", "change-plan restore", "change-plan restore remove hold release")
}

// A portal sees the entries of its merchant's runs in the ledger, and no findings.
func TestAPortalReadsItsLedger(t *testing.T) {
	onBoth(t, func(t *testing.T, database string) {
		w, x := newAuditedWorld(t, database, nil)
		own, theirs := read[api.Run](t, w.call(w.order("own"))), read[api.Run](t, w.call(w.ofOther("theirs")))
		x.end(audit.Outcome{Seen: []audit.Finding{{
			ID: findingID(1), Code: "role-missing", Severity: audit.High, UserID: w.User,
			Objects: []audit.Object{{Kind: "project", ID: idOf(own, "customer_tenant_id")}},
		}}})
		read := func(q request) (runs map[string]bool, findings int) {
			runs = map[string]bool{}
			got := read[api.Ledger](t, w.call(q))
			for _, e := range got.Entries {
				runs[e.RunID] = true
				findings += len(e.Findings)
			}
			return runs, findings + len(got.Findings)
		}
		query := "/v1/ledger?user_id=" + w.User
		if runs, findings := read(w.get(query)); len(runs) != 1 || !runs[own.ID] || findings != 0 {
			t.Errorf("the portal sees the runs %v and %d findings, want the run %s", runs, findings, own.ID)
		}
		if runs, findings := read(w.admin(http.MethodGet, query, "")); !runs[own.ID] || !runs[theirs.ID] || findings == 0 {
			t.Errorf("the operator sees the runs %v and %d findings", runs, findings)
		}
		if runs, _ := read(w.get("/v1/ledger?subscription_id=" + idOf(theirs, "subscription_id"))); len(runs) > 0 {
			t.Errorf("the portal sees the runs %v of another merchant", runs)
		}
	})
}

func TestAnOperatorListsPlans(t *testing.T) {
	w := newWorldOf(t, "")
	got := read[api.PlanList](t, w.call(w.admin(http.MethodGet, "/v1/merchants/"+w.Merchant.ID+"/plans", ""))).Plans
	if len(got) != 1 || got[0].ID != w.Merchant.Plan {
		t.Errorf("got %+v", got)
	}
}
