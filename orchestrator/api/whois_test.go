package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
)

// The method `ledger` returns the entries of all pages.
func (w *world) ledger(query string) (all []api.LedgerEntry) {
	w.t.Helper()
	for q := w.admin("GET", "/v1/ledger?"+query, ""); q.path != ""; {
		a := w.call(q)
		page := read[api.Ledger](w.t, a)
		if a.status != http.StatusOK || len(page.Entries) == 0 && nextOf(page.Links) != "" {
			w.t.Fatalf("got %d %s", a.status, a.body)
		}
		all, q.path = append(all, page.Entries...), nextOf(page.Links)
	}
	return all
}

// wantLedger checks the entries of a query. The function `want` selects objects of the runs. The query must return one entry for
// each selected object, and no other entries. The entries of the newest run must be first. The map `said` contains, for each
// object, the numbers of the findings that the object's entry must have.
func (w *world) wantLedger(query string, runs []api.Run, want func(api.Object) bool, said map[string][]int) {
	w.t.Helper()
	entries, n := w.ledger(query), 0
	for _, run := range runs {
		for _, o := range run.Objects {
			if !want(o) {
				continue
			}
			n++
			i := slices.IndexFunc(entries, func(e api.LedgerEntry) bool { return e.RunID == run.ID && e.Kind == o.Kind && e.ID == o.ID })
			if i < 0 {
				w.t.Errorf("%s: the ledger lacks %s %s of run %s", query, o.Kind, o.ID, run.Workflow)
				continue
			}
			e := entries[i]
			step := run.Steps[slices.IndexFunc(run.Steps, func(s api.Step) bool { return s.Name == o.Step })]
			if e.Step != o.Step || text(e.Name) != text(o.Name) || text(e.Cloud) != text(o.Cloud) || string(e.Origin) != string(o.Origin) ||
				text(e.RequestID) != text(o.RequestID) || e.Workflow != run.Workflow || e.RunState != run.State ||
				e.MerchantID != w.Merchant.ID || !e.At.Equal(*step.EndedAt) || e.By != "portal with key "+w.Merchant.Key ||
				(e.RemovedAt == nil) != (o.RemovedAt == nil) {
				w.t.Errorf("%s: got %+v, want %+v", query, e, o)
			}
			var found []int
			for _, f := range e.Findings {
				found = append(found, int(f.ID[7]-'0'))
				if status := read[api.Finding](w.t, w.call(w.admin("GET", "/v1/findings/"+f.ID, ""))).Status; f.Status != status ||
					f.Code != "role-missing" || f.Severity != api.SeverityHigh {
					w.t.Errorf("%s: got the finding %+v, want it to be %s", query, f, status)
				}
			}
			if want := said[o.Kind+" "+o.ID]; !slices.Equal(found, want) {
				w.t.Errorf("%s: the findings about %s %s are %v, want %v", query, o.Kind, o.ID, found, want)
			}
		}
	}
	newestFirst := slices.IsSortedFunc(entries, func(a, b api.LedgerEntry) int { return strings.Compare(b.RunID, a.RunID) })
	if len(entries) != n || n == 0 || !newestFirst {
		w.t.Errorf("%s: got %d entries, want %d, with the entries of the newest run first: %+v", query, len(entries), n, entries)
	}
}

// TestTheLedgerNamesWhoGaveEachRole orders a subscription and ends it. The ledger then contains each object and each role assignment,
// with its run and step, the caller who ordered the run, and the findings of the last audit.
func TestTheLedgerNamesWhoGaveEachRole(t *testing.T) { onBoth(t, theLedgerNamesWho) }

