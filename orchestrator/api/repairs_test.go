package api_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/tenantry/tenantry/billing"
	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/api"
	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
	"github.com/tenantry/tenantry/store/storetest"
	"github.com/tenantry/tenantry/workflows"
)

const (
	planID = "0199f0a4-6c1e-7d3b-9a55-0c2f6f7c8b1d"
	here   = "11111111-2222-4333-8444-555555555555" // the installation
)

// The type `workshop` is an API for the runs of a world. The test determines the repair plans, and the results of the checks of
// repairs. A repair executes the world's short workflow.
type workshop struct {
	*world
	*shelf
	handler http.Handler
	now     time.Time

	mu       sync.Mutex
	admitted []string         // the findings whose repair was checked
	refuses  map[string]error // the errors that AdmitRepair returns, by finding
	before   func(finding string)
	asked    audit.Filter // the filter of the last plan
}

// auditReader is another name of api.Audits. Under the name Audits, the embedded field would hide the method Audits.
type auditReader = api.Audits

// The type `shelf` contains the plans of the test. The approvals are in the world's database.
type shelf struct {
	auditReader
	plans map[string]audit.Plan
}

// Plan implements [api.Audits].
func (s *shelf) Plan(_ context.Context, id string) (audit.Plan, error) {
	p, ok := s.plans[id]
	if !ok {
		return p, fmt.Errorf("reading plan %s: %w", id, audit.ErrNotFound)
	}
	return p, nil
}

// Finding implements [api.Audits]. The shelf has a finding for each entry of its plan.
func (s *shelf) Finding(_ context.Context, id string) (audit.Finding, error) {
	p := s.plans[planID]
	e, ok := p.Entry(id)
	if !ok {
		return audit.Finding{}, audit.ErrNotFound
	}
	return audit.Finding{ID: e.FindingID, Code: e.Code, Severity: e.Severity, Status: audit.New, MerchantID: e.MerchantID}, nil
}

// planner implements [api.Auditor].
type planner struct {
	api.Auditor
	*workshop
}

// Plan implements [api.Auditor].
func (p planner) Plan(_ context.Context, f audit.Filter, by string) (audit.Plan, error) {
	p.asked = f
	made := p.plans[planID]
	made.By = by
	return made, nil
}

