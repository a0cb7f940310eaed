package api_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
	"github.com/tenantry/tenantry/store"
)

// auditTime is the time at which the first audit of a test begins.
var auditTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// The type `executed` is a list of audits that a test executes instead of a replica.
type executed struct {
	t      *testing.T
	audits *store.Audits
	ids    []string
}

// The method `begin` creates an audit, and begins to execute it. The method `end` ends the execution.
func (x *executed) begin() {
	x.t.Helper()
	n := len(x.ids)
	at := auditTime.Add(time.Duration(n) * time.Hour)
	x.ids = append(x.ids, fmt.Sprintf("0199f000-0000-7000-8000-%012d", n+1))
	must(x.t, x.audits.Create(x.t.Context(), audit.Audit{ID: x.ids[n], By: "the test", CreatedAt: at, State: audit.Pending}))
	taken, err := x.audits.Take(x.t.Context(), "the test", at, at)
	must(x.t, err)
	if taken.ID != x.ids[n] {
		x.t.Fatalf("took %s, want %s", taken.ID, x.ids[n])
	}
	// The heartbeat is in the far future, so that the service never takes over the audit.
	must(x.t, x.audits.Beat(x.t.Context(), taken.ID, "the test", at.AddDate(900, 0, 0), audit.Progress{Phase: "testing", Done: 1, Total: 3}))
}

// The method `end` ends the audit that was begun last.
func (x *executed) end(o audit.Outcome) {
	x.t.Helper()
	n := len(x.ids) - 1
	o.Audit.ID = x.ids[n]
	if o.Audit.State == "" {
		o.Audit.State = audit.Complete
	}
	at := auditTime.Add(time.Duration(n)*time.Hour + time.Minute)
	o.Audit.EndedAt = &at
	must(x.t, x.audits.Finish(x.t.Context(), "the test", o))
}

// executedAudits returns an empty list of audits, and an option for newWorldOf. Before the service starts, the option calls the function
// `before` if it is not nil. Then the option begins an audit. The service executes no other audit until the test ends this audit.
func executedAudits(t *testing.T, before func(*executed)) (*executed, func(*servicetest.Options)) {
	x := &executed{t: t}
	return x, changed(func(o *service.Options) {
		s, _, err := service.Open(t.Context(), service.Config{DatabaseURL: o.DatabaseURL, SecretKey: o.SecretKey})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		x.audits = s.Audits()
		if before != nil {
			before(x)
		}
		x.begin()
	})
}

// newAuditedWorld returns a world with the option of executedAudits.
func newAuditedWorld(t *testing.T, database string, before func(*executed)) (*world, *executed) {
	t.Helper()
	x, option := executedAudits(t, before)
	return newWorldOf(t, database, option), x
}

func TestAuditsAreRequested(t *testing.T) { onBoth(t, auditsAreRequested) }

func auditsAreRequested(t *testing.T, database string) {
	w, x := newAuditedWorld(t, database, nil)
	const customer, project = "9b351268-22c6-4cf9-922f-7a5db1c1a27b", "john.doe's 100%"
	var want []string
	for _, c := range []struct {
		body  string
		scope api.AuditScope
	}{
		{`{}`, api.AuditScope{}},
		{`{"merchant_id": "` + w.Merchant.ID + `"}`, api.AuditScope{MerchantID: &w.Merchant.ID}},
		{`{"merchant_id": "` + w.Other.ID + `", "customer_id": "` + customer + `"}`, api.AuditScope{MerchantID: &w.Other.ID, CustomerID: new(customer)}},
		{`{"cloud": "default"}`, api.AuditScope{Cloud: new("default")}},
		{`{"project_id": "` + project + `"}`, api.AuditScope{Cloud: new("default"), ProjectID: new(project)}},
		{`{"cloud": "default", "project_id": "p"}`, api.AuditScope{Cloud: new("default"), ProjectID: new("p")}},
	} {
		accepted := w.call(w.admin("POST", "/v1/audits", c.body))
		if accepted.status != http.StatusAccepted || accepted.header.Get("Retry-After") == "" {
			t.Fatalf("%s: got %d %s", c.body, accepted.status, accepted.body)
		}
		got := read[api.Audit](t, accepted)
		if got.State != api.AuditPending || !reflect.DeepEqual(got.Scope, c.scope) || !strings.Contains(got.By, " (user ") {
			t.Errorf("%s: got %s", c.body, accepted.body)
		}
		path := "/v1/audits/" + got.ID
		if location := accepted.header.Get("Location"); location != path || got.Links[0].Href != path {
			t.Errorf("Location: got %q, links %v, want %q", location, got.Links, path)
		}
		shown := w.call(w.admin("GET", path, ""))
		if shown.body != accepted.body || shown.header.Get("Retry-After") == "" {
			t.Errorf("shown: got %d %s, want %s", shown.status, shown.body, accepted.body)
		}
		want = append([]string{got.ID}, want...)
	}
	want = append(want, x.ids[0])
	for _, limit := range []string{"1", "3", "7", "200"} {
		var got []string
		for q := w.admin("GET", "/v1/audits?limit="+limit, ""); q.path != ""; {
			page := read[api.AuditList](t, w.call(q))
			for _, a := range page.Audits {
				got = append(got, a.ID)
			}
			q.path = nextOf(page.Links)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the list with limit %s: got %v, want %v", limit, got, want)
		}
	}
}

