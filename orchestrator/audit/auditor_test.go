package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// newShelf returns the store of an auditor that audits the house.
func newShelf(h *house) *shelf {
	return &shelf{upstreams: &upstreams{house: h}, findings: map[string]Finding{}}
}

func (s *shelf) auditor(t *testing.T) *Auditor {
	return NewAuditor(Options{
		Store: s, Merchants: shops{}, Inventory: func(string) (keystone.Inventory, error) { return s.upstreams, nil },
		FindDomain: func(ctx context.Context, _, name string) (keystone.Domain, error) {
			return s.Domain(ctx, name)
		},
		Billing: bill{s.upstreams}, Installation: theInstallation, Domain: "default", Replica: "r1",
		Expect: func(r *saga.Run) ([]saga.Expected, bool, error) { return s.made[r.ID], r.Workflow == "w", nil },
		Now:    func() time.Time { return epoch }, NewID: func() string { return fmt.Sprint("a", len(s.waiting)) },
		OnFault: func(err error) { t.Error(err) },
	})
}

// audit executes an audit and returns its outcome.
func (s *shelf) audit(t *testing.T, scope Scope) Outcome {
	t.Helper()
	a := s.auditor(t)
	if _, err := a.Request(t.Context(), scope, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := a.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.outcomes[len(s.outcomes)-1]
}

// seen returns the codes of the findings.
func (o Outcome) seen() (codes []string) {
	for _, f := range o.Seen {
		codes = append(codes, string(f.Code))
	}
	slices.Sort(codes)
	return codes
}

func wanted(codes []Code) (all []string) {
	for _, code := range codes {
		all = append(all, string(code))
	}
	slices.Sort(all)
	return all
}

// unreachable are damages that a reading cannot show: a resource that was not looked for is looked for.
func unreachable(name string) bool { return name == "a resource that was not looked for" }

func TestAnAuditFindsEachDamageAndResolvesItWhenItIsMended(t *testing.T) {
	for _, d := range damages {
		if unreachable(d.name) {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			h := newHouse()
			d.damage(h)
			s := newShelf(h)
			o := s.audit(t, Scope{})
			if got := o.seen(); !slices.Equal(got, wanted(d.want)) {
				t.Errorf("got  %v\nwant %v", got, wanted(d.want))
			}
			if o.Audit.State != Complete || len(o.Audit.Gaps) > 0 {
				t.Errorf("the audit is %s: %v", o.Audit.State, o.Audit.Gaps)
			}
			if again := s.audit(t, Scope{}); !slices.Equal(again.seen(), o.seen()) || len(again.Resolved) > 0 {
				t.Errorf("again: %v, resolved %v", again.seen(), again.Resolved)
			}
			s.house = newHouse()
			mended := s.audit(t, Scope{})
			if len(mended.Seen) > 0 || len(mended.Resolved) != len(d.want) {
				t.Errorf("mended: %v, and %d are resolved, want %d", mended.seen(), len(mended.Resolved), len(d.want))
			}
		})
	}
}

// TestAReadThatFailsIsNoAbsence lets each kind of call fail, in each way: no damage may be found that is not there, and nothing is resolved
// that is.
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

// lessKnown reports whether f is what can be said about the role assignment of another finding if the roles or the user cannot be read.
func lessKnown(f, other Finding) bool {
	about := map[Code][]Code{
		RoleAdmin:         {RoleExtraUser, RoleExtraGroup, RoleExtraInherited, RoleOfDeletedUser},
		RoleOfDeletedUser: {RoleExtraUser}, RoleOfDisabledUser: {RoleExtraUser},
		CustomerMoved: {TenantWithoutCustomer, TenantWithoutSubscription}, // nobody reads the other merchant's
	}
	return (f.ProjectID == other.ProjectID || other.Code == CustomerMoved) && slices.Contains(about[other.Code], f.Code)
}

func TestACutListIsNotWhole(t *testing.T) {
	s := newShelf(newHouse())
	s.cut = true
	o := s.audit(t, Scope{})
	if o.Audit.State != Incomplete || len(o.Audit.Gaps) != 1 || o.Audit.Gaps[0].Code != GapListCut {
		t.Errorf("got %s, %v", o.Audit.State, o.Audit.Gaps)
	}
}

