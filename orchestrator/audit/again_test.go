package audit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// eachEntry applies each damage to a new house, and audits the house. For each finding that can be repaired, it calls `see` with
// the plan's entry for the finding, and with another new house that has this damage.
func eachEntry(t *testing.T, see func(t *testing.T, s *shelf, e PlanEntry, subject string)) (entries int) {
	for _, d := range damages {
		if unreachable(d.name) {
			continue
		}
		h := newHouse()
		d.damage(h)
		s := newShelf(h)
		for _, f := range s.audit(t, Scope{}).Seen {
			e, repairable := entryOf(&f)
			if !repairable {
				continue
			}
			entries++
			t.Run(d.name+"/"+string(f.Code), func(t *testing.T) {
				fresh := newHouse()
				d.damage(fresh)
				see(t, newShelf(fresh), e, h.subjectOfRun(e.RunID))
			})
		}
	}
	return entries
}

func (h *house) subjectOfRun(id string) string {
	i := slices.IndexFunc(h.all, func(r *saga.Run) bool { return r.ID == id })
	if i < 0 {
		return ""
	}
	return h.all[i].Subject
}

func TestEachRepairIsConfirmed(t *testing.T) {
	seen := map[RepairAction]bool{}
	n := eachEntry(t, func(t *testing.T, s *shelf, e PlanEntry, subject string) {
		seen[e.Action] = true
		s.store(&saga.Run{ID: "0191", Workflow: "w", Merchant: e.MerchantID, Subject: subject, State: saga.Running, Version: 1}, nil)
		if changed, err := s.auditor(t).Confirm(t.Context(), e, subject); err != nil || changed != "" {
			t.Errorf("%s of %v: %q, %v", e.Action, e.Values, changed, err)
		}
	})
	for _, action := range RepairActions {
		if !seen[action] {
			t.Errorf("none of the %d repairs has the action %s", n, action)
		}
	}
}

func TestARepairThatIsNotNeededIsNotConfirmed(t *testing.T) {
	eachEntry(t, func(t *testing.T, s *shelf, e PlanEntry, subject string) {
		runs, made := s.all, s.made
		s.house = newHouse() // without the damage
		s.all, s.made = runs, made
		switch e.Code { // a new house lacks the effects of some runs, such as a suspended tenant or removed objects
		case TenantEnabled:
			s.p(e.ProjectID).Enabled = false
		case ObjectsLeft:
			delete(s.world.subscriptions, e.SubscriptionID)
			s.cloud("default").dropProject(e.ProjectID)
		}
		changed, err := s.auditor(t).Confirm(t.Context(), e, subject)
		if err != nil || !strings.Contains(changed, "nothing to repair") {
			t.Errorf("%s of %v: %q, %v", e.Action, e.Values, changed, err)
		}
	})
}

func TestARepairWithOtherValuesIsNotConfirmed(t *testing.T) {
	eachEntry(t, func(t *testing.T, s *shelf, e PlanEntry, subject string) {
		for name := range e.Values {
			other := e
			other.Values = maps.Clone(e.Values)
			other.Values[name] += "x"
			changed, err := s.auditor(t).Confirm(t.Context(), other, subject)
			if err != nil || changed == "" {
				t.Errorf("%s of %v: %q, %v", e.Action, other.Values, changed, err)
			}
		}
		other := e
		other.MerchantID = "m2"
		if e.MerchantID == "m2" {
			other.MerchantID = "m1"
		}
		if changed, err := s.auditor(t).Confirm(t.Context(), other, subject); err != nil || changed == "" {
			t.Errorf("for another merchant: %q, %v", changed, err)
		}
		other.MerchantID = "m3"
		if changed, err := s.auditor(t).Confirm(t.Context(), other, subject); err != nil || !strings.Contains(changed, "no longer exists") {
			t.Errorf("for a merchant that is gone: %q, %v", changed, err)
		}
	})
}

// TestARepairIsNotConfirmedByAFailedRead lets each kind of call fail.
func TestARepairIsNotConfirmedByAFailedRead(t *testing.T) {
	away := &upstream.Error{Service: keystone.Service, Class: upstream.Unavailable, Op: "reading", Err: errAway}
	calls := map[string]bool{}
	eachEntry(t, func(t *testing.T, s *shelf, e PlanEntry, subject string) {
		for _, call := range []string{
			"EachRun", "Reach", "Domain", "EachAssignment", "AllRoles", "Implied", "Project", "User", "Merchant", "Customer", "Subscription", "Plan",
		} {
			called := false
			s.at = func(c string) error {
				if c == call {
					called = true
					return away
				}
				return nil
			}
			changed, err := s.auditor(t).Confirm(t.Context(), e, subject)
			calls[call] = calls[call] || called
			if called && !errors.Is(err, errAway) {
				t.Errorf("%s fails: %q, %v", call, changed, err)
			}
		}
	})
	for call, called := range calls {
		if !called {
			t.Errorf("%s is never called", call)
		}
	}
}