// AdmitRepair implements [api.Repairs].
func (s *workshop) AdmitRepair(ctx context.Context, plan string, e audit.PlanEntry) (saga.Request, error) {
	if _, bounded := ctx.Deadline(); !bounded || plan != planID {
		return saga.Request{}, errors.New("the context has no deadline, or the plan is not planID")
	}
	if s.before != nil {
		s.before(e.FindingID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admitted = append(s.admitted, e.FindingID)
	if err := s.refuses[e.FindingID]; err != nil {
		return saga.Request{}, err
	}
	o := order{Asked: workflows.Asked{MerchantID: e.MerchantID, CustomerID: newID(), PlanID: s.Merchant.Plan}}
	return o.Request(newID(), saga.FailureCompensates), nil
}

// newWorkshop returns a workshop with a plan of n entries. The entries belong alternately to the first and to the second merchant
// of the world.
func newWorkshop(t *testing.T, n int) *workshop {
	t.Helper()
	w := newWorld(t)
	now := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	plan := audit.Plan{ID: planID, Installation: here, CreatedAt: now, By: "ann", LeftOut: 3, Suspect: 4}
	for i := range n {
		merchant := []string{w.Merchant.ID, w.Other.ID}[i%2]
		plan.Entries = append(plan.Entries, audit.PlanEntry{
			FindingID: findingID(i), Code: audit.RoleMissing, Severity: audit.High, Detail: "the \"role\" \u2028 is missing", MerchantID: merchant,
			Cloud: "default", ProjectID: "p", UserID: "u", RunID: nobody, Objects: []audit.Object{{Kind: "project", ID: "p", Name: "n"}, {Kind: "user", ID: "u"}},
			Action: audit.AssignRole, Values: map[string]string{"project_id": "p", "user_id": "u", "role_id": "r"},
		})
	}
	s := &workshop{world: w, shelf: &shelf{auditReader: w.Store.Audits(), plans: map[string]audit.Plan{planID: plan}}, now: now, refuses: map[string]error{}}
	runs := w.Service.Runs
	handler, err := api.New(api.Options{
		Runs: runs, Starter: runs, Actions: runs, Repairs: s, Merchants: w.Store.Merchants(), Audits: s.shelf, Auditor: planner{workshop: s},
		Installation: here, Now: func() time.Time { return s.now }, Random: rand.Reader, MaxLiveRuns: 1,
		Log: zerolog.New(w.Log), Ready: func(context.Context) []api.Dependency { return nil },
	})
	must(t, err)
	s.handler = handler
	return s
}

// The method `send` sends a request as a local operator.
func (s *workshop) send(method, path, body string) answer {
	s.t.Helper()
	return s.through(api.LocalTransport(s.handler, "ann"), request{method: method, path: path, body: body})
}

// The method `applied` carries out entries, and returns the answers by finding. It checks that the answers are sorted like the findings in
// the request.
func (s *workshop) applied(status int, more string, findings ...string) map[string]api.RepairResult {
	s.t.Helper()
	var entries []string
	for _, f := range findings {
		entries = append(entries, fmt.Sprintf(`{"finding_id": %q}`, f))
	}
	got := s.send("POST", "/v1/repairs", fmt.Sprintf(`{"plan_id": %q, "entries": [%s]%s}`, planID, strings.Join(entries, ", "), more))
	if got.status != status {
		s.t.Fatalf("got %d %s, want %d", got.status, got.body, status)
	}
	all, order := map[string]api.RepairResult{}, []string{}
	for _, r := range read[api.RepairAnswer](s.t, got).Repairs {
		all[r.FindingID], order = r, append(order, r.FindingID)
	}
	if !slices.Equal(order, findings) {
		s.t.Errorf("got the entries %v, want %v", order, findings)
	}
	return all
}

func refusedAs(r api.RepairResult) string {
	if r.Refused == nil || r.RunID != nil || r.RunState != nil || r.DryRun != nil || len(r.Links) > 0 {
		return fmt.Sprintf("not refused: %+v", r)
	}
	return r.Refused.Code + ", " + string(r.Refused.FixBy) + ": " + r.Refused.Detail
}

func TestAPlanOfRepairs(t *testing.T) {
	s := newWorkshop(t, 2)
	made := s.send("POST", "/v1/repair-plans", `{"severity": "high", "code": ["role-missing", "tag-missing"], "merchant_id": "`+nobody+
		`", "customer_id": "`+here+`", "cloud": "default", "project_id": "p", "user_id": "u", "subscription_id": "`+nobody+`",
		"audit_id": "`+here+`", "finding_id": ["`+findingID(1)+`"]}`)
	if made.status != http.StatusCreated || made.header.Get("Location") != "/v1/repair-plans/"+planID {
		t.Fatalf("got %d %s, %v", made.status, made.body, made.header)
	}
	want := audit.Filter{
		Severity: audit.High, Codes: []audit.Code{audit.RoleMissing, audit.TagMissing}, MerchantID: nobody, CustomerID: here, Cloud: "default",
		ProjectID: "p", UserID: "u", SubscriptionID: nobody, AuditID: here, IDs: []string{findingID(1)},
	}
	if !reflect.DeepEqual(s.asked, want) {
		t.Errorf("the plan was made with %+v, want %+v", s.asked, want)
	}
	shown := s.send("GET", "/v1/repair-plans/"+planID, "")
	p, kept := read[api.RepairPlan](t, made), read[api.RepairPlan](t, shown)
	if p.By != "local:ann" || kept.By != "ann" {
		t.Errorf("made by %q, kept by %q", p.By, kept.By)
	}
	p.By = kept.By
	if !reflect.DeepEqual(p, kept) || shown.status != http.StatusOK {
		t.Errorf("kept: got %d %s, want %s", shown.status, shown.body, made.body)
	}
	entry := api.RepairPlanEntry{
		FindingID: findingID(1), Code: "role-missing", Severity: "high", Detail: "the \"role\" \u2028 is missing", MerchantID: s.Other.ID,
		Cloud: new("default"), ProjectID: new("p"), UserID: new("u"), RunID: nobody,
		Objects: []api.FindingObject{{Kind: "project", ID: "p", Name: new("n")}, {Kind: "user", ID: "u"}},
		Action:  "assign-role", Values: map[string]string{"project_id": "p", "user_id": "u", "role_id": "r"},
	}
	if p.ID != planID || p.Installation != here || !p.CreatedAt.Equal(s.now) || !p.ExpiresAt.Equal(s.now.Add(7*24*time.Hour)) ||
		p.LeftOut != 3 || p.Suspect != 4 || len(p.Entries) != 2 || !reflect.DeepEqual(p.Entries[1], entry) || p.Links[0].Href != "/v1/repair-plans/"+planID {
		t.Errorf("got %s", made.body)
	}
	for body, pointer := range map[string]string{
		`{"severity": "bad"}`: "/severity", `{"code": []}`: "/code", `{"code": "role-missing"}`: "/code", `{"code": ["A"]}`: "/code/0",
		`{"merchant_id": "x"}`: "/merchant_id", `{"customer_id": null}`: "/customer_id", `{"cloud": "a b"}`: "/cloud",
		`{"project_id": "a/b"}`: "/project_id", `{"status": ["new"]}`: "/status",
	} {
		got := s.send("POST", "/v1/repair-plans", body)
		p := read[api.Problem](t, got)
		if got.status != http.StatusBadRequest || p.InvalidParams == nil || text((*p.InvalidParams)[0].Pointer) != pointer {
			t.Errorf("%s: got %d %s", body, got.status, got.body)
		}
	}
	for _, id := range []string{nobody, "x", "%00"} {
		if got := s.send("GET", "/v1/repair-plans/"+id, ""); got.status != 404 || read[api.Problem](t, got).Type != "/problems/plan-not-found" {
			t.Errorf("plan %s: got %d %s", id, got.status, got.body)
		}
	}
}

// A plan shows which entries are approved, by whom, which have a run, and why others were refused.
func TestAPlanShowsWhatHasBecomeOfItsEntries(t *testing.T) {
	s := newWorkshop(t, 4)
	approve := func(status int, entries string) api.RepairPlan {
		t.Helper()
		got := s.send("PUT", "/v1/repair-plans/"+planID+"/approvals", `{"entries": [`+entries+`]}`)
		if got.status != status {
			t.Fatalf("got %d %s, want %d", got.status, got.body, status)
		}
		return read[api.RepairPlan](t, got)
	}
	entry := func(i int, approved bool) string {
		return fmt.Sprintf(`{"finding_id": %q, "approved": %t}`, findingID(i), approved)
	}
	shown := func() (all []string) {
		t.Helper()
		for _, e := range read[api.RepairPlan](t, s.send("GET", "/v1/repair-plans/"+planID, "")).Entries {
			one := "open"
			if e.Approval != nil {
				one = "approved by " + e.Approval.Who
			}
			if e.RepairRunID != nil && e.RepairRunState != nil {
				one += ", started"
			}
			if e.Refused != nil && e.RefusedAt.Equal(s.now) {
				one += ", refused: " + e.Refused.Code + " " + e.Refused.Detail + " " + string(e.Refused.FixBy)
			}
			all = append(all, one)
		}
		return all
	}
	check := func(want ...string) {
		t.Helper()
		if got := shown(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check("open", "open", "open", "open")
	if p := approve(http.StatusOK, entry(0, true)+", "+entry(1, true)+", "+entry(2, false)); p.Entries[0].Approval == nil || !p.Entries[0].Approval.At.Equal(s.now) {
		t.Errorf("the answer lacks the approval: %+v", p.Entries[0])
	}
	check("approved by local:ann", "approved by local:ann", "open", "open")
	first := s.now
	s.now = s.now.Add(time.Minute)
	if p := approve(http.StatusOK, entry(0, true)+", "+entry(1, false)+", "+entry(2, true)); !p.Entries[0].Approval.At.Equal(first) ||
		!p.Entries[2].Approval.At.Equal(s.now) {
		t.Errorf("approved at %s and %s, want %s and %s", p.Entries[0].Approval.At, p.Entries[2].Approval.At, first, s.now)
	}
	check("approved by local:ann", "open", "approved by local:ann", "open")
	if n := s.runs(); n != 0 || len(s.admitted) > 0 {
		t.Errorf("an approval has started %d runs, and has checked %v", n, s.admitted)
	}
	s.refuses[findingID(2)] = &workflows.AdmissionError{Code: "value-changed", Detail: "another role", FixBy: saga.FixByOperator}
	s.applied(http.StatusOK, `, "dry_run": true`, findingID(2), findingID(3))
	check("approved by local:ann", "open", "approved by local:ann", "open")
	s.applied(http.StatusAccepted, "", findingID(2), findingID(3))
	check("approved by local:ann", "open", "approved by local:ann, refused: value-changed another role operator", "approved by local:ann, started")
	repairs := func(i int) api.FindingRepair {
		t.Helper()
		f := read[api.Finding](t, s.send("GET", "/v1/findings/"+findingID(i), ""))
		if f.Repairs == nil || len(*f.Repairs) != 1 || (*f.Repairs)[0].PlanID != planID || (*f.Repairs)[0].Approval.Who != "local:ann" {
			t.Fatalf("the repairs of finding %d: got %+v", i, f.Repairs)
		}
		return (*f.Repairs)[0]
	}
	if r := repairs(2); r.Refused == nil || r.Refused.Code != "value-changed" || r.RefusedAt == nil || r.RunID != nil {
		t.Errorf("got %+v, want a refusal", r)
	}
	s.refuses = map[string]error{}
	s.applied(http.StatusAccepted, "", findingID(2))
	for _, i := range []int{2, 3} {
		if r := repairs(i); r.Refused != nil || r.RunID == nil || r.RunState == nil {
			t.Errorf("got %+v, want a run", r)
		}
	}
	check("approved by local:ann", "open", "approved by local:ann, started", "approved by local:ann, started")
	approve(http.StatusOK, entry(3, false))
	check("approved by local:ann", "open", "approved by local:ann, started", "approved by local:ann, started") // an approval with a run stays

	approve(http.StatusBadRequest, "")
	approve(http.StatusBadRequest, entry(0, true)+", "+entry(0, false))
	approve(http.StatusBadRequest, entry(0, false)+", "+entry(9, true))
	approve(http.StatusBadRequest, `{"finding_id": "`+findingID(0)+`"}`)
	approve(http.StatusBadRequest, strings.Repeat(entry(0, true)+", ", 30)+entry(1, true))
	check("approved by local:ann", "open", "approved by local:ann, started", "approved by local:ann, started")
	s.now = s.now.Add(audit.PlanLife + time.Microsecond)
	approve(http.StatusConflict, entry(0, false))
	if got := s.send("PUT", "/v1/repair-plans/"+nobody+"/approvals", `{"entries": [`+entry(0, true)+`]}`); got.status != http.StatusNotFound {
		t.Errorf("an unknown plan: got %d %s", got.status, got.body)
	}
}

func TestPlansAreListed(t *testing.T) { onBoth(t, plansAreListed) }

func plansAreListed(t *testing.T, database string) {
	w := newWorldOf(t, database)
	store := w.Store.Audits()
	now := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	var want []string
	for i := range 5 {
		p := audit.Plan{ID: fmt.Sprintf("0199f0a4-6c1e-7d3b-9a55-00000000000%d", i), Installation: here, CreatedAt: now, By: "ann", LeftOut: i, Suspect: 2 * i}
		for n := range i {
			p.Entries = append(p.Entries, audit.PlanEntry{FindingID: findingID(n), Detail: `"finding_id":`})
		}
		must(t, store.CreatePlan(t.Context(), p))
		want = append([]string{p.ID}, want...)
	}
	must(t, store.Approve(t.Context(), []audit.Approval{{PlanID: want[0], FindingID: findingID(1), At: now}, {PlanID: want[0], FindingID: findingID(3), At: now}}))
	for _, limit := range []string{"1", "2", "5", "200"} {
		var got []string
		for q := w.admin("GET", "/v1/repair-plans?limit="+limit, ""); q.path != ""; {
			page := read[api.RepairPlanList](t, w.call(q))
			for _, p := range page.Plans {
				got = append(got, p.ID)
			}
			q.path = nextOf(page.Links)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the list with limit %s: got %v, want %v", limit, got, want)
		}
	}
	got := read[api.RepairPlanList](t, w.call(w.admin("GET", "/v1/repair-plans?limit=1", ""))).Plans[0]
	wanted := api.RepairPlanSummary{
		ID: want[0], Installation: here, CreatedAt: now, ExpiresAt: now.Add(audit.PlanLife), By: "ann", Size: 4, Approved: 2, LeftOut: 4, Suspect: 8,
		Links: api.Links{{Rel: "self", Href: "/v1/repair-plans/" + want[0]}},
	}
	if !reflect.DeepEqual(got, wanted) {
		t.Errorf("got %+v, want %+v", got, wanted)
	}
	for _, q := range []request{{path: "/v1/repair-plans", portal: w.Merchant}, {path: "/v1/finding-counts", portal: w.Merchant}} {
		w.refused(q, http.StatusForbidden, "forbidden")
	}
}

// If a plan cannot be applied, or if an entry of a request is wrong, nothing is started.
func TestRefusedRepairs(t *testing.T) {
	s := newWorkshop(t, 3)
	entry := func(i int) string { return fmt.Sprintf(`{"finding_id": %q}`, findingID(i)) }
	ask := func(plan string, entries ...string) string {
		return fmt.Sprintf(`{"plan_id": %q, "entries": [%s]}`, plan, strings.Join(entries, ", "))
	}
	foreign, old := s.plans[planID], s.plans[planID]
	foreign.Installation, old.CreatedAt = nobody, s.now.Add(-audit.PlanLife-time.Microsecond)
	s.plans[here], s.plans[s.Merchant.ID] = foreign, old
	long := slices.Repeat([]string{entry(0)}, 31)
	for name, c := range map[string]struct {
		body    string
		status  int
		problem string
		pointer string
	}{
		"an unknown plan":               {ask(nobody, entry(0)), 404, "plan-not-found", ""},
		"a plan of somebody else":       {ask(here, entry(0)), 409, "plan-of-other-installation", ""},
		"an old plan":                   {ask(s.Merchant.ID, entry(0)), 409, "plan-expired", ""},
		"an old plan, and a wrong id":   {ask(s.Merchant.ID, entry(7)), 409, "plan-expired", ""},
		"a plan that has no uuid":       {ask("x", entry(0)), 400, "invalid-params", "/plan_id"},
		"no plan":                       {`{"entries": [` + entry(0) + `]}`, 400, "invalid-params", "/plan_id"},
		"a finding that is not planned": {ask(planID, entry(0), entry(7)), 400, "invalid-params", "/entries/1/finding_id"},
		"a finding that occurs twice":   {ask(planID, entry(0), entry(1), entry(0)), 400, "invalid-params", "/entries/2/finding_id"},
		"a malformed finding":           {ask(planID, `{"finding_id": ".."}`), 400, "invalid-params", "/entries/0/finding_id"},
		"no entries":                    {ask(planID), 400, "invalid-params", "/entries"},
		"too many entries":              {ask(planID, long...), 400, "invalid-params", "/entries"},
		"a comment that is too long":    {ask(planID, strings.Replace(entry(0), "}", `, "comment": "`+strings.Repeat("x", 1001)+`"}`, 1)), 400, "invalid-params", "/entries/0/comment"},
		"a comment of two lines":        {ask(planID, strings.Replace(entry(0), "}", `, "comment": "a\nb"}`, 1)), 400, "invalid-params", "/entries/0/comment"},
		"an unknown field":              {ask(planID, strings.Replace(entry(0), "}", `, "approve": true}`, 1)), 400, "invalid-params", "/entries/0/approve"},
		"a dry run that is a word":      {strings.Replace(ask(planID, entry(0)), "{", `{"dry_run": "true", `, 1), 400, "invalid-params", "/dry_run"},
	} {
		for _, body := range []string{c.body, strings.Replace(c.body, "{", `{"dry_run": true, `, 1)} {
			if strings.Count(body, "dry_run") > 1 {
				continue
			}
			got := s.send("POST", "/v1/repairs", body)
			p := read[api.Problem](t, got)
			if got.status != c.status || p.Type != "/problems/"+c.problem || c.pointer != "" && text((*p.InvalidParams)[0].Pointer) != c.pointer {
				t.Errorf("%s: got %d %s, want %d %s at %s", name, got.status, got.body, c.status, c.problem, c.pointer)
			}
		}
	}
	if n := s.runs(); n != 0 || len(s.admitted) > 0 {
		t.Errorf("%d runs were started, and %v were checked", n, s.admitted)
	}
	s.now = s.now.Add(audit.PlanLife) // the last moment at which the plan can be applied
	s.applied(http.StatusAccepted, "", findingID(0))
}

func TestTheExamplesOfRepairs(t *testing.T) {
	s := newWorkshop(t, 2)
	asked := map[string]audit.Filter{
		"all": {}, "severe": {Severity: audit.High, MerchantID: "f47f51dd-e7db-47e2-bdb1-83935a50cf87"}, "roles": {Codes: []audit.Code{audit.RoleMissing}},
	}
	for name, example := range s.document.bodies(t, "createRepairPlan") {
		body, err := json.Marshal(example)
		must(t, err)
		got := s.send("POST", "/v1/repair-plans", string(body))
		if want, ok := asked[name]; !ok || got.status != http.StatusCreated || !reflect.DeepEqual(s.asked, want) {
			t.Errorf("%s: got %d %s, asked for %+v", name, got.status, got.body, s.asked)
		}
	}
	body, err := json.Marshal(s.document.bodies(t, "applyRepairs")["example"])
	must(t, err)
	var example api.RepairRequest
	must(t, json.Unmarshal(body, &example))
	for i, e := range example.Entries {
		s.plans[planID].Entries[i].FindingID = e.FindingID
	}
	approvals, err := json.Marshal(s.document.bodies(t, "approveRepairs")["example"])
	must(t, err)
	got := s.send("PUT", "/v1/repair-plans/"+planID+"/approvals", string(approvals))
	if p := read[api.RepairPlan](t, got); got.status != http.StatusOK || p.Entries[0].Approval == nil || p.Entries[1].Approval != nil {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := s.send("POST", "/v1/repairs", string(body)); got.status != http.StatusAccepted || s.runs() != 2 {
		t.Errorf("got %d %s, and %d runs", got.status, got.body, s.runs())
	}
}

// The largest request for repairs that the document allows passes the checks of the body's size.
func TestTheLargestRequestForRepairs(t *testing.T) {
	s := newWorkshop(t, 30)
	var entries []string
	for i := range 30 {
		entries = append(entries, fmt.Sprintf(`{"finding_id": %q, "comment": %q}`, findingID(i), strings.Repeat("x", 1000)))
	}
	got := s.send("POST", "/v1/repairs", fmt.Sprintf(`{"plan_id": %q, "dry_run": false, "entries": [%s]}`, planID, strings.Join(entries, ", ")))
	if got.status != http.StatusAccepted || len(read[api.RepairAnswer](t, got).Repairs) != 30 || s.runs() != 30 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// Each approved entry becomes a run, even above the merchant's limit of live runs. The answer to a second request contains the same runs,
// and nothing is checked again.
func TestRepairsAreStartedOnce(t *testing.T) {
	s := newWorkshop(t, 4)
	s.steps.close() // so that the runs stay live
	s.refuses[findingID(1)] = &workflows.AdmissionError{Code: "finding-closed", Detail: "the finding is resolved", FixBy: saga.FixByNobody}
	got := s.send("POST", "/v1/repairs", fmt.Sprintf(`{"plan_id": %q, "entries": [{"finding_id": %q, "comment": "agreed \u2028 with Ann"}, {"finding_id": %q},
		{"finding_id": %q, "comment": "  "}]}`, planID, findingID(2), findingID(1), findingID(0)))
	if got.status != http.StatusAccepted {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	first := read[api.RepairAnswer](t, got)
	if first.PlanID != planID || len(first.Repairs) != 3 || first.Repairs[0].FindingID != findingID(2) {
		t.Fatalf("got %s", got.body)
	}
	if got, want := refusedAs(first.Repairs[1]), "finding-closed, nobody: the finding is resolved"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i, want := range map[int]struct{ merchant, why string }{0: {s.Merchant.ID, "agreed"}, 2: {s.Merchant.ID, "plan " + planID}} {
		r := first.Repairs[i]
		if r.RunID == nil || r.RunState == nil || r.Refused != nil || r.DryRun != nil || len(r.Links) != 1 || r.Links[0] != (api.Link{Rel: "run", Href: "/v1/runs/" + *r.RunID}) {
			t.Fatalf("got %+v", r)
		}
		run, err := s.Store.Run(t.Context(), *r.RunID)
		must(t, err)
		events, err := s.Store.Events(t.Context(), *r.RunID, 0, 1)
		must(t, err)
		key := workflows.RepairKey(planID, r.FindingID)
		if run.Merchant != want.merchant || run.Key != key || run.Fingerprint != key || events[0].Who != "local:ann" || !strings.HasPrefix(events[0].Why, want.why) {
			t.Errorf("got %+v, %+v", run, events[0])
		}
	}
	s.admitted = nil
	again := s.applied(http.StatusAccepted, "", findingID(0), findingID(2))
	if len(s.admitted) > 0 || text(again[findingID(0)].RunID) != *first.Repairs[2].RunID || text(again[findingID(2)].RunID) != *first.Repairs[0].RunID {
		t.Errorf("again: got %+v after checks of %v, want %+v", again, s.admitted, first)
	}
	all := s.applied(http.StatusAccepted, "", findingID(3), findingID(2))
	if !slices.Equal(s.admitted, []string{findingID(3)}) || all[findingID(3)].RunID == nil || s.runs() != 3 {
		t.Errorf("one more: got %+v after checks of %v, and %d runs", all, s.admitted, s.runs())
	}
}

// After the run of an entry was compensated, a further request does not start another run.
func TestARepairThatHasFailedIsNotStartedAgain(t *testing.T) {
	s := newWorkshop(t, 1)
	s.steps.fail(errRefused)
	first := s.applied(http.StatusAccepted, "", findingID(0))[findingID(0)]
	s.await(first.Links[0].Href, api.RunStateCompensated)
	again := s.applied(http.StatusAccepted, "", findingID(0))[findingID(0)]
	if text(again.RunID) != *first.RunID || again.RunState == nil || *again.RunState != api.RunStateCompensated || again.Refused != nil {
		t.Errorf("got %+v, want the run of %+v", again, first)
	}
}

// While an upstream is down, a request is answered if at least one of its entries has a run. If no entry has a run, the answer is 503.
func TestRepairsWhileAnUpstreamIsDown(t *testing.T) {
	s := newWorkshop(t, 5)
	down := &upstream.Error{Service: keystone.Service, Status: 502, Class: upstream.Transient, Err: errors.New("the canary of Keystone")}
	closed := &workflows.AdmissionError{Code: "finding-closed", Detail: "the finding is resolved", FixBy: saga.FixByNobody}
	s.refuses[findingID(0)], s.refuses[findingID(1)], s.refuses[findingID(4)] = closed, fmt.Errorf("reading the project: %w", down), down

	got := s.send("POST", "/v1/repairs", fmt.Sprintf(`{"plan_id": %q, "entries": [{"finding_id": %q}, {"finding_id": %q}, {"finding_id": %q}]}`,
		planID, findingID(0), findingID(1), findingID(4)))
	if p := read[api.Problem](t, got); got.status != 503 || p.Type != "/problems/upstream-unavailable" || got.header.Get("Retry-After") == "" ||
		text(p.Detail) != "Keystone answered 502 Bad Gateway" {
		t.Errorf("no entry has a run: got %d %s", got.status, got.body)
	}
	if !slices.Equal(s.admitted, []string{findingID(0), findingID(1)}) || s.runs() != 0 {
		t.Errorf("checked %v, and %d runs", s.admitted, s.runs())
	}

	entry := s.plans[planID].Entries
	entry[3].Cloud = "elsewhere"
	s.applied(http.StatusAccepted, "", findingID(2))
	s.admitted = nil
	all := s.applied(http.StatusAccepted, "", findingID(0), findingID(1), findingID(2), findingID(3), findingID(4))
	unavailable := "upstream-unavailable, administrator: Keystone answered 502 Bad Gateway"
	if refusedAs(all[findingID(1)]) != unavailable || refusedAs(all[findingID(4)]) != unavailable ||
		refusedAs(all[findingID(0)]) != "finding-closed, nobody: the finding is resolved" || all[findingID(2)].RunID == nil || all[findingID(3)].RunID == nil {
		t.Errorf("got %+v", all)
	}
	if want := []string{findingID(0), findingID(1), findingID(3)}; !slices.Equal(s.admitted, want) {
		t.Errorf("checked %v, want %v: only entries of the cloud that is down must be left out", s.admitted, want)
	}
	if log := s.Log.String(); strings.Count(log, "canary of Keystone") < 2 || strings.Contains(got.body, "canary") {
		t.Errorf("the fault is not in the log: %s", log)
	}

	clear(s.refuses)
	all = s.applied(http.StatusAccepted, "", findingID(1), findingID(4))
	if all[findingID(1)].RunID == nil || all[findingID(4)].RunID == nil || s.runs() != 4 {
		t.Errorf("when the upstream is up again: got %+v, %d runs", all, s.runs())
	}
}

// Two concurrent requests for the same entry start one run.
func TestConcurrentRepairs(t *testing.T) {
	s := newWorkshop(t, 1)
	var both sync.WaitGroup
	both.Add(2)
	s.before = func(string) { both.Done(); both.Wait() } // wait until both requests have seen that there is no run
	ids := make(chan string, 2)
	for range 2 {
		go func() { ids <- text(s.applied(http.StatusAccepted, "", findingID(0))[findingID(0)].RunID) }()
	}
	if a, b := <-ids, <-ids; a != b || a == "" || s.runs() != 1 {
		t.Errorf("got the runs %q and %q, and there are %d runs", a, b, s.runs())
	}
}

// A portal cannot send the idempotency key of an entry. Otherwise, Tenantry would take a run of the portal for the entry's run.
func TestAPortalCannotSendTheKeyOfARepair(t *testing.T) {
	s := newWorkshop(t, 1)
	for _, key := range []string{workflows.RepairKey(planID, findingID(0)), `"` + workflows.RepairKey(planID, findingID(0)) + `"`} {
		s.refused(s.order(key), http.StatusBadRequest, "idempotency-key-invalid")
	}
}

// A dry run says what the run of each entry would do. The keys of the entries are neither looked up nor used.
func TestDryRunsOfRepairs(t *testing.T) {
	s := newWorkshop(t, 3)
	before := s.applied(http.StatusAccepted, "", findingID(0))[findingID(0)]
	s.await(before.Links[0].Href, api.RunStateSucceeded)
	s.refuses[findingID(1)] = &workflows.AdmissionError{Code: "finding-closed", Detail: "the finding is resolved", FixBy: saga.FixByNobody}
	rows := storetest.Rows(t, s.database)
	all := s.applied(http.StatusOK, `, "dry_run": true`, findingID(2), findingID(1), findingID(0))
	for _, i := range []int{0, 2} {
		r := all[findingID(i)]
		if r.DryRun == nil || r.RunID != nil || r.Refused != nil || r.DryRun.State != api.DryRunStateSucceeded || len(r.DryRun.Steps) != 3 || len(r.Links) > 0 {
			t.Errorf("got %+v", r)
		}
	}
	if got := refusedAs(all[findingID(1)]); !strings.HasPrefix(got, "finding-closed, ") {
		t.Errorf("got %s", got)
	}
	if after := storetest.Rows(t, s.database); !maps.Equal(after, rows) {
		t.Errorf("the dry run has written rows: got %v, before %v", after, rows)
	}
	s.refuses[findingID(2)] = &upstream.Error{Service: billing.Service, Class: upstream.Transient, Err: errors.New("down")}
	got := s.send("POST", "/v1/repairs", fmt.Sprintf(`{"plan_id": %q, "dry_run": true, "entries": [{"finding_id": %q}]}`, planID, findingID(2)))
	if got.status != http.StatusServiceUnavailable {
		t.Errorf("while BillingStack is down: got %d %s", got.status, got.body)
	}
}
