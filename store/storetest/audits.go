package storetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/audit"
)

// AuditConformance tests whether a store does what audit.Store specifies. Each part of the test begins with an empty store. The
// function `open` returns two stores for one database: the store of runs and the store of audits. The method EachRun of the second
// store should read few runs at a time, so that the runs of the test need several pages.
func AuditConformance(t *testing.T, open func(testing.TB) (Store, audit.Store)) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, auditFixture)
	}{
		{"Create and Finish: every field of an audit is set", auditEveryField},
		{"Create: the id is taken, or too many audits wait", createRefused},
		{"Create: 40 concurrent calls", createAudits},
		{"Take: an audit waits, runs, or its replica is lost", takeAudit},
		{"Take: replicas take audits at the same time", takeAuditsAtOnce},
		{"Take: replicas take a lost audit at the same time", takeLostAtOnce},
		{"Beat: another replica executes the audit, or it has ended", beat},
		{"Finish: another replica executes the audit, or it has ended", finishFenced},
		{"Finish: the audit has not ended", finishUnended},
		{"Audits: the result has several pages", auditsInPages},

		{"Finish: every field of a finding is set", findingEveryField},
		{"Finish: findings of every status are seen or resolved", findingStatuses},
		{"Finish: an accepted finding is seen again", findingAccepted},
		{"Finish: a finding is there twice", findingTwice},
		{"Finish: texts cannot be stored as they are", findingTexts},
		{"Finish: there are many findings", findingsMany},
		{"Findings: every filter is used", findingsFiltered},
		{"Findings: the result has several pages", findingsInPages},
		{"CountFindings: the findings have several severities, codes and states", findingsCounted},
		{"Accept: the finding is open, accepted or resolved", acceptFinding},
		{"Accept: several people accept a finding while an audit ends", acceptAtOnce},
		{"History: the status has changed often", historyLong},

		{"CreatePlan: every field is set", planEveryField},
		{"CreatePlan: texts cannot be stored as they are", planTexts},
		{"CreatePlan: there are as many entries as possible, or more", planSizes},
		{"CreatePlan: the id is taken", planTwice},
		{"CreatePlan: the caller keeps its values", planGiven},
		{"Plan: the plan does not exist", planUnknown},
		{"Plans: the result has several pages", planList},
		{"Approve and Withdraw: entries of plans are approved and refused", planApprovals},
		{"KeyedRuns: some keys have runs", keyedRuns},

		{"EachRun: every filter is used", eachRunFiltered},
		{"EachRun: the runs need several pages", eachRunInPages},
		{"Entries: every filter is used", entriesFiltered},
		{"Entries: the result has several pages", entriesInPages},
		{"Entries: runs for other users gave the user roles on a project", entriesOfUser},
		{"Entries: a run about a customer has not recorded the customer", entriesOfCustomer},
		{"Entries: ids are alike", entriesAlike},
	} {
		t.Run(part.name, func(t *testing.T) {
			runs, audits := open(t)
			f := auditFixture{fixture{Store: runs}, audits}
			f.join(t, "r1", epoch.Add(time.Hour))
			part.run(t, f)
		})
	}
}

// auditFixture is a store of audits, and a store of runs that replica r1 has joined.
type auditFixture struct {
	fixture

	audits audit.Store
}

// The method `wait` creates pending audits.
func (f auditFixture) wait(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := f.audits.Create(t.Context(), audit.Audit{ID: id, By: "me", CreatedAt: epoch}); err != nil {
			t.Fatal(err)
		}
	}
}

// The method `begin` creates an audit, and takes the audit for replica r1.
func (f auditFixture) begin(t *testing.T, id string) {
	t.Helper()
	f.wait(t, id)
	if a, err := f.audits.Take(t.Context(), "r1", epoch, epoch); err != nil || a.ID != id {
		t.Fatalf("took audit %q, %v; want %s", a.ID, err, id)
	}
}

// The function `ended` returns the outcome of an audit that ends at the given time.
func ended(id string, at time.Time, seen ...audit.Finding) audit.Outcome {
	return audit.Outcome{Audit: audit.Audit{ID: id, State: audit.Complete, EndedAt: &at}, Seen: seen}
}

// The method `finish` creates an audit, takes the audit for replica r1, and stores its outcome.
func (f auditFixture) finish(t *testing.T, o audit.Outcome) {
	t.Helper()
	f.begin(t, o.Audit.ID)
	if err := f.audits.Finish(t.Context(), "r1", o); err != nil {
		t.Fatal(err)
	}
}

// The function `refused` fails the test if the error `err` is not the error `want`.
func refused(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got the error %v, want %v", what, err, want)
	}
}

