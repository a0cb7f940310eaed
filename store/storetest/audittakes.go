package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/audit"
)

func takeAudit(t *testing.T, s auditFixture) {
	take := func(replica string, now, lost time.Time, want string) {
		t.Helper()
		a, err := s.audits.Take(t.Context(), replica, now, lost)
		if want == "" {
			refused(t, "replica "+replica, err, audit.ErrNotFound)
		} else if err != nil || a.ID != want || a.Replica != replica {
			t.Errorf("replica %s took %+v, %v; want audit %s", replica, a, err, want)
		}
	}
	take("r1", minutes(0), minutes(0), "")
	s.wait(t, "b", "a", "c")
	take("r1", minutes(0), minutes(-1), "a")
	take("r2", minutes(1), minutes(0), "") // r1 is not lost, because its last heartbeat was at minute 0
	take("r1", minutes(1), minutes(0), "")
	if err := s.audits.Beat(t.Context(), "a", "r1", minutes(2), audit.Progress{Phase: "reading", Done: 5, Total: 6}); err != nil {
		t.Fatal(err)
	}
	take("r2", minutes(3), minutes(2), "")
	take("r2", minutes(3), minutes(2).Add(time.Microsecond), "a")
	a := s.audit(t, "a")
	if !a.StartedAt.Equal(minutes(3)) || !a.BeatAt.Equal(minutes(3)) || a.Progress != (audit.Progress{}) || a.State != audit.Running {
		t.Errorf("the audit that was taken again: %+v; want a new start time and no progress", a)
	}
	if err := s.audits.Finish(t.Context(), "r2", ended("a", minutes(4))); err != nil {
		t.Fatal(err)
	}
	take("r2", minutes(5), minutes(5), "b")
	take("r3", minutes(9), minutes(9), "b")
}

// takeAtOnce lets ten replicas take an audit at the same time, and returns the audits that were taken.
func (f auditFixture) takeAtOnce(t *testing.T, now, lost time.Time) []audit.Audit {
	t.Helper()
	var all sync.WaitGroup
	results := make([]audit.Audit, 10)
	for i := range results {
		all.Go(func() {
			var err error
			results[i], err = f.audits.Take(t.Context(), fmt.Sprint("replica", i), now, lost)
			if err != nil && !errors.Is(err, audit.ErrNotFound) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return slices.DeleteFunc(results, func(a audit.Audit) bool { return a.ID == "" })
}

func takeAuditsAtOnce(t *testing.T, s auditFixture) {
	for round := range audit.MaxPending {
		s.wait(t, fmt.Sprint("a", round))
	}
	for round := range audit.MaxPending {
		taken := s.takeAtOnce(t, epoch, epoch)
		if len(taken) != 1 {
			t.Fatalf("round %d: took the audits %+v; want one", round, taken)
		}
		if err := s.audits.Finish(t.Context(), taken[0].Replica, ended(taken[0].ID, epoch)); err != nil {
			t.Fatal(err)
		}
	}
}

func takeLostAtOnce(t *testing.T, s auditFixture) {
	s.begin(t, "a")
	s.wait(t, "b")
	for round := range 10 {
		now := epoch.Add(time.Duration(round+1) * time.Minute)
		if taken := s.takeAtOnce(t, now, now); len(taken) != 1 || taken[0].ID != "a" {
			t.Fatalf("round %d: took the audits %+v; want one audit, with the id a", round, taken)
		}
	}
}

func beat(t *testing.T, s auditFixture) {
	s.begin(t, "a")
	s.wait(t, "b")
	p := audit.Progress{Phase: "reading", Done: 1, Total: 2}
	before := encoded(t, s.audit(t, "a"))
	for what, c := range map[string][2]string{"another replica": {"a", "r2"}, "an audit that waits": {"b", "r1"}, "no audit": {"c", "r1"}} {
		refused(t, what, s.audits.Beat(t.Context(), c[0], c[1], epoch.Add(time.Hour), p), audit.ErrLost)
	}
	if after := encoded(t, s.audit(t, "a")); after != before {
		t.Errorf("a refused beat has changed the audit: it was %s, and is %s", before, after)
	}
	if err := s.audits.Finish(t.Context(), "r1", ended("a", epoch)); err != nil {
		t.Fatal(err)
	}
	refused(t, "an audit that has ended", s.audits.Beat(t.Context(), "a", "r1", epoch, p), audit.ErrLost)
}

func finishFenced(t *testing.T, s auditFixture) {
	s.finish(t, ended("a", epoch, audit.Finding{ID: "f", Detail: "first"}))
	before := encoded(t, []any{s.audit(t, "a"), s.finding(t, "f")})
	again := ended("a", epoch.Add(time.Hour), audit.Finding{ID: "f", Detail: "second"}, audit.Finding{ID: "g"})
	again.Audit.Failure, again.Resolved = "again", []string{"f"}
	refused(t, "an audit that has ended", s.audits.Finish(t.Context(), "r1", again), audit.ErrLost)
	again.Audit.ID = "none"
	refused(t, "no audit", s.audits.Finish(t.Context(), "r1", again), audit.ErrLost)
	s.begin(t, "b")
	again.Audit.ID = "b"
	refused(t, "another replica", s.audits.Finish(t.Context(), "r2", again), audit.ErrLost)
	if _, err := s.audits.Take(t.Context(), "r2", epoch.Add(time.Hour), epoch.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	refused(t, "another replica has taken the audit", s.audits.Finish(t.Context(), "r1", again), audit.ErrLost)
	if after := encoded(t, []any{s.audit(t, "a"), s.finding(t, "f")}); after != before || s.audit(t, "b").State != audit.Running {
		t.Errorf("a refused call of Finish has changed something: before\n%s\nafter\n%s", before, after)
	}
	if _, err := s.audits.Finding(t.Context(), "g"); !errors.Is(err, audit.ErrNotFound) {
		t.Errorf("a refused call of Finish has stored a finding: %v", err)
	}
}

func finishUnended(t *testing.T, s auditFixture) {
	s.begin(t, "a")
	for _, wrong := range []audit.Audit{{ID: "a", State: audit.Running, EndedAt: &epoch}, {ID: "a", State: audit.Complete}} {
		if err := s.audits.Finish(t.Context(), "r1", audit.Outcome{Audit: wrong}); err == nil || errors.Is(err, audit.ErrLost) {
			t.Errorf("ending the audit %+v: got %v, want an error other than ErrLost", wrong, err)
		}
	}
	if a := s.audit(t, "a"); a.State != audit.Running {
		t.Errorf("the audit is %s; want it running", a.State)
	}
}
