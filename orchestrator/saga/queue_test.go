package saga

import (
	"testing"
	"time"
)

// newQueued returns a new run that waits for the run "before".
func newQueued(t *testing.T) *stepped {
	t.Helper()
	s := newStepped(t)
	run, _, err := s.m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	s.run, s.calls = Queued(run, "before"), nil
	return s
}

// GiveUpAfter includes the time in which a run waits for its predecessor. An expired run starts no step, even if its predecessor
// has ended.
func TestAQueuedRunIsGivenUpInTime(t *testing.T) {
	for _, predecessor := range []string{"", "before"} {
		t.Run("compensate, predecessor "+predecessor, func(t *testing.T) {
			s := newQueued(t)
			s.run.WaitsFor = predecessor
			s.now = s.now.Add(s.m.Limits.GiveUpAfter + 1)
			d := s.next(Input{Claimed: true})
			if s.run.State != Compensated || len(s.calls) > 0 || s.run.WaitsFor != "" || s.run.HoldsSubject || !d.Release {
				t.Errorf("the run is %s, waits for %q, calls %+v, released: %t", s.run.State, s.run.WaitsFor, s.calls, d.Release)
			}
			if c := s.run.Cause; c == nil || c.Code != "deadline-exceeded" || c.FixBy != FixByOperator {
				t.Errorf("the cause is %+v", c)
			}
		})
		t.Run("hold, predecessor "+predecessor, func(t *testing.T) {
			s := newQueued(t)
			s.run.WaitsFor, s.run.OnFailure = predecessor, FailureHolds
			s.now = s.now.Add(s.m.Limits.GiveUpAfter + 1)
			d := s.next(Input{Claimed: true})
			if r := s.run.Reason; !s.run.held() || r.Code != "deadline-exceeded" || s.run.WaitsFor != predecessor || !d.Release || d.Run.DueAt != nil {
				t.Errorf("the run is %s, its reason is %+v, it waits for %q", s.run.State, r, s.run.WaitsFor)
			}
			s.in("the run is held", 0)
			s.now = s.now.Add(time.Hour)
			s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: "op"}}})
			if predecessor == "" {
				if len(s.calls) != 1 || s.run.State != Running {
					t.Errorf("after the retry the run is %s, with the calls %+v; want one call", s.run.State, s.calls)
				}
				return
			}
			if r := s.run.Reason; s.run.State != Waiting || r.Kind != WaitsForPredecessor || r.Detail == "" || len(s.calls) > 0 || s.run.Hold != nil {
				t.Errorf("after the retry the run is %s, with the reason %+v and the calls %+v; want that it waits again", s.run.State, r, s.calls)
			}
			s.never("a person has retried the run, which waits for its predecessor")
			s.now = s.now.Add(s.m.Limits.GiveUpAfter)
			if s.next(Input{Claimed: true}); s.run.State != Waiting || s.run.held() {
				t.Errorf("at its new limit the run is %s, with the reason %+v", s.run.State, s.run.Reason)
			}
		})
	}
	t.Run("in time", func(t *testing.T) {
		s := newQueued(t)
		s.now = s.now.Add(s.m.Limits.GiveUpAfter)
		if s.next(Input{Claimed: true}); s.run.State != Waiting || s.run.Reason.Kind != WaitsForPredecessor {
			t.Errorf("while its predecessor is live, the run is %s with the reason %+v", s.run.State, s.run.Reason)
		}
		s.run.WaitsFor = ""
		if s.next(Input{Claimed: true}); len(s.calls) != 1 || s.run.Worked > 0 {
			t.Errorf("after the end of its predecessor: calls %+v, worked %v; want one call and no time", s.calls, s.run.Worked)
		}
	})
}
