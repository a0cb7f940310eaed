package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
)

// The ids of the findings in these tests, and the ids of the findings' objects.
const (
	theMerchant, theCustomer, theSubscription, theRun = "f47f51dd-e7db-47e2-bdb1-83935a50cf87", "9b351268-22c6-4cf9-922f-7a5db1c1a27b",
		"8f5d3d6b-4a3a-5a4e-9d5f-0f6d3d1c2b1a", "0198f000-0000-7000-8000-000000000001"
	theProject, theUser = "3c2a9c5a6f0b4b3f8f3e0d8e6f5c4b3a", "m@example.org&user_id=x"
)

func findingID(n int) string { return fmt.Sprintf("%08d-0000-5000-8000-000000000000", n) }

// someFindings returns five findings that differ in all fields that a filter can name.
func someFindings() []audit.Finding {
	renamed := audit.Finding{
		ID: findingID(1), Code: "tenant-renamed", Severity: audit.Medium, Cloud: "default", MerchantID: theMerchant, CustomerID: theCustomer,
		SubscriptionID: theSubscription, ProjectID: theProject, UserID: theUser, RunID: theRun,
		Objects: []audit.Object{{Kind: "project", ID: theProject, Name: "bs-<b>&amp;"}, {Kind: "run", ID: theRun}},
		Detail:  "the name is \"x\"", Affected: "runs", Repair: audit.Repair{Advice: "rename it", Values: map[string]string{"name": "y"}},
	}
	return []audit.Finding{
		renamed,
		{ID: findingID(2), Code: "role-admin", Severity: audit.Critical, Cloud: "default", Repair: audit.Repair{Action: audit.RevokeRole, Advice: "revoke"}},
		{ID: findingID(3), Code: "plan-gone", Severity: audit.High, MerchantID: theMerchant},
		{ID: findingID(4), Code: "role-admin", Severity: audit.Info, Cloud: "other"},
		{ID: findingID(5), Code: "run-waits", Severity: audit.Low},
	}
}

// newFindings returns a world after two audits. The findings 1 and 2 are known, 3 is resolved, 4 is new, and 5 is accepted.
func newFindings(t *testing.T, database string) (*world, *executed) {
	t.Helper()
	return newAuditedWorld(t, database, func(x *executed) {
		f := someFindings()
		x.begin()
		x.end(audit.Outcome{Seen: []audit.Finding{f[0], f[1], f[2], f[4]}})
		a := audit.Acceptance{Who: "ann", Why: "it waits for us", At: auditTime}
		_, err := x.audits.Accept(t.Context(), f[4].ID, audit.Change{At: a.At, Status: audit.Accepted, Who: a.Who, Why: a.Why}, &a)
		must(t, err)
		x.begin()
		x.end(audit.Outcome{Seen: []audit.Finding{f[0], f[1], f[3]}, Resolved: []string{f[2].ID}})
	})
}

func TestFindingsAreCounted(t *testing.T) { onBoth(t, findingsAreCounted) }

