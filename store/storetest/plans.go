package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tenantry/tenantry/orchestrator/audit"
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