func theLedgerNamesWho(t *testing.T, database string) {
	w, x := newAuditedWorld(t, database, nil)
	made := read[api.Run](t, w.call(w.order("first")))
	customer, subscription := idOf(made, "customer_id"), idOf(made, "subscription_id")
	tenant, customerTenant := idOf(made, "subscription_tenant_id"), idOf(made, "customer_tenant_id")
	on := func(project string) func(api.Object) bool {
		return func(o api.Object) bool { return o.ID == project || strings.HasPrefix(o.ID, project+"/") }
	}
	all := func(api.Object) bool { return true }
	role := slices.IndexFunc(made.Objects, func(o api.Object) bool { return o.Kind == "role-assignment" && on(tenant)(o) })
	assignment := made.Objects[role].ID

	finding := func(n int, about audit.Finding, kind, id string) audit.Finding {
		about.ID, about.Code, about.Severity = findingID(n), "role-missing", audit.High
		about.Objects = []audit.Object{{Kind: "domain", ID: "default"}, {Kind: kind, ID: id}, {Kind: kind, ID: id}}
		return about
	}
	var others []audit.Finding
	for i := range 100 {
		others = append(others, audit.Finding{ID: fmt.Sprintf("00000000-0000-5000-8000-%012d", i), Code: "role-missing", Severity: audit.Low})
	}
	x.end(audit.Outcome{Seen: append(others, []audit.Finding{
		finding(1, audit.Finding{ProjectID: tenant}, "project", tenant),
		finding(2, audit.Finding{ProjectID: tenant}, "role-assignment", assignment),
		finding(3, audit.Finding{ProjectID: tenant}, "role-assignment", tenant+"/somebody/else"),
		finding(4, audit.Finding{ProjectID: "another"}, "project", "another"),
		finding(5, audit.Finding{CustomerID: customer}, "customer", customer),
		finding(6, audit.Finding{SubscriptionID: subscription}, "subscription", subscription),
		finding(7, audit.Finding{UserID: w.User}, "role-assignment", assignment),
	}...)})
	said := map[string][]int{
		"project " + tenant: {1}, "role-assignment " + assignment: {2, 7}, "customer " + customer: {5}, "subscription " + subscription: {6},
	}
	if accepted := w.call(w.admin("PUT", "/v1/findings/"+findingID(2)+"/acceptance", `{"why": "x"}`)); accepted.status != http.StatusOK {
		t.Fatal(accepted.body)
	}
	ended := read[api.Run](t, w.call(w.change(subscription, "unsubscribe", "u")))
	runs := []api.Run{ended, made}

	for _, limit := range []string{"1", "2", "50", "200"} {
		w.wantLedger("limit="+limit+"&project_id="+tenant, runs, on(tenant), said)
		w.wantLedger("limit="+limit+"&project_id="+customerTenant, runs, on(customerTenant), said)
		w.wantLedger("limit="+limit+"&user_id="+url.QueryEscape(w.User), runs, all, said)
		w.wantLedger("limit="+limit+"&customer_id="+customer, runs, all, said)
		w.wantLedger("limit="+limit+"&subscription_id="+subscription, runs, all, said)
	}
	revoked := slices.ContainsFunc(w.ledger("project_id="+tenant), func(e api.LedgerEntry) bool {
		return e.ID == assignment && e.RunID == ended.ID && e.RemovedAt != nil && text(e.Why) == "a test"
	})
	if !revoked {
		t.Errorf("the ledger does not say who has revoked the role, and why: %+v", w.ledger("project_id="+tenant))
	}
	for query, want := range map[string][]int{
		"project_id=" + tenant: {1, 2, 3}, "project_id=another": {4}, "user_id=" + url.QueryEscape(w.User): {7},
		"customer_id=" + customer: {5}, "subscription_id=" + subscription: {6}, "project_id=" + customerTenant: nil,
	} {
		var got []int
		for _, f := range read[api.Ledger](t, w.call(w.admin("GET", "/v1/ledger?"+query, ""))).Findings {
			got = append(got, int(f.ID[7]-'0'))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got the findings %v, want %v", query, got, want)
		}
	}
	for _, query := range []string{"project_id=" + url.QueryEscape("100%_"), "user_id=_", "customer_id=" + nobody, "subscription_id=" + nobody} {
		if got := w.ledger(query); len(got) > 0 {
			t.Errorf("%s: got %+v", query, got)
		}
	}
}

func TestRefusedQueriesOfTheLedger(t *testing.T) {
	w := newWorld(t)
	run := newID()
	for query, parameter := range map[string]string{
		"": "", "limit=5": "", "project_id=a&user_id=b": "", "customer_id=" + nobody + "&subscription_id=" + nobody: "",
		"project_id=": "project_id", "project_id=..": "project_id", "project_id=a/b": "project_id", "project_id=a&project_id=b": "project_id",
		"user_id=%00": "user_id", "user_id=" + strings.Repeat("u", 65): "user_id", "customer_id=x": "customer_id", "subscription_id=x": "subscription_id",
		"project_id=a&limit=201": "limit", "project_id=a&marker=x": "marker", "project_id=a&marker=" + run: "marker",
		"project_id=a&marker=" + run + "/Project/x": "marker", "project_id=a&marker=" + run + "/project/%00": "marker",
		"project_id=a&merchant_id=" + nobody: "merchant_id",
	} {
		got := w.refused(w.admin("GET", "/v1/ledger?"+query, ""), http.StatusBadRequest, "invalid-params")
		if p := read[api.Problem](t, got); text((*p.InvalidParams)[0].Parameter) != parameter {
			t.Errorf("%s: got %s, want it to name %q", query, got.body, parameter)
		}
	}
	if got := w.call(w.admin("GET", "/v1/ledger?project_id=a&marker="+run+"/project/p", "")); got.status != http.StatusOK {
		t.Errorf("a marker: got %d %s", got.status, got.body)
	}
}