// nextOf returns the path of the next page; empty if there is none.
func nextOf(links api.Links) string {
	for _, l := range links {
		if l.Rel == "next" {
			return l.Href
		}
	}
	return ""
}

func TestAnAuditIsShown(t *testing.T) { onBoth(t, anAuditIsShown) }

func anAuditIsShown(t *testing.T, database string) {
	w, x := newAuditedWorld(t, database, func(x *executed) {
		x.begin()
		x.end(audit.Outcome{Audit: audit.Audit{State: audit.Failed, Failure: "Keystone said \x00 <no>"}})
	})
	failed := read[api.Audit](t, w.call(w.admin("GET", "/v1/audits/"+x.ids[0], "")))
	if failed.State != api.AuditFailed || failed.Failure == nil || !strings.HasSuffix(*failed.Failure, " <no>") || failed.EndedAt == nil {
		t.Errorf("got %+v", failed)
	}
	running := w.call(w.admin("GET", "/v1/audits/"+x.ids[1], ""))
	got := read[api.Audit](t, running)
	if got.State != api.AuditRunning || got.Progress != (api.AuditProgress{Phase: "testing", Done: 1, Total: 3}) || got.StartedAt == nil ||
		got.EndedAt != nil || running.header.Get("Retry-After") != "1" || len(got.Found) > 0 || len(got.Read) > 0 {
		t.Errorf("got %s", running.body)
	}
	x.end(audit.Outcome{Audit: audit.Audit{
		State: audit.Incomplete, Found: map[string]int{"high": 2}, Read: map[string]int{"projects": 7},
		Gaps: []audit.Gap{{Code: "users-not-readable", Cloud: "default", MerchantID: w.Merchant.ID, Detail: "no rights"}},
	}})
	ended := w.call(w.admin("GET", "/v1/audits/"+x.ids[1], ""))
	got = read[api.Audit](t, ended)
	gap := api.AuditGap{Code: "users-not-readable", Cloud: new("default"), MerchantID: &w.Merchant.ID, Detail: "no rights"}
	if got.State != api.AuditIncomplete || got.Found["high"] != 2 || got.Read["projects"] != 7 || got.Gaps == nil ||
		!reflect.DeepEqual(*got.Gaps, []api.AuditGap{gap}) || ended.header.Get("Retry-After") != "" {
		t.Errorf("got %s", ended.body)
	}
	for _, a := range read[api.AuditList](t, w.call(w.admin("GET", "/v1/audits", ""))).Audits {
		if a.Gaps != nil {
			t.Errorf("the list has the gaps of an audit: %+v", a)
		}
	}
}

