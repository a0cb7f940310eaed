package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/keystone/keystonetest"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/service"
	"github.com/tenantry/tenantry/orchestrator/service/servicetest"
)

// damaged orders subscriptions, disables the tenants of the first ones, and revokes a role of the others. It returns the ids of the tenants.
func (w *world) damaged(t *testing.T, disabled, revoked int) (tenants []string) {
	t.Helper()
	for range disabled + revoked {
		w.order(t, w.Merchant)
	}
	for _, p := range w.Keystone.Projects() {
		if !strings.HasPrefix(p.Name, "bs-subscription-") {
			continue
		}
		if len(tenants) < disabled {
			w.Keystone.EnableProject(p.ID, false)
		} else {
			w.Keystone.Unassign(keystone.Assignment{ProjectID: p.ID, UserID: w.User, RoleID: roleOf(t, w, "member")})
		}
		tenants = append(tenants, p.ID)
	}
	if len(tenants) != disabled+revoked {
		t.Fatalf("there are %d tenants", len(tenants))
	}
	return tenants
}

// The method `audit` starts an audit of everything, waits for its end, and returns its page.
func (v *visitor) audit() page {
	v.t.Helper()
	p := v.post("/console/audits", nil)
	if !strings.HasPrefix(p.at, "/console/audits/") {
		v.t.Fatalf("starting an audit: %d at %s: %s", p.status, p.at, p.text)
	}
	eventually(v.t, "the audit", func() bool { p = v.get(p.at); return strings.Contains(p.text, "Not assessed") })
	return p
}

// ticked returns the ids of the findings that the page offers for a plan or an approval.
func ticked(p page) (ids []string) {
	for _, part := range strings.Split(p.text, `name="finding" value="`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		ids = append(ids, id)
	}
	return ids
}

func TestFindingsAreFoundAndPlanned(t *testing.T) {
	w := newWorld(t)
	tenants := w.damaged(t, 1, 1)
	v := w.operator(t)
	if p := v.get("/console/findings"); !strings.Contains(p.text, "There are no open findings") {
		t.Errorf("before the first audit: %s", p.text)
	}
	a := v.audit()
	for _, text := range []string{`state good">complete`, "everything", "olga (user ", "2 high", "Everything in the scope was assessed."} {
		if !strings.Contains(a.text, text) {
			t.Errorf("the page of the audit lacks %s", text)
		}
	}
	id := strings.TrimPrefix(a.at, "/console/audits/")
	if p := v.get("/console/audits"); !strings.Contains(p.text, a.at) || !strings.Contains(p.text, "2 high") || strings.Contains(p.text, "hx-trigger") {
		t.Errorf("the list of audits: %s", p.text)
	}
	all := v.get("/console/findings")
	both := ticked(all)
	if len(both) != 2 {
		t.Fatalf("%d findings: %s", len(both), all.text)
	}
	find := func(query string) []string { return ticked(v.get("/console/findings?" + query)) }
	disabled, missing := find("code=tenant-disabled"), find("code=role-missing")
	if len(disabled) != 1 || len(missing) != 1 {
		t.Fatalf("by code: %v and %v", disabled, missing)
	}
	for query, want := range map[string][]string{
		"severity=high": both, "severity=critical": nil, "status=new": both, "status=known": nil, "status=any": both, "status=resolved": nil,
		"merchant=" + w.Merchant.ID: both, "merchant=Shop": both, "merchant=Other": nil, "merchant=nobody": nil, "q=" + tenants[0]: disabled, "q=" + tenants[1]: missing,
		"q=" + tenants[1] + "/" + w.User + "/x": missing, "q=" + w.User: missing, "q=ada": missing, "q=nobody": nil, "q=" + w.Merchant.ID: both, "q=" + id: both,
		"audit=" + id: both, "audit=" + w.Other.ID: nil, "severity=nope&status=nope&code=A%00&audit=x": both, "q=" + strings.Repeat("x", 300): nil, "q=%00": nil,
		"q=" + w.User + "&code=tenant-disabled": nil,
	} {
		p := v.get("/console/findings?" + query)
		got := ticked(p)
		slices.Sort(got)
		slices.Sort(want)
		if p.status != http.StatusOK || !slices.Equal(got, want) {
			t.Errorf("%s: got %d %v, want %v", query, p.status, got, want)
		}
	}
	if p := v.get("/console/findings?q=" + disabled[0]); p.at != "/console/findings/"+disabled[0] {
		t.Errorf("the id of a finding leads to %s", p.at)
	}
	if p := v.post("/console/repair-plans", url.Values{"code": {"role-missing"}}); p.status != http.StatusUnprocessableEntity || len(ticked(p)) != 1 {
		t.Errorf("a plan of nothing: %d %s", p.status, p.text)
	}
	for name, c := range map[string]struct {
		form url.Values
		want []string
	}{
		"ticked":        {url.Values{"finding": missing}, missing},
		"all":           {url.Values{"which": {"all"}}, both},
		"all of a code": {url.Values{"which": {"all"}, "code": {"tenant-disabled"}, "finding": missing}, disabled},
		"all of search": {url.Values{"which": {"all"}, "q": {tenants[1]}, "by": {"project_id"}, "merchant": {"Shop"}, "severity": {"high"}}, missing},
		"nothing fits":  {url.Values{"which": {"all"}, "audit": {w.Other.ID}}, nil},
	} {
		p := v.post("/console/repair-plans", c.form)
		got := ticked(p)
		slices.Sort(got)
		slices.Sort(c.want)
		if p.status != http.StatusOK || !strings.HasPrefix(p.at, "/console/repair-plans/") || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %d %v at %s, want %v", name, p.status, got, p.at, c.want)
		}
		if !strings.Contains(v.get("/console/repair-plans").text, p.at) {
			t.Errorf("%s: the plan is not listed", name)
		}
	}
	if p := v.post("/console/repair-plans", url.Values{"which": {"all"}, "q": {"ada"}}); p.status != http.StatusUnprocessableEntity {
		t.Errorf("a plan of a search by name: %d", p.status)
	}
}