func (f auditFixture) audit(t *testing.T, id string) audit.Audit {
	t.Helper()
	a, err := f.audits.Audit(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func auditEveryField(t *testing.T, s auditFixture) {
	fine := epoch.Add(1500 * time.Nanosecond).In(time.FixedZone("", 3600))
	want := audit.Audit{
		ID: "a", Scope: audit.Scope{MerchantID: "m", CustomerID: "c", Cloud: "default", ProjectID: "p"}, By: "me", CreatedAt: fine,
		State: audit.Incomplete, Progress: audit.Progress{Phase: "comparing", Done: 1, Total: 2},
		Gaps:  []audit.Gap{{Code: "forbidden", Cloud: "default", MerchantID: "m", Detail: "ü"}},
		Found: map[string]int{"high": 3}, Read: map[string]int{"project": 4}, Failure: "down",
	}
	if err := s.audits.Create(t.Context(), audit.Audit{ID: "a", Scope: want.Scope, By: "me", CreatedAt: fine}); err != nil {
		t.Fatal(err)
	}
	stored := audit.Audit{ID: "a", Scope: want.Scope, By: "me", CreatedAt: epoch.Add(time.Microsecond), State: audit.Pending}
	if got := s.audit(t, "a"); encoded(t, got) != encoded(t, stored) {
		t.Errorf("the created audit:\n got %s\nwant %s", encoded(t, got), encoded(t, stored))
	}
	started := epoch.Add(time.Minute)
	stored.State, stored.StartedAt, stored.BeatAt, stored.Replica = audit.Running, &started, &started, "r1"
	if got, err := s.audits.Take(t.Context(), "r1", started, epoch); err != nil || encoded(t, got) != encoded(t, stored) {
		t.Errorf("the audit that was taken, %v:\n got %s\nwant %s", err, encoded(t, got), encoded(t, stored))
	}
	beat, end := epoch.Add(2*time.Minute), epoch.Add(3*time.Minute)
	stored.Progress, stored.BeatAt = audit.Progress{Phase: "reading", Done: 3, Total: 9}, &beat
	if err := s.audits.Beat(t.Context(), "a", "r1", beat, stored.Progress); err != nil {
		t.Fatal(err)
	}
	if got := s.audit(t, "a"); encoded(t, got) != encoded(t, stored) {
		t.Errorf("the audit after a beat:\n got %s\nwant %s", encoded(t, got), encoded(t, stored))
	}
	want.EndedAt = &end
	other := want
	other.Scope, other.By, other.CreatedAt = audit.Scope{}, "somebody", end // an outcome does not change these fields
	if err := s.audits.Finish(t.Context(), "r1", audit.Outcome{Audit: other}); err != nil {
		t.Fatal(err)
	}
	want.CreatedAt, want.StartedAt, want.BeatAt, want.Replica = stored.CreatedAt, &started, &beat, "r1"
	filled(t, want)
	if got := s.audit(t, "a"); encoded(t, got) != encoded(t, want) {
		t.Errorf("the audit that has ended:\n got %s\nwant %s", encoded(t, got), encoded(t, want))
	}
	_, err := s.audits.Audit(t.Context(), "b")
	refused(t, "reading an audit that does not exist", err, audit.ErrNotFound)
}

func createRefused(t *testing.T, s auditFixture) {
	s.begin(t, "0") // this audit is running, so it is not counted as a pending audit
	for n := range audit.MaxPending {
		s.wait(t, fmt.Sprint("a", n))
	}
	for id, want := range map[string]error{"0": audit.ErrExists, "a3": audit.ErrExists, "b": audit.ErrBusy} {
		refused(t, "creating audit "+id, s.audits.Create(t.Context(), audit.Audit{ID: id, By: "other", CreatedAt: epoch}), want)
	}
	if a := s.audit(t, "a3"); a.By != "me" {
		t.Errorf("the refused audit is stored: %+v", a)
	}
	if err := s.audits.Finish(t.Context(), "r1", ended("0", epoch)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.audits.Take(t.Context(), "r1", epoch, epoch); err != nil {
		t.Fatal(err)
	}
	s.wait(t, "b")
}

func createAudits(t *testing.T, s auditFixture) {
	var all sync.WaitGroup
	errs := make([]error, 40)
	for i := range errs { // two calls for each id
		all.Go(func() {
			errs[i] = s.audits.Create(t.Context(), audit.Audit{ID: fmt.Sprintf("a%02d", i/2), CreatedAt: epoch})
		})
	}
	all.Wait()
	created := 0
	for _, err := range errs {
		if err == nil {
			created++
		} else if !errors.Is(err, audit.ErrBusy) && !errors.Is(err, audit.ErrExists) {
			t.Error(err)
		}
	}
	stored, err := s.audits.Audits(t.Context(), "", 100)
	if err != nil || created != audit.MaxPending || len(stored) != audit.MaxPending {
		t.Errorf("%d calls succeeded, and %d audits are stored (%v); want %d", created, len(stored), err, audit.MaxPending)
	}
}

func auditsInPages(t *testing.T, s auditFixture) {
	s.wait(t, "b", "c", "a")
	for _, c := range []struct {
		before string
		limit  int
		want   string
	}{{"", 9, "c b a"}, {"", 2, "c b"}, {"b", 2, "a"}, {"bb", 1, "b"}, {"a", 2, ""}} {
		page, err := s.audits.Audits(t.Context(), c.before, c.limit)
		var ids []string
		for _, a := range page {
			ids = append(ids, a.ID)
		}
		if got := strings.Join(ids, " "); err != nil || got != c.want {
			t.Errorf("%d audits before %q: got %q, %v; want %q", c.limit, c.before, got, err, c.want)
		}
	}
}
