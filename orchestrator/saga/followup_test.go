package saga

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// newFollowed returns a run of a workflow that has Then and one step. The call of the step is in flight.
func newFollowed(t *testing.T, then func(thing, End) []FollowUp) *stepped {
	t.Helper()
	def, err := Define(Workflow[thing]{
		Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
		Retry:  func(context.Context, thing, string) (Request, error) { return Request{}, nil },
		Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
		Steps: []Step[thing]{{
			Name: "make", Claim: func(s *thing, _ string) string { return s.ID },
			Find: func(context.Context, *thing) (Found, error) { return Absent, nil },
			Do:   func(context.Context, *thing) error { return nil },
			Undo: func(context.Context, *thing) error { return nil },
		}},
		Then: then,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &stepped{t: t, now: time.Unix(100000, 0), m: Machine{
		Def: def, Limits: Limits{LateWindow: 90 * time.Second, Deadline: 15 * time.Minute, GiveUpAfter: 24 * time.Hour},
	}}
	if s.run, _, err = s.m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, s.now); err != nil {
		t.Fatal(err)
	}
	s.next(Input{})
	return s
}

func TestTheEndOfARunContainsItsFollowUps(t *testing.T) {
	var ends []End
	then := func(s thing, end End) []FollowUp {
		ends = append(ends, end)
		return []FollowUp{
			{Workflow: "later", ID: s.ID, Input: thing{ID: s.ID, From: s.From}, DueAt: end.Now.Add(time.Hour), Reason: end.Cause},
			{Workflow: "other", ID: s.ID},
		}
	}
	want := func(now time.Time, from string, cause *Failure) []FollowUp {
		return []FollowUp{
			{
				Workflow: "later", ID: "i", Input: json.RawMessage(`{"id":"i"` + from + `}`), DueAt: now.Add(time.Hour), Reason: cause,
			},
			{Workflow: "other", ID: "i", Input: json.RawMessage("null")},
		}
	}
	t.Run("success", func(t *testing.T) {
		ends = nil
		s := newFollowed(t, then)
		done := s.came(nil)
		done.Outcomes[0].Output = json.RawMessage(`{"from":"do"}`)
		s.now = s.now.Add(time.Minute)
		d := s.next(done)
		if s.run.State != Succeeded || !reflect.DeepEqual(d.FollowUps, want(s.now, `,"from":"do"`, nil)) {
			t.Errorf("the run is %s, with the follow-ups %+v", s.run.State, d.FollowUps)
		}
		if !reflect.DeepEqual(ends, []End{{Now: s.now, RunID: "r"}}) {
			t.Errorf("Then got %+v", ends)
		}
	})
	t.Run("compensation", func(t *testing.T) {
		ends = nil
		s := newFollowed(t, then)
		if d := s.next(s.came(&Classification{Class: upstream.Permanent, Failure: Failure{Code: "no"}})); d.FollowUps != nil {
			t.Errorf("a compensating run has the follow-ups %+v", d.FollowUps)
		}
		d := s.next(s.came(nil))
		cause := s.run.Cause
		if s.run.State != Compensated || cause == nil || !reflect.DeepEqual(d.FollowUps, want(s.now, "", cause)) {
			t.Errorf("the run is %s, with the follow-ups %+v", s.run.State, d.FollowUps)
		}
		if !reflect.DeepEqual(ends, []End{{Cause: cause, Now: s.now, RunID: "r"}}) {
			t.Errorf("Then got %+v", ends)
		}
	})
}

func TestARecheckDoesNotCallThen(t *testing.T) {
	calls := 0
	s := newFollowed(t, func(thing, End) []FollowUp { calls++; return []FollowUp{{Workflow: "later", ID: "i"}} })
	s.compensated()
	for range recheckAfter {
		s.now = *s.run.DueAt
		s.next(Input{Claimed: true})
		if d := s.next(s.came(nil)); d.FollowUps != nil {
			t.Errorf("a re-check has the follow-ups %+v", d.FollowUps)
		}
	}
	if s.run.Rechecks != 0 || calls != 1 {
		t.Errorf("%d re-checks are to come, and Then was called %d times, want once", s.run.Rechecks, calls)
	}
}

// If the follow-ups of a run cannot be computed, the run does not end, but waits for an operator. A retry computes the follow-ups
// again.
func TestWithoutItsFollowUpsARunDoesNotEnd(t *testing.T) {
	for what, broken := range map[string]func() []FollowUp{
		"Then panics":                   func() []FollowUp { panic("a fault") },
		"the input cannot be encoded":   func() []FollowUp { return []FollowUp{{Workflow: "later", ID: "i", Input: func() {}}} },
		"the follow-up has no id":       func() []FollowUp { return []FollowUp{{Workflow: "later"}} },
		"the follow-up has no workflow": func() []FollowUp { return []FollowUp{{ID: "i"}} },
	} {
		for _, end := range []RunState{Succeeded, Compensated} {
			t.Run(what+", "+string(end), func(t *testing.T) {
				repaired := false
				s := newFollowed(t, func(thing, End) []FollowUp {
					if repaired {
						return []FollowUp{{Workflow: "later", ID: "i"}}
					}
					return broken()
				})
				if end == Compensated { // without the fault, the run would now be re-checked
					s.next(s.came(&Classification{Class: upstream.Permanent, MaybeDone: true}))
					s.next(s.came(nil))
					s.now = s.now.Add(91 * time.Second)
					s.next(Input{Claimed: true})
				}
				d := s.next(s.came(nil))
				if !s.run.held() || s.run.Reason.Code != "step-panicked" || !d.Release || d.DropToken {
					t.Fatalf("the run is %s for %+v", s.run.State, s.run.Reason)
				}
				if s.run.EndedAt != nil || s.run.DueAt != nil || s.run.Rechecks != 0 {
					t.Errorf("the run has ended at %v, is due at %v, and has %d re-checks to come", s.run.EndedAt, s.run.DueAt, s.run.Rechecks)
				}
				if len(d.FollowUps) > 0 || d.Log == nil || !strings.Contains(d.Log.Error(), "the end of run r") {
					t.Errorf("the decision has the follow-ups %+v and logs %v", d.FollowUps, d.Log)
				}
				retry := func() Decision {
					return s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: "op"}}})
				}
				if retry(); !s.run.held() {
					t.Errorf("after a retry with the same fault the run is %s", s.run.State)
				}
				repaired = true
				if d := retry(); s.run.State != end || len(d.FollowUps) != 1 || len(d.Calls) > 0 {
					t.Errorf("after the repair, the run is %s with the follow-ups %+v", s.run.State, d.FollowUps)
				}
			})
		}
	}
}