// If the credential is not allowed to read an object of a repair, Confirm does not confirm the repair.
func TestARepairIsNotConfirmedByACredentialThatCannotSeeIt(t *testing.T) {
	eachEntry(t, func(t *testing.T, s *shelf, e PlanEntry, subject string) {
		for call := range map[string]bool{"Project": true, "EachAssignment": true, "User": true, "AllRoles": true} {
			called := false
			s.at = func(c string) error {
				if c == call {
					called = true
					return forbidden()
				}
				return nil
			}
			changed, err := s.auditor(t).Confirm(t.Context(), e, subject)
			needed := map[string][]RepairAction{
				"Project":        {EnableProject, DisableProject, TagProject, CreateTenant, RemoveTenant, AssignRole, RevokeRole},
				"EachAssignment": {AssignRole, RevokeRole},
			}
			if called && slices.Contains(needed[call], e.Action) && err == nil && changed == "" {
				t.Errorf("without %s: %s is confirmed", call, e.Action)
			}
		}
	})
}

// While a list of a cloud or merchant is suspect, repairs neither create nor remove objects of this cloud or merchant.
func TestASuspectListStopsRepairsThatCreateOrRemove(t *testing.T) {
	eachEntry(t, func(t *testing.T, s *shelf, e PlanEntry, subject string) {
		for _, about := range []Finding{{Cloud: "default"}, {Cloud: "default", MerchantID: e.MerchantID}, {Cloud: "elsewhere"}, {MerchantID: "m9"}} {
			about.ID, about.Code, about.Status = "s", SuspectAbsence, New
			s.findings = map[string]Finding{"s": about}
			changed, err := s.auditor(t).Confirm(t.Context(), e, subject)
			if err != nil {
				t.Fatal(err)
			}
			removes := slices.Contains([]RepairAction{CreateTenant, RemoveTenant, RemoveSubscription, RemoveCustomer}, e.Action)
			here := about.MerchantID == e.MerchantID || about.MerchantID == "" && about.Cloud == "default"
			if stopped := strings.Contains(changed, string(SuspectAbsence)); stopped != (removes && here) {
				t.Errorf("%s, suspect %+v: %q", e.Action, about, changed)
			}
			about.Status = Accepted
			s.findings = map[string]Finding{"s": about}
			if changed, _ := s.auditor(t).Confirm(t.Context(), e, subject); changed != "" {
				t.Errorf("%s, suspect and accepted: %q", e.Action, changed)
			}
		}
	})
}

func TestAPlanHasTheOpenFindingsThatHaveARepair(t *testing.T) {
	h := newHouse()
	h.p("p-m1-c0-s0").Enabled = false
	h.p("p-m1-c0-s1").Tags = h.p("p-m1-c0-s1").Tags[1:]
	h.p("p-m2-c0-s0").Name = "renamed" // has no repair
	delete(h.world.subscriptions, "m2-c1-s0")
	h.p("p-m2-c2-s0").grants = nil
	s := newShelf(h)
	s.audit(t, Scope{})
	for id, f := range s.findings {
		if f.Code == RoleMissing {
			f.Status = Accepted
			s.findings[id] = f
		}
	}
	s.findings["s"] = Finding{ID: "s", Code: SuspectAbsence, Status: New, MerchantID: "m2"}
	p, err := s.auditor(t).Plan(t.Context(), Filter{}, "ann")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range p.Entries {
		got = append(got, string(e.Code)+" "+string(e.Action))
	}
	if want := []string{"tag-missing tag-project", "tenant-disabled enable-project"}; !slices.Equal(got, want) || p.Suspect != 1 || p.LeftOut != 0 {
		t.Errorf("got %v, want %v; %d suspect, %d left out", got, want, p.Suspect, p.LeftOut)
	}
	if p.Installation != theInstallation || p.By != "ann" || !p.CreatedAt.Equal(epoch) || p.ID == "" || len(s.plans) != 1 {
		t.Errorf("got %+v, stored %d", p, len(s.plans))
	}
	if p.Expired(epoch.Add(PlanLife)) || !p.Expired(epoch.Add(PlanLife+1)) {
		t.Error("the plan does not expire exactly when PlanLife has passed")
	}
}

