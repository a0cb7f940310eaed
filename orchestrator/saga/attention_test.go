package saga

import (
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The method `in` checks that the run needs attention from the time s.now + want.
func (s *stepped) in(what string, want time.Duration) {
	s.t.Helper()
	switch at := s.run.AttentionAt; {
	case at == nil:
		s.t.Errorf("%s: the run is %s and needs no attention, want attention in %v", what, s.run.State, want)
	case at.Sub(s.now) != want:
		s.t.Errorf("%s: the run is %s and needs attention in %v, want %v", what, s.run.State, at.Sub(s.now), want)
	}
}

func (s *stepped) never(what string) {
	s.t.Helper()
	if at := s.run.AttentionAt; at != nil {
		s.t.Errorf("%s: the run is %s and needs attention in %v, want no attention", what, s.run.State, at.Sub(s.now))
	}
}

var down = &Classification{Class: upstream.Unavailable, RetryAfter: 10 * time.Minute, Failure: Failure{Code: "down"}}

func TestARunThatWaitsForAnUpstreamNeedsAttentionAfterAQuarterOfAnHour(t *testing.T) {
	s := newStepped(t)
	s.never("the run has begun")
	s.next(s.came(down))
	s.in("the upstream is down", Patience)
	s.now = s.now.Add(10 * time.Minute)
	s.next(Input{Claimed: true})
	s.in("the next attempt is in flight", 5*time.Minute)
	s.next(s.came(down))
	s.in("the upstream is still down", 5*time.Minute)
	s.now = s.now.Add(10 * time.Minute)
	s.next(Input{Claimed: true})
	s.next(s.came(down))
	s.in("after 20 minutes", -5*time.Minute)
	s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: "op"}}})
	s.never("a person has retried the run")
	s.next(s.came(down))
	s.in("the upstream is down again", Patience)
	s.now = s.now.Add(10 * time.Minute)
	s.next(Input{Claimed: true})
	s.next(s.came(&Classification{Class: upstream.Transient, RetryAfter: 10 * time.Minute}))
	s.in("the upstream has answered, and is busy", 5*time.Minute)
	s.now = s.now.Add(10 * time.Minute)
	s.next(Input{Claimed: true})
	s.next(s.came(down))
	s.in("the upstream is down again after its answer", -5*time.Minute)
	s.now = s.now.Add(10 * time.Minute)
	s.next(Input{Claimed: true})
	s.next(s.came(nil))
	s.never("the run has succeeded")
}

// If an undo fails because the upstream is down or busy, the run needs attention after a quarter of an hour without progress.
func TestAnUndoThatFailsForLongNeedsAttention(t *testing.T) {
	for _, class := range []upstream.Class{upstream.Transient, upstream.Unavailable} {
		s := newStepped(t)
		s.next(s.came(down))
		s.now = s.now.Add(10 * time.Minute)
		s.next(Input{Claimed: true})
		s.next(s.came(&Classification{Class: upstream.Permanent, MaybeDone: true}))
		s.never("the run has begun to compensate")
		since := s.now
		for s.now.Sub(since) < 200*time.Hour {
			s.next(s.came(&Classification{Class: class, RetryAfter: time.Hour}))
			s.in("the undo has failed", since.Add(Patience).Sub(s.now))
			s.now = s.now.Add(time.Hour)
			s.next(Input{Claimed: true})
			s.in("the undo is tried again", since.Add(Patience).Sub(s.now))
		}
		s.next(s.came(nil))
		s.never("the undo has succeeded")
	}
}

// If one step fails and another step succeeds, Patience starts again.
func TestARunThatMovesNeedsNoAttentionForAQuarterOfAnHour(t *testing.T) {
	s := newStepped(t)
	s.run.Steps = append(s.run.Steps, StepRow{Name: "other", State: StepRunning, InFlight: CallDo, Attempts: 1, StartedAt: &s.now})
	s.next(s.came(down))
	s.in("a step has failed while a call is in flight", Patience)
	s.now = s.now.Add(9 * time.Minute)
	s.next(Input{Outcomes: []Outcome{{Call: Call{Step: "other", Kind: CallDo, Attempt: 1}, StartedAt: s.now, EndedAt: s.now}}})
	s.in("the other step has succeeded", Patience)
}

func TestARunThatIsHeldNeedsAttentionAtOnce(t *testing.T) {
	s := newStepped(t)
	s.next(s.came(down))
	s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Hold, Who: "op"}}})
	s.in("the run is held", 0)
	s.now = s.now.Add(time.Hour)
	s.next(Input{Claimed: true})
	s.in("an hour later", -time.Hour)
	s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Compensate, Who: "op"}}})
	s.never("a person has compensated the run")

	s = newStepped(t)
	s.next(s.came(&Classification{Class: upstream.Blocked}))
	s.in("the upstream blocks the run", 0)
}

func TestARunWithARefusedUndoNeedsAttentionAtOnce(t *testing.T) {
	s := newStepped(t)
	s.next(s.came(&Classification{Class: upstream.Permanent, MaybeDone: true}))
	s.never("the run compensates")
	s.next(s.came(&Classification{Class: upstream.Permanent}))
	s.in("the undo is refused", 0)
	if s.run.State != Stuck {
		t.Errorf("the run is %s, want stuck", s.run.State)
	}
	s.now = s.now.Add(time.Hour)
	s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: "op"}}})
	s.never("a person has retried the undo")
	s.next(s.came(nil))
	s.never("the run is compensated")

	run := Run{State: Compensating, Steps: []StepRow{{State: StepUndoFailed}, {State: StepUndoing, InFlight: CallUndo}}}
	if !run.needsPerson() {
		t.Error("an undo was refused and another undo continues, but the run does not need a person")
	}
	if run.State = Compensated; run.needsPerson() {
		t.Error("a re-check of a compensated run was refused, and the run needs a person")
	}
}