func TestAFindingIsAccepted(t *testing.T) {
	w := newWorld(t)
	tenant := w.damaged(t, 0, 1)[0]
	eve := w.Keystone.AddUser(keystonetest.User{Name: "<b>Eve\u202e</b>\x1b[31m", Password: "pw"})
	w.Keystone.Assign(keystone.Assignment{ProjectID: tenant, UserID: eve, RoleID: roleOf(t, w, "member")})
	v := w.operator(t)
	v.audit()
	path := "/console/findings/" + ticked(v.get("/console/findings?code=role-missing"))[0]
	extra := v.get("/console/findings?code=role-extra-user")
	for _, p := range []page{extra, v.get("/console/findings/" + ticked(extra)[0])} {
		if !strings.Contains(p.text, "&lt;b&gt;Eve\\u202e&lt;/b&gt;") || strings.Contains(p.text, "<b>Eve") || strings.ContainsAny(p.text, "\u202e\x1b") {
			t.Errorf("%s has a text from outside without escapes, or lacks it: %s", p.at, p.text)
		}
	}
	p := v.get(path)
	for _, text := range []string{
		"role-missing", "not assigned", "Plan this repair", "assign-role", "First seen", `href="/console/audits/`, "subscribe", `action="` + path + `/accept"`,
	} {
		if !strings.Contains(p.text, text) {
			t.Errorf("the page lacks %s", text)
		}
	}
	const why = "known <b>to</b> us"
	for name, c := range map[string]struct {
		form   url.Values
		status int
		text   string
	}{
		"no reason":     {url.Values{"why": {" "}, "until": {"2099-01-31"}}, 422, `value="2099-01-31"`},
		"no date":       {url.Values{"why": {"kept text"}, "until": {"tomorrow"}}, 422, `value="kept text"`},
		"a past date":   {url.Values{"why": {"kept text"}, "until": {"2001-01-31"}}, 400, `value="kept text"`},
		"no plain text": {url.Values{"why": {"kept \u202e text\x1b[31m"}}, 400, `kept `},
		"a long reason": {url.Values{"why": {strings.Repeat("long ", 300)}}, 400, "long long"},
	} {
		if p := v.post(path+"/accept", c.form); p.status != c.status || !strings.Contains(p.text, c.text) || !strings.Contains(p.text, `role="alert"`) {
			t.Errorf("%s: %d %s", name, p.status, p.text)
		}
	}
	p = v.post(path+"/accept", url.Values{"why": {why}, "until": {"2099-01-31"}})
	if p.status != http.StatusOK || p.at != path+"?done=accept" || !strings.Contains(p.text, "known &lt;b&gt;to&lt;/b&gt; us") || !strings.Contains(p.text, "olga (user ") {
		t.Errorf("%d at %s: %s", p.status, p.at, p.text)
	}
	if strings.ContainsAny(p.text, "\u202e\x1b") || strings.Contains(p.text, "Plan this repair") {
		t.Error("the page has a text from outside without escapes, or a plan for an accepted finding")
	}
	if p := v.get("/console/findings?code=role-missing"); len(ticked(p)) != 0 || !strings.Contains(p.text, "+ 1 accepted") {
		t.Errorf("the list: %s", p.text)
	}
	p = v.post(path+"/withdraw", nil)
	if p.at != path+"?done=withdraw" || !strings.Contains(p.text, "Plan this repair") {
		t.Errorf("%d at %s: %s", p.status, p.at, p.text)
	}
	if got := ticked(v.get("/console/findings?status=known")); len(got) != 1 {
		t.Errorf("after the withdrawal, %v are known", got)
	}
}

