package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/audit"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

func (f auditFixture) createPlan(t *testing.T, p audit.Plan) {
	t.Helper()
	if err := f.audits.CreatePlan(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func (f auditFixture) plan(t *testing.T, id string) audit.Plan {
	t.Helper()
	p, err := f.audits.Plan(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The function `planned` returns a plan with two entries. All fields of the plan and of its first entry are set.
func planned(t *testing.T) audit.Plan {
	t.Helper()
	p := audit.Plan{
		ID: "plan", Installation: "i", CreatedAt: epoch, By: "Jürgen", LeftOut: 3, Suspect: 4,
		Entries: []audit.PlanEntry{
			{
				FindingID: "f1", Code: "role-missing", Severity: audit.High, Detail: "Ülkü's role is missing: \"member\" <&> 日本 🙂", Cloud: "default",
				MerchantID: "m", CustomerID: "c", SubscriptionID: "s", ProjectID: "p", UserID: "u", RunID: "r",
				Objects: []audit.Object{{Kind: "project", ID: "p", Name: "ü"}, {Kind: "user", ID: "u"}}, Action: audit.AssignRole,
				Values: map[string]string{"role": "member", "wäs": "", "was": "ü"},
			},
			{FindingID: "f0", Code: "left", Severity: audit.Low, MerchantID: "m", RunID: "r2", Action: audit.RemoveTenant},
		},
	}
	filled(t, p)
	filled(t, p.Entries[0])
	return p
}

func planEveryField(t *testing.T, s auditFixture) {
	want := planned(t)
	given := want
	given.CreatedAt = epoch.Add(1500 * time.Nanosecond).In(time.FixedZone("", 3600))
	want.CreatedAt = epoch.Add(time.Microsecond)
	s.createPlan(t, given)
	s.createPlan(t, audit.Plan{ID: "plans", CreatedAt: epoch})
	if got := s.plan(t, "plan"); !reflect.DeepEqual(got, want) {
		t.Errorf("the plan:\n got %s\nwant %s", encoded(t, got), encoded(t, want))
	}
	if got, want := s.plan(t, "plans"), (audit.Plan{ID: "plans", CreatedAt: epoch}); !reflect.DeepEqual(got, want) {
		t.Errorf("the plan without entries:\n got %s\nwant %s", encoded(t, got), encoded(t, want))
	}
}

// planTexts uses texts that are too long or that contain invalid characters. The store must change these texts before it
// stores them.
func planTexts(t *testing.T, s auditFixture) {
	for what, bad := range map[string]string{"NUL": "a\x00b", "not UTF-8": "a\xffc", "10 KiB": "a" + strings.Repeat("ü", 5<<10)} {
		t.Run(what, func(t *testing.T) {
			id := what + bad
			e := audit.PlanEntry{
				FindingID: bad, Code: audit.Code(bad), Severity: audit.Severity(bad), Detail: bad, Cloud: bad, MerchantID: bad, CustomerID: bad,
				SubscriptionID: bad, ProjectID: bad, UserID: bad, RunID: bad, Objects: []audit.Object{{Kind: bad, ID: bad, Name: bad}},
				Action: audit.RepairAction(bad), Values: map[string]string{"v": bad},
			}
			filled(t, e)
			s.createPlan(t, audit.Plan{ID: id, Installation: bad, CreatedAt: epoch, By: bad, Entries: []audit.PlanEntry{e}})
			p := s.plan(t, id)
			if again := s.plan(t, p.ID); !reflect.DeepEqual(again, p) {
				t.Errorf("read by its stored id, the plan is %.200s; want %.200s", encoded(t, again), encoded(t, p))
			}
			e = p.Entries[0]
			for _, text := range []string{
				p.Installation, p.By, e.FindingID, string(e.Code), string(e.Severity), e.Detail, e.Cloud, e.MerchantID, e.CustomerID,
				e.SubscriptionID, e.ProjectID, e.UserID, e.RunID, e.Objects[0].Kind, e.Objects[0].ID, e.Objects[0].Name, string(e.Action),
				e.Values["v"],
			} {
				if !strings.HasPrefix(text, "a") || len(text) < 3 || len(text) > 1<<10 || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
					t.Errorf("stored %d bytes: %.20q; want a valid text of at most 1 KiB that begins with \"a\"", len(text), text)
				}
			}
		})
	}
}

func planSizes(t *testing.T, s auditFixture) {
	p := audit.Plan{ID: "full", CreatedAt: epoch}
	for i := range audit.MaxPlanEntries {
		p.Entries = append(p.Entries, audit.PlanEntry{
			FindingID: fmt.Sprint("f", (i*7)%audit.MaxPlanEntries), Detail: strings.Repeat("ü", 200), // the ids are not sorted
			Objects: []audit.Object{{Kind: "project", ID: fmt.Sprint(i)}}, Values: map[string]string{"n": fmt.Sprint(i)},
		})
	}
	s.createPlan(t, p)
	if got := s.plan(t, "full"); !reflect.DeepEqual(got, p) {
		t.Errorf("stored a plan with %d entries, but read a plan with %d entries, or with other entries", len(p.Entries), len(got.Entries))
	}
	p.ID, p.Entries = "overfull", append(p.Entries, audit.PlanEntry{FindingID: "one more"})
	if err := s.audits.CreatePlan(t.Context(), p); err == nil || !strings.Contains(err.Error(), fmt.Sprint(audit.MaxPlanEntries)) {
		t.Errorf("a plan with %d entries: got the error %v, want an error that names the maximum", len(p.Entries), err)
	}
	_, err := s.audits.Plan(t.Context(), "overfull")
	refused(t, "reading the refused plan", err, audit.ErrNotFound)
}

func planTwice(t *testing.T, s auditFixture) {
	p := planned(t)
	s.createPlan(t, p)
	for what, again := range map[string]audit.Plan{"the same plan": p, "another plan": {ID: p.ID, CreatedAt: epoch, By: "somebody"}} {
		if err := s.audits.CreatePlan(t.Context(), again); err == nil {
			t.Errorf("%s with the same id: got no error", what)
		}
	}
	if got := s.plan(t, p.ID); !reflect.DeepEqual(got, p) {
		t.Errorf("the plan after two refused plans:\n got %s\nwant %s", encoded(t, got), encoded(t, p))
	}
}

func planGiven(t *testing.T, s auditFixture) {
	p := planned(t)
	e := &p.Entries[0]
	e.Detail, e.Objects[0].Name, e.Values["role"] = "a\x00", "b\x00", "c\x00"
	s.createPlan(t, p)
	if e.Detail != "a\x00" || e.Objects[0].Name != "b\x00" || e.Values["role"] != "c\x00" {
		t.Errorf("CreatePlan has changed the values of its caller: %+v", *e)
	}
}

func planUnknown(t *testing.T, s auditFixture) {
	s.createPlan(t, planned(t))
	for _, id := range []string{"", "pla", "plan0", "PLAN", "%", "plan\x00", "\x00", "plan\xff", strings.Repeat("plan", 5<<10)} {
		_, err := s.audits.Plan(t.Context(), id)
		refused(t, fmt.Sprintf("reading plan %.20q", id), err, audit.ErrNotFound)
	}
}

func planList(t *testing.T, s auditFixture) {
	p := planned(t)
	s.createPlan(t, p)
	for _, id := range []string{"plam", "plao"} {
		s.createPlan(t, audit.Plan{ID: id, CreatedAt: epoch})
	}
	s.approve(t, audit.Approval{PlanID: "plan", FindingID: "f1", Who: "a", At: epoch})
	head := p
	head.Entries = nil
	all := []audit.PlanSummary{{Plan: audit.Plan{ID: "plao", CreatedAt: epoch}}, {Plan: head, Size: 2, Approved: 1}, {Plan: audit.Plan{ID: "plam", CreatedAt: epoch}}}
	for _, c := range []struct {
		before string
		limit  int
		want   []audit.PlanSummary
	}{{"", 9, all}, {"", 2, all[:2]}, {"plao", 1, all[1:2]}, {"plan", 9, all[2:]}, {"plam", 9, []audit.PlanSummary{}}} {
		got, err := s.audits.Plans(t.Context(), c.before, c.limit)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("at most %d before %q:\n got %s, %v\nwant %s", c.limit, c.before, encoded(t, got), err, encoded(t, c.want))
		}
	}
}

func (f auditFixture) approve(t *testing.T, all ...audit.Approval) {
	t.Helper()
	if err := f.audits.Approve(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func planApprovals(t *testing.T, s auditFixture) {
	refused := &audit.Refusal{Code: "c", Detail: "Ülkü's \"role\" has changed", FixBy: "operator", At: epoch.Add(time.Second)}
	first := audit.Approval{PlanID: "plan", FindingID: "f1", Who: "Jürgen", At: epoch.Add(time.Microsecond), Refusal: refused}
	filled(t, first)
	filled(t, *refused)
	second := audit.Approval{PlanID: "plan", FindingID: "f2", Who: "b", At: epoch}
	other := second
	other.PlanID = "other"
	check := func(plan string, want ...audit.Approval) {
		t.Helper()
		all := map[string]audit.Approval{}
		for _, a := range want {
			all[a.FindingID] = a
		}
		if got, err := s.audits.Approvals(t.Context(), plan); err != nil || !reflect.DeepEqual(got, all) {
			t.Errorf("plan %s:\n got %s, %v\nwant %s", plan, encoded(t, got), err, encoded(t, all))
		}
	}
	s.approve(t)
	check("plan")
	s.approve(t, first, second, other)
	check("plan", first, second)
	first.Refusal, first.Who = nil, "c"
	s.approve(t, first)
	for limit, want := range map[int][]audit.Approval{9: {second, other}, 1: {second}} {
		if got, err := s.audits.ApprovalsOf(t.Context(), "f2", limit); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("at most %d approvals of the finding:\n got %s, %v\nwant %s", limit, encoded(t, got), err, encoded(t, want))
		}
	}
	check("plan", first, second)
	for _, gone := range [][]string{nil, {"f3"}, {"f2", "f3"}} {
		if err := s.audits.Withdraw(t.Context(), "plan", gone); err != nil {
			t.Fatal(err)
		}
	}
	check("plan", first)
	check("other", other)
	s.approve(t, audit.Approval{PlanID: "bad", FindingID: "f", Who: "a\x00\xff", At: epoch, Refusal: &audit.Refusal{Detail: "b\x00\xff", At: epoch}})
	got, err := s.audits.Approvals(t.Context(), "bad")
	if err != nil || !utf8.ValidString(got["f"].Who) || !strings.HasPrefix(got["f"].Who, "a") || !strings.HasPrefix(got["f"].Refusal.Detail, "b") {
		t.Errorf("texts that cannot be stored as they are: got %+v, %v", got, err)
	}
}

func keyedRuns(t *testing.T, s auditFixture) {
	keyed := func(merchant, key string) saga.NewRun {
		return s.create(t, func(r *saga.Run) { r.Merchant, r.Key = merchant, key })
	}
	first, second := keyed("m", "repair·1"), keyed("n", "repair·1")
	keyed("m", "another")
	keys := []audit.RunKey{{MerchantID: "m", Key: "repair·1"}, {MerchantID: "n", Key: "repair·1"}, {MerchantID: "o", Key: "repair·1"}}
	want := map[audit.RunKey]audit.KeyedRun{
		keys[0]: {ID: first.Run.ID, State: saga.Running}, keys[1]: {ID: second.Run.ID, State: saga.Running},
	}
	for len(keys) < audit.MaxPlanEntries {
		keys = append(keys, audit.RunKey{MerchantID: "m", Key: fmt.Sprint("unused ", len(keys))})
	}
	if got, err := s.audits.KeyedRuns(t.Context(), keys); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := s.audits.KeyedRuns(t.Context(), nil); err != nil || len(got) > 0 {
		t.Errorf("without keys: got %v, %v", got, err)
	}
}