// TestTheCredentialOfADomain audits with a credential that sees one domain only, and not which objects elsewhere are absent.
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

// TestWhatChangesWhileAnAuditReadsIsReadAgain mends or makes the damage when the lists have been read.
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
				case "Project", "Customer", "Subscription": // read alone: the damage is mended by now
					s.house = newHouse()
				}
				return nil
			}
			o := s.audit(t, Scope{})
			for _, f := range o.Seen {
				if f.Code != RunWaits && f.Code != RoleExtraInherited && f.UserID == "" && !strings.HasPrefix(f.Detail, "g ") && f.Code != ObjectsLeft &&
					f.Code != SubscriptionWithoutTenant {
					t.Errorf("%s is found: %s", f.Code, f.Detail)
				}
			}
		})
	}
}

// TestARunThatStartsWhileAnAuditReads stores a run about the customer when the lists have been read.
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

// TestANewSubscriptionIsNoFinding subscribes after the runs were read, and before the projects are.
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
		for _, id := range []string{"p-m1-c0", "p-m1-c0-s0", "p-m1-c0-s1"} {
			h.p(id).DomainID = "d-former"
		}
		for _, all := range h.made {
			for i := range all {
				if all[i].Kind == kindProject && h.p(all[i].ID).DomainID == "d-former" {
					all[i].Fields["domain_id"] = "d-former"
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
	if got, want := newShelf(h).audit(t, Scope{}).seen(), []string{"role-extra-user", "role-missing", "subscription-without-tenant"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A list that suddenly lacks much resolves nothing: what was found before may still be there.
func TestASuspectListResolvesNothing(t *testing.T) {
	more := func() *house {
		h := newHouse()
		for i := range 60 {
			h.subscribe("m1", fmt.Sprintf("more%d", i), fmt.Sprintf("more%d-s", i), true)
		}
		for i := range 5 {
			h.cloud("default").dropProject(fmt.Sprintf("p-more%d-s", i))
		}
		return h
	}
	s := newShelf(more())
	if o := s.audit(t, Scope{}); len(o.Seen) != 5 {
		t.Fatalf("found %v", o.seen())
	}
	s.house = more()
	for i := range 50 {
		s.cloud("default").dropProject(fmt.Sprintf("p-more%d-s", i))
	}
	o := s.audit(t, Scope{})
	if got := o.seen(); len(o.Resolved) > 0 || len(got) != 1 || got[0] != string(SuspectAbsence) {
		t.Errorf("found %v, resolved %v", got, o.Resolved)
	}
	s.house = more()
	if o := s.audit(t, Scope{}); len(o.Seen) != 5 || len(o.Resolved) != 1 {
		t.Errorf("afterwards, found %v, resolved %v", o.seen(), o.Resolved)
	}
}

// A run in progress has made a subscription without a resource, of a customer that no other run is about.
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

// A run in progress does not know the id of its project yet. What has no project is not about this run.
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

// The resource of one subscription is the tenant of another merchant's. This tenant cannot be read alone.
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

// What differs is read alone up to a limit. Beyond it, nothing is found or resolved, and the audit says so.
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

// BillingStack does not have the merchant: its lists are empty, and nothing is absent because of that.
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

// Beyond what an audit keeps of a cloud, nothing is absent.
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

func TestAnAuditThatPanicsFails(t *testing.T) {
	s := newShelf(newHouse())
	s.at = func(call string) error {
		if call == "Domain" {
			panic("broken")
		}
		return nil
	}
	a := s.auditor(t)
	if _, err := a.Request(t.Context(), Scope{}, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := a.Next(t.Context()); err == nil || s.outcomes[0].Audit.State != Failed {
		t.Errorf("got %v, %+v", err, s.outcomes)
	}
}

func TestAnAuditThatReadsOnlyAPartResolvesNothingElse(t *testing.T) {
	h := newHouse()
	h.p("p-m1-c0-s0").Enabled, h.p("p-m2-c0-s0").Enabled = false, false
	s := newShelf(h)
	if o := s.audit(t, Scope{}); len(o.Seen) != 2 {
		t.Fatalf("found %v", o.seen())
	}
	s.house = newHouse()
	if o := s.audit(t, Scope{MerchantID: "m2"}); len(o.Resolved) != 1 || len(s.findings) != 1 {
		t.Errorf("%d are resolved, %d are left", len(o.Resolved), len(s.findings))
	}
}

func TestAnAuditFailsIfTheRunsCannotBeRead(t *testing.T) {
	s := newShelf(newHouse())
	s.at = func(call string) error {
		if call == "EachRun" {
			return errAway
		}
		return nil
	}
	a := s.auditor(t)
	if _, err := a.Request(t.Context(), Scope{}, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := a.Next(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
	if o := s.outcomes[0]; o.Audit.State != Failed || o.Audit.Failure != "away" || o.Audit.EndedAt == nil {
		t.Errorf("got %+v", o.Audit)
	}
}

func TestAnAuditOfNothing(t *testing.T) {
	for _, scope := range []Scope{{MerchantID: "m1", CustomerID: "nobody"}, {Cloud: "default", ProjectID: "nothing"}} {
		s := newShelf(newHouse())
		a := s.auditor(t)
		if _, err := a.Request(t.Context(), scope, "ann"); err != nil {
			t.Fatal(err)
		}
		if err := a.Next(t.Context()); !errors.Is(err, errNothingKnown) {
			t.Errorf("%+v: got %v", scope, err)
		}
	}
}

func TestAnInterruptedAuditIsNotFinished(t *testing.T) {
	s := newShelf(newHouse())
	a := s.auditor(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.at = func(call string) error {
		cancel()
		return ctx.Err()
	}
	if _, err := a.Request(t.Context(), Scope{}, "ann"); err != nil {
		t.Fatal(err)
	}
	if err := a.Next(ctx); !errors.Is(err, context.Canceled) || len(s.outcomes) > 0 {
		t.Errorf("got %v, %v", err, s.outcomes)
	}
}

func TestOneAuditIsStartedInEachInterval(t *testing.T) {
	s := newShelf(newHouse())
	now := epoch
	for range 4 {
		for range 2 { // replicas
			a := s.auditor(t)
			a.Every, a.Now = time.Hour, func() time.Time { return now }
			if err := a.schedule(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.waiting) == 1 && now.After(epoch) {
			s.waiting[0].State = Complete // until then, no other is started
		}
		now = now.Add(30 * time.Minute)
	}
	if len(s.waiting) != 2 || s.waiting[0].ID >= s.waiting[1].ID || s.waiting[0].By != Scheduled {
		t.Errorf("got %+v", s.waiting)
	}
}

// The number of findings that are open after an audit does not have those that stay accepted.
func TestAcceptedFindingsAreNotCounted(t *testing.T) {
	after := func(d time.Duration) *time.Time { return new(epoch.Add(d)) }
	for name, c := range map[string]struct {
		accept func(f *Finding)
		want   int
	}{
		"open":                            {func(*Finding) {}, 1},
		"accepted":                        {func(f *Finding) { f.Status, f.Acceptance = Accepted, &Acceptance{} }, 0},
		"accepted until later":            {func(f *Finding) { f.Status, f.Acceptance = Accepted, &Acceptance{Until: after(1)} }, 0},
		"accepted until now":              {func(f *Finding) { f.Status, f.Acceptance = Accepted, &Acceptance{Until: after(0)} }, 1},
		"accepted when it was less grave": {func(f *Finding) { f.Status, f.Acceptance, f.Severity = Accepted, &Acceptance{}, Info }, 1},
		"accepted when it was graver":     {func(f *Finding) { f.Status, f.Acceptance, f.Severity = Accepted, &Acceptance{}, Critical }, 0},
	} {
		h := newHouse()
		for _, d := range damages {
			if slices.Equal(d.want, []Code{RoleMissing}) {
				d.damage(h)
				break
			}
		}
		s := newShelf(h)
		o := s.audit(t, Scope{})
		f := o.Seen[0]
		severity := string(f.Severity)
		c.accept(&f)
		s.findings[f.ID] = f
		if got := s.audit(t, Scope{}).Audit.Found[severity]; got != c.want || o.Audit.Found[severity] != 1 || len(o.Seen) != 1 {
			t.Errorf("%s: got %d, want %d; at first %v", name, got, c.want, o.Audit.Found)
		}
	}
}
