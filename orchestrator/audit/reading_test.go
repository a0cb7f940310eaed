package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// TestAReadThatFailsIsNoAbsence lets each kind of call fail, in each way. The audit must not find damage that does not exist, and must
// not resolve a finding that still exists.
func TestAReadThatFailsIsNoAbsence(t *testing.T) {
	ways := map[string]struct {
		err  error
		half bool
	}{
		"forbidden":    {&upstream.Error{Service: keystone.Service, Class: upstream.Blocked, Op: "listing", Err: keystone.ErrForbidden}, false},
		"unavailable":  {&upstream.Error{Service: keystone.Service, Class: upstream.Unavailable, Op: "listing", Err: errAway}, false},
		"half of it":   {&upstream.Error{Service: keystone.Service, Class: upstream.Transient, Op: "listing", Err: errAway}, true},
		"an empty one": {&upstream.Error{Service: keystone.Service, Class: upstream.Transient, Op: "listing", Err: errAway}, false},
	}
	calls := []string{
		"Reach", "Domain", "EachProject", "EachAssignment", "EachUser", "AllRoles", "Implied", "Project", "User",
		"Merchant", "Customer", "Subscription", "Plan", "EachCustomer", "EachSubscription", "EachPlanID",
	}
	for _, d := range damages {
		if unreachable(d.name) {
			continue
		}
		for _, call := range calls {
			for way, fault := range ways {
				h := newHouse()
				d.damage(h)
				s := newShelf(h)
				whole := s.audit(t, Scope{})
				s.half, s.at = fault.half, func(c string) error {
					if c == call {
						return fault.err
					}
					return nil
				}
				o := s.audit(t, Scope{})
				for _, f := range o.Seen {
					same := func(other Finding) bool { return other.ID == f.ID || lessKnown(f, other) }
					if !slices.ContainsFunc(whole.Seen, same) {
						t.Errorf("%s, %s %s: %s is found: %s", d.name, call, way, f.Code, f.Detail)
					}
				}
				if len(o.Resolved) > 0 {
					t.Errorf("%s, %s %s: %v are resolved", d.name, call, way, o.Resolved)
				}
				if len(o.Seen) < len(whole.Seen) && o.Audit.State == Complete {
					t.Errorf("%s, %s %s: findings are missing, but the audit is complete", d.name, call, way)
				}
			}
		}
	}
}

// lessKnown reports whether an audit may report f in place of the finding `other`. An audit may do so if it could not read
// everything.
func lessKnown(f, other Finding) bool {
	about := map[Code][]Code{
		RoleAdmin:         {RoleExtraUser, RoleExtraGroup, RoleExtraInherited, RoleOfDeletedUser},
		RoleOfDeletedUser: {RoleExtraUser}, RoleOfDisabledUser: {RoleExtraUser},
		CustomerMoved: {TenantWithoutCustomer, TenantWithoutSubscription}, // the audit does not read the customers of the merchant to whom the customer has moved
	}
	same := f.ProjectID == other.ProjectID || other.Code == RoleOfDisabledUser && f.UserID == other.UserID
	return (same || other.Code == CustomerMoved) && slices.Contains(about[other.Code], f.Code)
}

// BillingStack lists no plans, although there are subscriptions.
func TestAnEmptyListOfPlansIsNotBelieved(t *testing.T) {
	h := newHouse()
	clear(h.merchant("m1").plans)
	if o := newShelf(h).audit(t, Scope{}); len(o.Seen) > 0 || o.Audit.State != Incomplete || o.Audit.Gaps[0].Code != GapBillingUnavailable {
		t.Errorf("found %v, %s %v", o.seen(), o.Audit.State, o.Audit.Gaps)
	}
}

func TestACutListIsNotWhole(t *testing.T) {
	s := newShelf(newHouse())
	s.cut = true
	o := s.audit(t, Scope{})
	if o.Audit.State != Incomplete || len(o.Audit.Gaps) != 1 || o.Audit.Gaps[0].Code != GapListCut {
		t.Errorf("got %s, %v", o.Audit.State, o.Audit.Gaps)
	}
}