func TestTooManyAuditsWait(t *testing.T) {
	w, _ := newAuditedWorld(t, "", nil)
	for range audit.MaxPending {
		if got := w.call(w.admin("POST", "/v1/audits", "{}")); got.status != http.StatusAccepted {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
	got := w.refused(w.admin("POST", "/v1/audits", "{}"), http.StatusTooManyRequests, "audits-waiting")
	if got.header.Get("Retry-After") != "30" {
		t.Errorf("Retry-After: got %q", got.header.Get("Retry-After"))
	}
	if p := read[api.Problem](t, got); !p.Retryable {
		t.Errorf("got %s", got.body)
	}
	if n := len(read[api.AuditList](t, w.call(w.admin("GET", "/v1/audits", ""))).Audits); n != audit.MaxPending+1 {
		t.Errorf("there are %d audits", n)
	}
}

func TestRefusedAudits(t *testing.T) {
	w, _ := newAuditedWorld(t, "", nil)
	merchant, customer := `"merchant_id": "`+w.Merchant.ID+`"`, `"customer_id": "`+w.Merchant.Customer+`"`
	for body, pointer := range map[string]string{
		`{"merchant_id": "` + nobody + `"}`:                 "/merchant_id",
		`{"merchant_id": "x"}`:                              "/merchant_id",
		`{"merchant_id": null}`:                             "/merchant_id",
		`{` + customer + `}`:                                "/merchant_id",
		`{` + merchant + `, "customer_id": "../x"}`:         "/customer_id",
		`{` + merchant + `, "project_id": "p"}`:             "/project_id",
		`{` + merchant + `, "cloud": "default"}`:            "/cloud",
		`{"cloud": "nowhere"}`:                              "/cloud",
		`{"cloud": "nowhere", "project_id": "p"}`:           "/cloud",
		`{"cloud": "a b"}`:                                  "/cloud",
		`{"project_id": ""}`:                                "/project_id",
		`{"project_id": ".."}`:                              "/project_id",
		`{"project_id": "a/b"}`:                             "/project_id",
		`{"project_id": "a\u0000"}`:                         "/project_id",
		`{"project_id": "` + strings.Repeat("p", 65) + `"}`: "/project_id",
		`{"scope": "all"}`:                                  "/scope",
		`[]`:                                                "",
	} {
		got := w.refused(w.admin("POST", "/v1/audits", body), http.StatusBadRequest, "invalid-params")
		if faults := read[api.Problem](t, got).InvalidParams; pointer != "" && (faults == nil || text((*faults)[0].Pointer) != pointer) {
			t.Errorf("%s: got %s, want it to point at %s", body, got.body, pointer)
		}
	}
	w.refused(w.admin("POST", "/v1/audits", "{"), http.StatusBadRequest, "body-malformed")
	for _, id := range []string{nobody, "x", "%00", "..%2fmerchants"} {
		w.refused(w.admin("GET", "/v1/audits/"+id, ""), http.StatusNotFound, "audit-not-found")
	}
	for query, parameter := range map[string]string{"?limit=0": "limit", "?limit=201": "limit", "?marker=x": "marker", "?state=running": "state"} {
		got := w.refused(w.admin("GET", "/v1/audits"+query, ""), http.StatusBadRequest, "invalid-params")
		if p := read[api.Problem](t, got); text((*p.InvalidParams)[0].Parameter) != parameter {
			t.Errorf("%s: got %s", query, got.body)
		}
	}
	if all := read[api.AuditList](t, w.call(w.admin("GET", "/v1/audits", ""))).Audits; len(all) != 1 {
		t.Errorf("there are %d audits, want only the audit of the test", len(all))
	}
}

// Only operators may call the operations on audits.
func TestPortalsDoNotAudit(t *testing.T) {
	w, _ := newAuditedWorld(t, "", nil)
	seen := 0
	for path, item := range w.document.doc.Paths.Map() {
		for method, o := range item.Operations() {
			if !slices.Contains(o.Tags, "audits") {
				continue
			}
			seen++
			q := request{method: method, path: strings.NewReplacer("{audit_id}", nobody, "{finding_id}", nobody, "{plan_id}", nobody).Replace(path), body: `{"why": "x"}`}
			if method == http.MethodGet {
				q.body = ""
			}
			w.refused(q, http.StatusUnauthorized, "credentials-required")
			q.operator = w.UserToken
			w.refused(q, http.StatusForbidden, "forbidden")
			q.operator, q.portal = "", w.Merchant
			w.refused(q, http.StatusForbidden, "forbidden")
		}
	}
	if seen != 13 {
		t.Errorf("%d operations were checked", seen)
	}
}