// Entries are approved one by one. The plan shows at any time which are approved, which have a run, and why others were refused.
func TestAPlanIsApprovedAndApplied(t *testing.T) {
	w := newWorld(t)
	tenants := w.damaged(t, 2, 1)
	v := w.operator(t)
	v.audit()
	p := v.post("/console/repair-plans", url.Values{"which": {"all"}})
	path, entries := p.at, ticked(p)
	if len(entries) != 3 || strings.Contains(p.text, " checked>") || strings.Count(p.text, `">not approved</span>`) != 3 {
		t.Fatalf("the new plan: %s", p.text)
	}
	shows := func(p page, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(p.text, text) {
				t.Errorf("%s lacks %s", p.at, text)
			}
		}
	}
	form := func(why string, ticked ...string) url.Values {
		return url.Values{"shown": entries, "finding": ticked, "why": {why}, "from": {"1"}}
	}
	p = v.post(path+"/approve", form("", entries[0], entries[2]))
	shows(p, "The approvals are stored.", `value="`+entries[0]+`" checked`, "approved by <bdi title=\"olga (user ")
	p = v.post(path+"/approve", form("", entries[1], entries[0]))
	shows(p, `value="`+entries[0]+`" checked`, `value="`+entries[1]+`" checked`, `name="finding" value="`+entries[2]+`">`)
	p = v.post(path+"/apply", form(" ", entries[0]))
	if p.status != http.StatusUnprocessableEntity || strings.Count(p.text, " checked>") != 1 {
		t.Errorf("without a reason: %d %s", p.status, p.text)
	}
	if p := v.post(path+"/apply", form("kept text")); p.status != http.StatusUnprocessableEntity || !strings.Contains(p.text, `value="kept text"`) {
		t.Errorf("without an entry: %d %s", p.status, p.text)
	}
	p = v.post(path+"/dry-run", form("kept text", entries...))
	shows(p, "the run would end: succeeded", "enable-project", `value="kept text"`)
	if p.status != http.StatusOK || !strings.Contains(v.get("/console/runs?workflow=repair").text, "No run matches.") {
		t.Errorf("a dry run: %d", p.status)
	}
	if p := v.post(path+"/delete", form("x", entries...)); p.status != http.StatusNotFound {
		t.Errorf("no action: %d", p.status)
	}
	if p := v.post(path+"/apply", form("x", w.User+"-")); p.status != http.StatusBadRequest || !strings.Contains(p.text, `role="alert"`) {
		t.Errorf("an entry that the plan does not have: %d %s", p.status, p.text)
	}

	w.Keystone.EnableProject(tenants[0], true) // somebody else has repaired one of the tenants
	p = v.post(path+"/apply", form("the customer <waits>", entries...))
	shows(p, "were applied", "finding-changed", ">refused</span>", "Who can fix it: ", "<b>2</b> started", "<b>1</b> refused")
	if strings.Count(p.text, `<a href="/console/runs/`) < 2+3 || strings.Count(p.text, " checked>") != 1 {
		t.Errorf("after the plan was applied: %s", p.text)
	}
	eventually(t, "the repairs", func() bool { return strings.Count(v.get(path).text, `state good">succeeded`) == 2 })
	run := between(v.get(path).text, `class="result"`, "</div>")
	for rest := v.get(path).text; !strings.Contains(run, "/console/runs/"); {
		_, rest, _ = strings.Cut(rest, `class="result"`)
		run, _, _ = strings.Cut(rest, "</div>")
	}
	shows(v.get(between(run, `href="`, `"`)), "the customer &lt;waits&gt;", "olga (user ")
	for _, id := range entries {
		p := v.get("/console/findings/" + id)
		want := []string{">succeeded</span>", `<a href="/console/runs/`}
		if slices.Contains(ticked(v.get(path)), id) {
			want = []string{">refused</span>", "finding-changed"}
		}
		repairs := between(p.text, `id="h-repairs"`, "</section>")
		for _, text := range append(want, path) {
			if !strings.Contains(repairs, text) {
				t.Errorf("the repairs of finding %s lack %s: %s", id, text, repairs)
			}
		}
		if !strings.Contains(between(p.text, `id="h-runs"`, "</section>"), "subscribe") {
			t.Error("the page of the finding lacks the run that has made its objects")
		}
	}
	v.audit()
	if p := v.get("/console/findings?status=resolved"); strings.Count(p.text, `state good">resolved`) != 3 || !strings.Contains(p.text, "<option>role-missing</option>") {
		t.Errorf("after the next audit: %s", p.text)
	}
	shows(v.get("/console/repair-plans"), path)
}