func TestAPlanIsBounded(t *testing.T) {
	s := newShelf(newHouse())
	for i := range MaxPlanEntries + 7 {
		id := fmt.Sprintf("%05d", i)
		s.findings[id] = Finding{ID: id, Code: TenantDisabled, Status: New, MerchantID: "m1", RunID: "r", Repair: Repair{Action: EnableProject}}
	}
	p, err := s.auditor(t).Plan(t.Context(), Filter{}, "ann")
	if err != nil || len(p.Entries) != MaxPlanEntries || p.LeftOut != 7 {
		t.Errorf("%d entries, %d left out, %v", len(p.Entries), p.LeftOut, err)
	}
}

// If a tag names a run of another merchant, an audit of one merchant reads this run, too. Therefore the repair that the audit
// plans is confirmed.
func TestTheTagsOfAnotherMerchantsRunAreKnownInEachScope(t *testing.T) {
	for _, scope := range []Scope{{}, {MerchantID: "m1"}, {MerchantID: "m1", CustomerID: "m1-c0"}, {Cloud: "default", ProjectID: "p-m1-c0-s0"}} {
		h := newHouse()
		h.p("p-m1-c0-s0").Tags = append(h.p("p-m1-c0-s0").Tags, h.p("p-m2-c0-s0").Tags[1:]...)
		s := newShelf(h)
		found := s.audit(t, scope).Seen
		if len(found) != 1 {
			t.Fatalf("%+v: found %v", scope, found)
		}
		e, repairable := entryOf(&found[0])
		if !repairable || strings.Contains(e.Values["remove"], "run") {
			t.Errorf("%+v: %+v", scope, e)
		}
		if changed, err := s.auditor(t).Confirm(t.Context(), e, h.subjectOfRun(e.RunID)); err != nil || changed != "" {
			t.Errorf("%+v: %q, %v", scope, changed, err)
		}
	}
}

// Some findings have no repair: a repair would change only one of several assignments, would revoke a role that an owner has
// given, or would have values that cannot be stored.
func TestWhichFindingsHaveNoRepair(t *testing.T) {
	for _, name := range []string{
		"a disabled stranger has a role", "a disabled stranger has roles on two tenants", "an admin role on an adopted tenant",
		"a missing subscription is back, but its tenant was removed", "another merchant's run and too many tags",
	} {
		h := newHouse()
		damages[slices.IndexFunc(damages, func(d damage) bool { return d.name == name })].damage(h)
		for _, f := range h.compare() {
			if f.Repair.Action != "" || f.Repair.Advice == "" {
				t.Errorf("%s: %+v", name, f.Repair)
			}
		}
	}
}

// The tags of projects can name any number of runs. If the run of a tag was not read, the tag is not removed.
func TestTagsThatNameTooManyRuns(t *testing.T) {
	h := newHouse()
	many, one := h.p("p-m1-c0-s0"), h.p("p-m1-c1-s0")
	many.Tags = many.Tags[1:]
	for i := range maxTags {
		many.Tags = append(many.Tags, keystone.RunTag(fmt.Sprintf("01900000-0000-7000-8000-%012d", i)))
	}
	one.Tags = append(one.Tags[1:], keystone.RunTag(otherRun)) // this run has the greatest id, so it is not read
	o := newShelf(h).audit(t, Scope{MerchantID: "m1"})
	removed := map[string]int{}
	for _, f := range o.Seen {
		removed[f.ProjectID+" "+string(f.Code)] = strings.Count(f.Repair.Advice, "--remove-tag")
	}
	if want := map[string]int{many.ID + " tag-missing": maxTags, one.ID + " tag-missing": 0}; !maps.Equal(removed, want) {
		t.Errorf("got %v, want %v", removed, want)
	}
	if o.Audit.State != Incomplete || len(o.Audit.Gaps) != 1 || o.Audit.Gaps[0].Code != GapTooManyObjects {
		t.Errorf("the audit is %s: %+v", o.Audit.State, o.Audit.Gaps)
	}
}

func TestWhatDiffersIsNamedWithoutItsValue(t *testing.T) {
	e := PlanEntry{Action: RevokeRole, MerchantID: "m1", Cloud: "east", Values: map[string]string{"user_id": "u1", "role_id": "r1"}}
	for want, change := range map[string]func(*PlanEntry){
		"action":             func(e *PlanEntry) { e.Action = AssignRole },
		"cloud, merchant_id": func(e *PlanEntry) { e.Cloud, e.MerchantID = "west", "m2" },
		"new, role_id":       func(e *PlanEntry) { e.Values = map[string]string{"user_id": "u1", "new": "x"} },
		"cloud, user_id":     func(e *PlanEntry) { e.Cloud, e.Values = "west", map[string]string{"user_id": "u2", "role_id": "r1"} },
		"action, cloud, x": func(e *PlanEntry) {
			*e = PlanEntry{Action: AssignRole, MerchantID: "m1", Values: maps.Clone(e.Values)}
			e.Values["x"] = "1"
		},
	} {
		now := e
		change(&now)
		if got := e.differences(now); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
