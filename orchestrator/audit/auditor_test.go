package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/keystone"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// newShelf returns the store and the upstreams of an auditor. The upstreams have the objects of the house.
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

// The method `audit` executes an audit, and returns the audit's outcome.
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

// The method `seen` returns the sorted codes of the findings.
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

// The function `unreachable` reports whether the damage with this name cannot occur in an audit. This damage is a resource that the audit
// has not looked for. An audit looks for every resource.
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

// If a list suddenly lacks many objects, no finding is resolved, because the older findings may still exist.
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

func TestAnAuditThatPanicsFails(t *testing.T) {
	for _, broken := range []string{"Domain", "EachProject", "EachCustomer", "EachUser"} {
		s := newShelf(newHouse())
		for i := range fewUsers {
			s.give("p-m1-c0", fmt.Sprint("user ", i), "r-reader")
		}
		s.at = func(call string) error {
			if call == broken {
				panic("broken")
			}
			return nil
		}
		a := s.auditor(t)
		if _, err := a.Request(t.Context(), Scope{}, "ann"); err != nil {
			t.Fatal(err)
		}
		if err := a.Next(t.Context()); err == nil || s.outcomes[0].Audit.State != Failed {
			t.Errorf("%s: got %v, %+v", broken, err, s.outcomes)
		}
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
			s.waiting[0].State = Complete // no other audit was started while this audit was pending
		}
		now = now.Add(30 * time.Minute)
	}
	if len(s.waiting) != 2 || s.waiting[0].ID >= s.waiting[1].ID || s.waiting[0].By != Scheduled {
		t.Errorf("got %+v", s.waiting)
	}
}

// Audit.Found counts the findings that are open after an audit. It does not count findings that stay accepted.
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