// The type `gate` makes the reads of BillingStack wait, or fail.
type gate struct {
	held atomic.Bool   // reads wait for `open`
	open chan struct{} // the gate opens when it is closed
	fail atomic.Bool   // reads are answered with 503
}

// The method `option` puts the gate in front of BillingStack.
func (g *gate) option(o *servicetest.Options) {
	around := o.Around
	o.Around = func(upstream string, next http.RoundTripper) http.RoundTripper {
		next = around(upstream, next)
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if upstream != service.BillingStack || r.Method != http.MethodGet {
				return next.RoundTrip(r)
			}
			if g.held.Load() {
				select {
				case <-g.open:
				case <-r.Context().Done():
				}
			}
			if g.fail.Load() {
				return answer(r, http.StatusServiceUnavailable, "down"), nil
			}
			return next.RoundTrip(r)
		})
	}
}

// An audit in progress shows its progress, and an incomplete audit the parts that it could not assess.
func TestAnAuditShowsItsProgressAndItsGaps(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	g.held.Store(true)
	g.fail.Store(true)
	w := newWorld(t, g.option)
	v := w.operator(t)
	p := v.post("/console/audits", nil)
	second := v.post("/console/audits", url.Values{"project": {"<b>p"}})
	eventually(t, "the audit", func() bool { return strings.Contains(v.get(p.at).text, `state busy">running`) })
	progress(t, w, p.at, "reading <b>x</b>")
	for _, path := range []string{p.at, "/console/audits"} {
		text := v.get(path).text
		if !strings.Contains(text, `hx-trigger="every 2s"`) || !strings.Contains(text, "reading &lt;b&gt;x&lt;/b&gt;") || !strings.Contains(text, `class="busy" width="30"`) {
			t.Errorf("%s: the audit does not show its progress: %s", path, text)
		}
	}
	if text := v.get(second.at).text; !strings.Contains(text, "The audit waits for a replica.") || !strings.Contains(text, "<code>&lt;b&gt;p</code>") {
		t.Errorf("the second audit: %s", text)
	}
	close(g.open)
	eventually(t, "the end of the audit", func() bool { return strings.Contains(v.get(p.at).text, `state wait">incomplete`) })
	text := v.get(p.at).text
	if gaps := between(text, "Not assessed", "</section>"); !strings.Contains(gaps, "billing-unavailable") || strings.Contains(text, "hx-trigger") {
		t.Errorf("the gaps: %s", text)
	}
}