// TestTheCredentialOfADomain audits with a credential that sees only one domain. With this credential, an audit cannot find out whether
// an object outside of the domain is absent.
func TestTheCredentialOfADomain(t *testing.T) {
	unseen := []Code{SubscriberGone, RoleAdmin, ResourceNoProject, ResourceInForeignDomain, RoleOfDeletedUser, RoleOfDisabledUser}
	for _, d := range damages {
		h := newHouse()
		d.damage(h)
		whole := newShelf(h).audit(t, Scope{})
		s := newShelf(h)
		s.mine = true
		o := s.audit(t, Scope{})
		for _, f := range o.Seen {
			if !slices.ContainsFunc(whole.Seen, func(other Finding) bool { return other.ID == f.ID || lessKnown(f, other) }) {
				t.Errorf("%s: %s is found: %s", d.name, f.Code, f.Detail)
			}
		}
		for _, f := range whole.Seen {
			if !slices.ContainsFunc(o.Seen, func(other Finding) bool { return other.ID == f.ID }) && !slices.Contains(unseen, f.Code) {
				t.Errorf("%s: %s is not found", d.name, f.Code)
			}
		}
		if o.Audit.State != Incomplete {
			t.Errorf("%s: the audit is %s", d.name, o.Audit.State)
		}
	}
}

// TestWhatChangesWhileAnAuditReadsIsReadAgain undoes each damage after the lists have been read.
func TestWhatChangesWhileAnAuditReadsIsReadAgain(t *testing.T) {
	for _, d := range damages {
		if len(d.want) == 0 {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			h := newHouse()
			d.damage(h)
			s := newShelf(h)
			s.at = func(call string) error {
				switch call {
				case "Project", "Customer", "Subscription": // a request for one object: the lists have been read
					s.house = newHouse()
				}
				return nil
			}
			o := s.audit(t, Scope{})
			for _, f := range o.Seen {
				if f.Code != RunWaits && f.Code != RoleExtraInherited && f.UserID == "" && !strings.HasPrefix(f.Detail, "g ") && f.Code != ObjectsLeft &&
					f.Code != SubscriptionWithoutTenant && !f.Code.ofUsage() {
					t.Errorf("%s is found: %s", f.Code, f.Detail)
				}
			}
		})
	}
}

// TestARunThatStartsWhileAnAuditReads stores a run about the customer after the lists have been read.
func TestARunThatStartsWhileAnAuditReads(t *testing.T) {
	h := newHouse()
	h.p("p-m1-c0-s0").Enabled = false
	s := newShelf(h)
	s.at = func(call string) error {
		if call == "Project" && len(h.all) == 12 {
			h.all = append(h.all, &saga.Run{ID: "1", Workflow: "w", Merchant: "m1", Subject: "m1:m1-c0", State: saga.Running})
		}
		return nil
	}
	if o := s.audit(t, Scope{}); len(o.Seen) > 0 {
		t.Errorf("found %v", o.seen())
	}
	if len(h.all) != 13 {
		t.Error("the project was not read again")
	}
}