func findingsAreCounted(t *testing.T, database string) {
	w, _ := newFindings(t, database)
	for query, want := range map[string]string{
		"":                           "critical role-admin known 1, medium tenant-renamed known 1, low run-waits accepted 1, info role-admin new 1",
		"cloud=other":                "info role-admin new 1",
		"merchant_id=" + theMerchant: "medium tenant-renamed known 1",
		"merchant_id=" + theCustomer: "",
	} {
		var got []string
		for _, n := range read[api.FindingCounts](t, w.call(w.admin("GET", "/v1/finding-counts?"+query, ""))).Counts {
			got = append(got, fmt.Sprint(n.Severity, " ", n.Code, " ", n.Status, " ", n.Count))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	w.refused(w.admin("GET", "/v1/finding-counts?merchant_id=x", ""), http.StatusBadRequest, "invalid-params")
}

func TestFindingsAreListed(t *testing.T) { onBoth(t, findingsAreListed) }

func findingsAreListed(t *testing.T, database string) {
	w, x := newFindings(t, database)
	for query, want := range map[string][]int{
		"":                        {1, 2, 4},
		"limit=1":                 {1, 2, 4},
		"limit=2":                 {1, 2, 4},
		"status=known":            {1, 2},
		"status=new&status=known": {1, 2, 4},
		"status=resolved":         {3},
		"status=accepted":         {5},
		"status=accepted&limit=1&status=resolved&status=new&status=known": {1, 2, 3, 4, 5},
		"severity=critical":                   {2},
		"severity=medium":                     {1, 2},
		"severity=info":                       {1, 2, 4},
		"code=role-admin":                     {2, 4},
		"code=role-admin&code=tenant-renamed": {1, 2, 4},
		"code=nothing":                        nil,
		"cloud=other":                         {4},
		"merchant_id=" + theMerchant:          {1},
		"merchant_id=" + theMerchant + "&status=resolved": {3},
		"customer_id=" + theCustomer:                      {1},
		"subscription_id=" + theSubscription:              {1},
		"project_id=" + theProject:                        {1},
		"user_id=" + url.QueryEscape(theUser):             {1},
		"user_id=x":                                       nil,
		"audit_id=" + x.ids[1]:                            {1, 2, 4},
		"audit_id=" + x.ids[0]:                            nil,
		"audit_id=" + x.ids[0] + "&status=accepted":       {5},
		"marker=" + findingID(1):                          {2, 4},
		"severity=medium&code=role-admin&cloud=default":   {2},
	} {
		var got []int
		for q := w.admin("GET", "/v1/findings?"+query, ""); q.path != ""; {
			answer := w.call(q)
			page := read[api.FindingList](t, answer)
			for _, f := range page.Findings {
				n := 0
				_, _ = fmt.Sscanf(f.ID, "%08d", &n)
				got = append(got, n)
				if f.History != nil {
					t.Errorf("the list has the history of a finding: %s", answer.body)
				}
			}
			q.path = nextOf(page.Links)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	for query, parameter := range map[string]string{
		"limit=201": "limit", "marker=x": "marker", "marker=../runs": "marker", "status=open": "status", "status=": "status",
		"status=new,known": "status", "status=new&status=new&status=new&status=new&status=new": "status",
		"severity=bad": "severity", "severity=low&severity=high": "severity", "code=Bad": "code", "code=": "code", "cloud=a%20b": "cloud",
		"merchant_id=x": "merchant_id", "customer_id=x": "customer_id", "subscription_id=x": "subscription_id", "audit_id=x": "audit_id",
		"project_id=a/b": "project_id", "user_id=": "user_id", "user_id=%00": "user_id", "merchant=" + theMerchant: "merchant",
		strings.Repeat("code=x&", 21) + "code=x": "code",
	} {
		got := w.refused(w.admin("GET", "/v1/findings?"+query, ""), http.StatusBadRequest, "invalid-params")
		if p := read[api.Problem](t, got); text((*p.InvalidParams)[0].Parameter) != parameter {
			t.Errorf("%s: got %s, want it to name %s", query, got.body, parameter)
		}
	}
}

func TestAFindingIsShown(t *testing.T) { onBoth(t, aFindingIsShown) }

func aFindingIsShown(t *testing.T, database string) {
	w, x := newFindings(t, database)
	first, second := auditTime.Add(time.Minute), auditTime.Add(time.Hour+time.Minute)
	want := api.Finding{
		ID: findingID(1), Code: "tenant-renamed", Severity: api.SeverityMedium, Status: api.FindingKnown, Cloud: new("default"),
		MerchantID: new(theMerchant), CustomerID: new(theCustomer), SubscriptionID: new(theSubscription), ProjectID: new(theProject),
		UserID: new(theUser), RunID: new(theRun), Detail: "the name is \"x\"", Affected: "runs",
		Objects:   []api.FindingObject{{Kind: "project", ID: theProject, Name: new("bs-<b>&amp;")}, {Kind: "run", ID: theRun}},
		Repair:    api.Repair{Advice: "rename it", Values: &map[string]string{"name": "y"}},
		FirstSeen: first, LastSeen: second, FirstAuditID: x.ids[0], LastAuditID: x.ids[1],
		History: &[]api.FindingChange{
			{At: first, Status: api.FindingNew, AuditID: &x.ids[0]}, {At: second, Status: api.FindingKnown, AuditID: &x.ids[1]},
		},
		Repairs: &[]api.FindingRepair{},
		Links:   api.Links{{Rel: "self", Href: "/v1/findings/" + findingID(1)}, {Rel: "run", Href: "/v1/runs/" + theRun}},
	}
	got := read[api.Finding](t, w.call(w.admin("GET", "/v1/findings/"+want.ID, "")))
	got.Explanation = nil // see TestAFindingIsExplained
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	admin := read[api.Finding](t, w.call(w.admin("GET", "/v1/findings/"+findingID(2), "")))
	if text(admin.Repair.Action) != "revoke-role" || admin.MerchantID != nil || len(admin.Objects) > 0 || len(admin.Links) != 1 {
		t.Errorf("got %+v", admin)
	}
	resolved := read[api.Finding](t, w.call(w.admin("GET", "/v1/findings/"+findingID(3), "")))
	if resolved.Status != api.FindingResolved || resolved.ResolvedAt == nil || !resolved.ResolvedAt.Equal(second) {
		t.Errorf("got %+v", resolved)
	}
	for _, id := range []string{nobody, findingID(9), "x", "%00", "..%2Fruns", strings.Repeat("a", 65), strings.ToUpper("abcdef01")} {
		w.refused(w.admin("GET", "/v1/findings/"+id, ""), http.StatusNotFound, "finding-not-found")
		w.refused(w.admin("PUT", "/v1/findings/"+id+"/acceptance", `{"why": "x"}`), http.StatusNotFound, "finding-not-found")
		w.refused(w.admin("DELETE", "/v1/findings/"+id+"/acceptance", ""), http.StatusNotFound, "finding-not-found")
	}
}

func TestAFindingIsAccepted(t *testing.T) { onBoth(t, aFindingIsAccepted) }

func aFindingIsAccepted(t *testing.T, database string) {
	w, x := newFindings(t, database)
	path := "/v1/findings/" + findingID(1)
	shows := func(q request) api.Finding {
		t.Helper()
		a := w.call(q)
		got := read[api.Finding](t, a)
		if a.status != http.StatusOK || got.ID != findingID(1) {
			t.Fatalf("got %d %s", a.status, a.body)
		}
		if again := w.call(w.admin("GET", path, "")); again.body != a.body {
			t.Errorf("the answer differs from the finding: got %s, want %s", a.body, again.body)
		}
		return got
	}
	before := time.Now().Add(-time.Second)
	got := shows(w.admin("PUT", path+"/acceptance", `{"why": " the <b>support</b> needs it  ", "until": "2999-01-31T12:00:00+01:00"}`))
	until := time.Date(2999, 1, 31, 11, 0, 0, 0, time.UTC)
	a := got.Acceptance
	if got.Status != api.FindingAccepted || a == nil || a.Why != "the <b>support</b> needs it" || !strings.Contains(a.Who, " (user ") ||
		a.At.Before(before) || a.Until == nil || !a.Until.Equal(until) {
		t.Fatalf("accepted: got %+v, %+v", got, a)
	}
	last := func(f api.Finding) api.FindingChange { return (*f.History)[len(*f.History)-1] }
	if c := last(got); len(*got.History) != 3 || c.Status != api.FindingAccepted || text(c.Who) != a.Who || text(c.Why) != a.Why ||
		c.AuditID != nil || c.Until == nil || !c.Until.Equal(until) {
		t.Errorf("the history: got %+v", *got.History)
	}
	got = shows(w.admin("PUT", path+"/acceptance", `{"why": "for good"}`))
	if got.Status != api.FindingAccepted || got.Acceptance.Why != "for good" || got.Acceptance.Until != nil || text(last(got).Why) != "for good" {
		t.Errorf("accepted again: got %+v, %+v", got, got.Acceptance)
	}
	got = shows(w.admin("DELETE", path+"/acceptance", ""))
	if got.Status != api.FindingKnown || got.Acceptance != nil || last(got).Status != api.FindingKnown || text(last(got).Who) != a.Who {
		t.Errorf("withdrawn: got %+v", got)
	}
	changes := len(*got.History)
	if got = shows(w.admin("DELETE", path+"/acceptance", "")); got.Status != api.FindingKnown || len(*got.History) != changes {
		t.Errorf("withdrawn twice: got %+v", *got.History)
	}
	fresh := read[api.Finding](t, w.call(w.admin("DELETE", "/v1/findings/"+findingID(4)+"/acceptance", "")))
	if fresh.Status != api.FindingNew || len(*fresh.History) != 1 {
		t.Errorf("a new finding: got %+v", fresh)
	}

	w.refused(w.admin("PUT", "/v1/findings/"+findingID(3)+"/acceptance", `{"why": "x"}`), http.StatusConflict, "finding-resolved")
	resolved := w.call(w.admin("DELETE", "/v1/findings/"+findingID(3)+"/acceptance", ""))
	if read[api.Finding](t, resolved).Status != api.FindingResolved {
		t.Errorf("a resolved finding: got %d %s", resolved.status, resolved.body)
	}
	for body, pointer := range map[string]string{
		`{}`: "/why", `{"why": ""}`: "/why", `{"why": " \u200b "}`: "/why", `{"why": "a\nb"}`: "/why", `{"why": 1}`: "/why",
		`{"why": "` + strings.Repeat("y", 1001) + `"}`:       "/why",
		`{"why": "x", "until": "2026-02-30T00:00:00Z"}`:      "/until",
		`{"why": "x", "until": "2001-01-31T12:00:00Z"}`:      "/until",
		`{"why": "x", "until": "9999-12-31T23:59:59-01:00"}`: "/until",
		`{"why": "x", "until": "tomorrow"}`:                  "/until",
		`{"why": "x", "until": "2999-01-31"}`:                "/until",
		`{"why": "x", "until": null}`:                        "/until",
		`{"why": "x", "who": "me"}`:                          "/who",
	} {
		refused := w.refused(w.admin("PUT", path+"/acceptance", body), http.StatusBadRequest, "invalid-params")
		if p := read[api.Problem](t, refused); text((*p.InvalidParams)[0].Pointer) != pointer {
			t.Errorf("%s: got %s, want it to point at %s", body, refused.body, pointer)
		}
	}
	if got = shows(w.admin("GET", path, "")); len(*got.History) != changes {
		t.Errorf("refused requests have changed the finding: %+v", got)
	}

	// An audit opens a finding again if its acceptance has ended. It does not change an acceptance that has not ended.
	accepted := shows(w.admin("PUT", path+"/acceptance", `{"why": "x"}`))
	x.end(audit.Outcome{Seen: someFindings()[:1]})
	if got = shows(w.admin("GET", path, "")); got.Status != api.FindingAccepted || got.LastAuditID != x.ids[2] ||
		!reflect.DeepEqual(got.Acceptance, accepted.Acceptance) {
		t.Errorf("after another audit: got %+v", got)
	}
}