// The function `progress` stores the progress of an audit, as a replica does every ten seconds.
func progress(t *testing.T, w *world, path, phase string) {
	t.Helper()
	audits, id := w.Store.Audits(), strings.TrimPrefix(path, "/console/audits/")
	a, err := audits.Audit(t.Context(), id)
	if err == nil {
		err = audits.Beat(t.Context(), id, a.Replica, time.Now(), audit.Progress{Phase: phase, Done: 3, Total: 10})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A plan with more entries than a page is approved page by page.
func TestALongPlanHasPages(t *testing.T) {
	w := newWorld(t)
	p := audit.Plan{ID: "0199f0a4-6c1e-7d3b-9a55-0c2f6f7c8b1d", Installation: "x", CreatedAt: time.Now(), By: "<b>ann</b>\u202e", LeftOut: 4, Suspect: 5}
	for i := range 65 {
		p.Entries = append(p.Entries, audit.PlanEntry{
			FindingID: fmt.Sprintf("%08d-0000-5000-8000-000000000000", i), Code: audit.TenantDisabled, Severity: audit.High, Detail: "<b>x</b>\x1b",
			Action: []audit.RepairAction{audit.EnableProject, audit.RemoveTenant}[i%2], Values: map[string]string{"tenant": "<i>\u202e"}, RunID: w.User, MerchantID: w.Merchant.ID,
		})
	}
	if err := w.Store.Audits().CreatePlan(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	v := w.operator(t)
	path := "/console/repair-plans/" + p.ID
	for from, want := range map[string][2]int{"": {0, 30}, "1": {0, 30}, "30": {0, 30}, "31": {30, 60}, "61": {60, 65}, "66": {0, 30}, "x": {0, 30}, "-1": {0, 30}} {
		got := v.get(path + "?from=" + from)
		if ids := ticked(got); len(ids) != want[1]-want[0] || ids[0] != p.Entries[want[0]].FindingID {
			t.Errorf("from %q: %d entries, from %s", from, len(ids), ids[0])
		}
		if strings.ContainsAny(got.text, "\u202e\x1b") || strings.Contains(got.text, "<b>x</b>") || strings.Contains(got.text, "<i>") || strings.Contains(got.text, "<b>ann") {
			t.Error("the page has a text from outside without escapes")
		}
		if n := strings.Count(got.text, "accept the finding before"); n == 0 || n > len(ticked(got))/2 {
			t.Errorf("%d entries say that a tenant will be removed", n)
		}
		if !strings.Contains(got.text, "4 more findings") || !strings.Contains(got.text, "5 findings were left out") {
			t.Error("the page does not say what was left out")
		}
	}
	old := p
	old.ID, old.CreatedAt = "0199f0a4-6c1e-7d3b-9a55-0c2f6f7c8b1c", time.Now().Add(-audit.PlanLife-time.Minute)
	if err := w.Store.Audits().CreatePlan(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if p := v.get("/console/repair-plans/" + old.ID); !strings.Contains(p.text, "too old to be applied") || strings.Contains(p.text, "formaction=") || len(ticked(p)) > 0 {
		t.Errorf("an expired plan: %s", p.text)
	}
	// the plan is of another installation
	if p := v.post(path+"/approve", url.Values{"shown": {p.Entries[31].FindingID}, "finding": {p.Entries[31].FindingID}, "from": {"31"}}); p.status != http.StatusConflict ||
		!strings.Contains(p.text, "31 to 60 of 65") || strings.Count(p.text, " checked>") != 1 {
		t.Errorf("a plan of another installation: %d %s", p.status, p.text)
	}
}

// Merchants have no audits: they see neither the pages nor a link to them.
func TestAMerchantDoesNotAudit(t *testing.T) {
	w := newWorld(t)
	portal := w.merchant(t, w.Merchant)
	if p := portal.get("/console/runs"); strings.Contains(p.text, "/console/findings") || strings.Contains(p.text, "/console/audits") {
		t.Error("a merchant sees a link to audits")
	}
	for _, path := range []string{"/findings", "/findings/0199f0a4-6c1e", "/audits", "/audits/" + w.Other.ID, "/repair-plans", "/repair-plans/" + w.Other.ID} {
		if p := portal.get("/console" + path); p.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, p.status)
		}
	}
	for _, path := range []string{"/audits", "/repair-plans", "/findings/0199f0a4-6c1e/accept", "/findings/0199f0a4-6c1e/withdraw", "/repair-plans/" + w.Other.ID + "/apply"} {
		form := url.Values{"why": {"x"}, "which": {"all"}, "finding": {"0199f0a4-6c1e"}, "shown": {"0199f0a4-6c1e"}}
		if p := portal.post("/console"+path, form); p.status != http.StatusForbidden {
			t.Errorf("POST %s: %d", path, p.status)
		}
	}
	v := w.operator(t)
	for path, status := range map[string]int{
		"/findings/nope": 404, "/findings/0199f0a4-6c1e": 404, "/audits/nope": 404, "/audits?marker=nope": 400, "/repair-plans/nope": 404,
		"/repair-plans?marker=nope": 400, "/findings?marker=nope%20": 400,
	} {
		if p := v.get("/console" + path); p.status != status && (status != 404 || p.status != 400) || !strings.Contains(p.text, "<h1>") {
			t.Errorf("%s: %d %s", path, p.status, p.text)
		}
	}
	for _, form := range []url.Values{{"merchant": {"nobody"}}, {"customer": {w.User}}, {"cloud": {"kept text"}}, {"merchant": {"Shop"}, "project": {"p"}}} {
		if p := v.post("/console/audits", form); p.status != http.StatusBadRequest || !strings.Contains(p.text, `role="alert"`) {
			t.Errorf("an audit of %v: %d %s", form, p.status, p.text)
		}
	}
	if p := v.post("/console/audits", url.Values{"merchant": {"Shop"}}); p.status != http.StatusOK || !strings.Contains(p.text, ">Shop</bdi>") {
		t.Errorf("an audit of a merchant: %d %s", p.status, p.text)
	}
}