// TestANewSubscriptionIsNoFinding makes a subscription just before the first list of projects is read. At this time, the audit may already
// have read the runs.
func TestANewSubscriptionIsNoFinding(t *testing.T) {
	h := newHouse()
	s := newShelf(h)
	subscribed := false
	s.at = func(call string) error {
		if call == "EachProject" && !subscribed {
			subscribed = true
			h.subscribe("m1", "m1-new", "m1-new-s", true)
		}
		return nil
	}
	read := 0
	a := s.auditor(t)
	known := a.Expect
	a.Expect = func(r *saga.Run) ([]saga.Expected, bool, error) { read++; return known(r) }
	if _, err := a.Request(t.Context(), Scope{}, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := a.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := s.outcomes[0]; len(o.Seen) > 0 || !subscribed {
		t.Errorf("found %v", o.seen())
	}
}

func TestNarrowerScopesFindTheSame(t *testing.T) {
	for _, d := range damages {
		if unreachable(d.name) {
			continue
		}
		h := newHouse()
		d.damage(h)
		whole := newShelf(h).audit(t, Scope{})
		for name, scope := range map[string]Scope{
			"the merchant": {MerchantID: "m1"}, "the customer": {MerchantID: "m1", CustomerID: "m1-c0"},
			"the project": {Cloud: "default", ProjectID: "p-m1-c0-s0"},
		} {
			o := newShelf(h).audit(t, scope)
			for _, f := range o.Seen {
				if !slices.ContainsFunc(whole.Seen, func(other Finding) bool { return other.ID == f.ID || lessKnown(f, other) }) {
					t.Errorf("%s, %s: %s is found: %s", d.name, name, f.Code, f.Detail)
				}
				if !scope.contains(&f) {
					t.Errorf("%s, %s: a finding is outside: %+v", d.name, name, f)
				}
			}
			for _, f := range whole.Seen {
				if scope.contains(&f) && !slices.ContainsFunc(o.Seen, func(other Finding) bool { return other.ID == f.ID }) && !wide(f.Code) {
					t.Errorf("%s, %s: %s is not found", d.name, name, f.Code)
				}
			}
		}
	}
}

// wide reports whether a finding needs the runs, projects or subscriptions of other customers.
func wide(code Code) bool {
	return slices.Contains(rules[code].needs, partRuns) || slices.Contains(rules[code].needs, partMerchants) || strings.HasPrefix(string(code), "resource-") ||
		code == ObjectsLeft || code == RunWaits
}

// A merchant's domain was changed: the tenants of its older subscriptions stay in the former domain.
func TestTenantsInAFormerDomain(t *testing.T) {
	moved := func() *house {
		h := newHouse()
		for i := range 30 {
			h.subscribe("m1", fmt.Sprintf("more%d", i), fmt.Sprintf("more%d-s", i), true)
		}
		for id, p := range h.cloud("default").projects {
			if id != "p-m1-c1" && id != "p-m1-c1-s0" && id != "p-m1-c1-s1" && !strings.HasPrefix(id, "p-m2") {
				p.DomainID = "d-former"
			}
		}
		for _, all := range h.made {
			for i := range all {
				if all[i].Kind == kindProject {
					all[i].Fields["domain_id"] = h.p(all[i].ID).DomainID
				}
			}
		}
		return h
	}
	if o := newShelf(moved()).audit(t, Scope{}); len(o.Seen) > 0 || o.Audit.State != Complete {
		t.Errorf("got %v, %s %v", o.seen(), o.Audit.State, o.Audit.Gaps)
	}
	h := moved()
	h.p("p-m1-c0-s0").grants = nil
	h.give("p-m1-c0", "u-m1-c1", "r-reader")
	h.cloud("default").dropProject("p-m1-c0-s1")
	h.p("p-m1-c1-s0").Enabled = false
	s := newShelf(h)
	want := []string{"role-extra-user", "role-missing", "subscription-without-tenant", "tenant-disabled"}
	if got := s.audit(t, Scope{}).seen(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s.at = func(call string) error {
		if call == "EachProject d-former" {
			return forbidden()
		}
		return nil
	}
	o := s.audit(t, Scope{})
	if got := o.seen(); !slices.Equal(got, []string{"tenant-disabled"}) || len(o.Resolved) > 0 || o.Audit.State != Incomplete {
		t.Errorf("if the former domain cannot be read: got %v, resolved %v, %s", got, o.Resolved, o.Audit.State)
	}
}

// A merchant's cloud was changed, and the service no longer has a configuration of the former cloud.
func TestTenantsInAFormerCloud(t *testing.T) {
	h := newHouse()
	s := newShelf(h)
	for _, all := range h.made {
		for i := range all {
			if all[i].Cloud != "" && strings.HasPrefix(all[i].ID, "p-m1-c0") {
				all[i].Cloud = "former"
			}
		}
	}
	a := s.auditor(t)
	known := a.Inventory
	a.Inventory = func(cloud string) (keystone.Inventory, error) {
		if cloud == "former" {
			return nil, errAway
		}
		return known(cloud)
	}
	if _, err := a.Request(t.Context(), Scope{}, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := a.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := s.outcomes[0]
	if o.Audit.State != Incomplete || o.Audit.Gaps[0].Code != GapCloudUnknown || o.Audit.Gaps[0].Cloud != "former" {
		t.Errorf("the audit is %s, %v", o.Audit.State, o.Audit.Gaps)
	}
	for _, f := range o.Seen {
		if f.Cloud == "former" {
			t.Errorf("found %s", f.Code)
		}
	}
}

// A run in progress has made a subscription without a resource. No other run is about the subscription's customer.
func TestTheObjectsOfARunInProgressAreNoFindings(t *testing.T) {
	h := newHouse()
	h.run("m1", "new", saga.Waiting, []saga.Expected{
		expected(kindCustomer, "new", "", saga.Own, nil), expected(kindSubscription, "new-s", "", saga.Own, nil),
	})
	h.world.customers["new"] = &foundCustomer{"m1"}
	h.world.subscriptions["new-s"] = &foundSubscription{merchant: "m1", customer: "new", plan: "gone", resource: "pending:run"}
	if o := newShelf(h).audit(t, Scope{}); len(o.Seen) > 0 {
		t.Errorf("without a tenant, found %v", o.seen())
	}
	h.makeProject("p-new", keystone.SubscriptionTenant("new-s"), nil)
	if o := newShelf(h).audit(t, Scope{}); len(o.Seen) > 0 {
		t.Errorf("with a tenant, found %v", o.seen())
	}
}

// A run in progress does not know the id of its project yet. A finding without a project is not about this run.
func TestARunInProgressKeepsNoOtherFinding(t *testing.T) {
	h := newHouse()
	h.cloud("default").addGrant(keystone.Granted{DomainID: domain, UserID: "u2", RoleID: "r-reader", Inherited: true})
	s := newShelf(h)
	first := s.audit(t, Scope{})
	s.house = newHouse()
	s.run("m1", "new", saga.Running, []saga.Expected{expected(kindProject, "", keystone.SubscriptionTenant("new"), saga.Own, nil)})
	if o := s.audit(t, Scope{}); len(first.Seen) != 1 || len(o.Resolved) != 1 {
		t.Errorf("found %v, then resolved %v", first.seen(), o.Resolved)
	}
}

// The resource of a subscription is a tenant of another merchant. The request for this tenant fails.
func TestAFindingAboutSomethingUnreadStays(t *testing.T) {
	h := newHouse()
	h.s("m1-c0-s0").resource = "p-m2-c0-s0"
	s := newShelf(h)
	first := s.audit(t, Scope{})
	s.at = func(call string) error {
		if call == "Project" {
			return &upstream.Error{Service: keystone.Service, Class: upstream.Transient, Op: "reading", Err: errAway}
		}
		return nil
	}
	if o := s.audit(t, Scope{}); len(first.Seen) != 1 || len(o.Resolved) > 0 || len(o.Seen) > 0 {
		t.Errorf("found %v, then %v, resolved %v", first.seen(), o.seen(), o.Resolved)
	}
}

// The number of objects that are read again is limited. Beyond the limit, nothing is found or resolved, and the audit has a gap.
func TestWhatIsReadAgainIsBounded(t *testing.T) {
	h := newHouse()
	for i := range maxAgain + 10 {
		h.subscribe("m1", fmt.Sprintf("more%d", i), fmt.Sprintf("more%d-s", i), true)
		h.p(fmt.Sprintf("p-more%d-s", i)).Enabled = false
	}
	o := newShelf(h).audit(t, Scope{})
	if len(o.Seen) != maxAgain || o.Audit.State != Incomplete || o.Audit.Gaps[0].Code != GapTooManyFindings {
		t.Errorf("found %d, %s %v", len(o.Seen), o.Audit.State, o.Audit.Gaps)
	}
}

// BillingStack does not have the merchant, so the merchant's lists are empty. The objects that these lists lack are not reported as absent.
func TestAMerchantThatBillingStackDoesNotHave(t *testing.T) {
	for _, scope := range []Scope{{}, {MerchantID: "m1"}, {MerchantID: "m1", CustomerID: "m1-c0"}} {
		h := newHouse()
		clear(h.world.customers)
		clear(h.world.subscriptions)
		s := newShelf(h)
		s.at = func(call string) error {
			if call == "Merchant" {
				return absent()
			}
			return nil
		}
		o := s.audit(t, scope)
		if len(o.Seen) > 0 || !slices.ContainsFunc(o.Audit.Gaps, func(g Gap) bool { return g.Code == GapMerchantUnknown }) {
			t.Errorf("%+v: found %v, gaps %v", scope, o.seen(), o.Audit.Gaps)
		}
	}
}

// An audit keeps a limited number of objects of a cloud. The objects beyond the limit are not reported as absent.
func TestWhatIsKeptOfACloudIsBounded(t *testing.T) {
	for what, limit := range map[string]func(*reading){
		"projects": func(r *reading) { r.maxProjects = 10 }, "role assignments": func(r *reading) { r.maxGrants = 10 },
	} {
		s := newShelf(newHouse())
		r := s.auditor(t).newReading(Scope{})
		limit(r)
		o, err := r.execute(t.Context(), Audit{})
		c := r.cloud("default")
		kept := 0
		for _, p := range c.projects {
			kept += len(p.grants)
		}
		if err != nil || len(o.Seen) > 0 || o.Audit.State != Incomplete || o.Audit.Gaps[0].Code != GapTooManyObjects || len(c.projects) > 10 && kept > 10 {
			t.Errorf("%s: %v, found %v, gaps %v, kept %d projects and %d assignments", what, err, o.seen(), o.Audit.Gaps, len(c.projects), kept)
		}
	}
}

// A run gets its id before it is accepted. The ledger contains the result of the run that ended last, even if another run has a greater id.
func TestTheRunThatHasEndedLastDecides(t *testing.T) {
	h := newHouse()
	plan := func(id string) []saga.Expected {
		return []saga.Expected{expected(kindSubscription, "m1-c0-s0", "", saga.Adopted, map[string]string{"plan_id": id})}
	}
	h.run("m1", "m1-c0", saga.Succeeded, plan("plan2"))
	h.run("m1", "m1-c0", saga.Succeeded, plan("plan"))
	last := h.all[len(h.all)-2:]
	last[0].EndedAt, last[1].EndedAt = last[1].EndedAt, last[0].EndedAt
	for _, scope := range []Scope{{}, {MerchantID: "m1"}, {MerchantID: "m1", CustomerID: "m1-c0"}} {
		for found, want := range map[string][]Code{"plan2": nil, "plan": {PlanDiffers}} {
			h.s("m1-c0-s0").plan = found
			var got []Code
			for _, f := range newShelf(h).audit(t, scope).Seen {
				got = append(got, f.Code)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v, with plan %s: got %v, want %v", scope, found, got, want)
			}
		}
	}
}

// A gap says why nothing is known about the objects of a subject.
func TestWhySomethingIsInProgress(t *testing.T) {
	l := newLedger()
	l.add(&saga.Run{ID: "r1", Subject: "s1", State: saga.Running}, nil, true)
	l.add(&saga.Run{ID: "r2", Subject: "s2", Workflow: "future", State: saga.Compensated}, nil, false)
	l.live["s3"] = "an upstream that did not answer"
	for subject, want := range map[string]string{
		"s1": "run r1 is changing the objects",
		"s2": "a run about the objects has the workflow future, which this release does not know",
		"s3": "the objects were not compared, because of an upstream that did not answer",
	} {
		if got := l.busyWith(subject); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
