package saga

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// newPivoted returns a run of a workflow with the steps `prepare`, `remove` and `tell`, in this order. The step `remove` is a
// pivot. The call of `prepare` is in flight.
func newPivoted(t *testing.T) *stepped {
	t.Helper()
	do := func(context.Context, *thing) error { return nil }
	find := func(context.Context, *thing) (Found, error) { return Absent, nil }
	def, err := Define(Workflow[thing]{
		Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
		Retry:  func(context.Context, thing, string) (Request, error) { return Request{}, nil },
		Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
		Steps: []Step[thing]{
			{Name: "prepare", Find: find, Claim: func(s *thing, _ string) string { return s.ID }, Do: do, Undo: do},
			{Name: "remove", After: []string{"prepare"}, Find: find, Do: do, Pivot: "nothing can bring it back"},
			{Name: "tell", After: []string{"remove"}, Do: do, NoUndo: "a test"},
		},
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

// heldPastItsPivot checks that the run waits for an operator, offers neither compensation nor cancelling, and has undone nothing.
func (s *stepped) heldPastItsPivot() {
	s.t.Helper()
	if !s.run.held() || s.run.Reason.FixBy != FixByOperator || s.run.Cause != nil || s.run.Step("prepare").Undos > 0 {
		s.t.Fatalf("the run is %s for %+v, with cause %v; want it held for an operator", s.run.State, s.run.Reason, s.run.Cause)
	}
	for _, name := range []ActionName{Compensate, Cancel} {
		refused, ok := errors.AsType[*RefusedError](s.run.Accepts(Action{Name: name}))
		if !ok || !strings.Contains(refused.Why, "step remove has begun") {
			s.t.Errorf("%s: got %v, want a refusal that names the step", name, refused)
		}
	}
}

var (
	refusedForGood = &Classification{Class: upstream.Permanent, Failure: Failure{Code: "no", FixBy: FixByMerchant}}
	soonAgain      = &Classification{Class: upstream.Transient, Failure: Failure{Code: "busy"}}
)

func TestFromTheFirstAttemptOfAPivotARunOnlyGoesForward(t *testing.T) {
	for what, fails := range map[string]func(s *stepped){
		"the pivot is refused": func(s *stepped) { s.next(s.came(refusedForGood)) },
		"the pivot is not done in time": func(s *stepped) {
			s.now = s.now.Add(16 * time.Minute)
			s.next(s.came(soonAgain))
		},
		"no replica executes the run for 25 hours": func(s *stepped) {
			s.next(s.came(soonAgain))
			s.now = s.now.Add(25 * time.Hour)
			s.next(Input{Claimed: true})
		},
		"the step after the pivot is refused": func(s *stepped) {
			s.next(s.came(nil))
			s.next(s.came(refusedForGood))
		},
		"an operator has asked for compensation": func(s *stepped) {
			s.next(Input{Actions: []Action{{ID: 1, Name: Compensate, Who: "op"}, {ID: 2, Name: Cancel, Who: "op"}}})
			s.next(s.came(refusedForGood))
		},
		"the answer to the pivot is lost": func(s *stepped) {
			s.next(s.came(&Classification{Class: upstream.Permanent, MaybeDone: true, Failure: Failure{Code: "lost"}}))
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newPivoted(t)
			s.next(s.came(nil))
			fails(s)
			s.heldPastItsPivot()
			s.next(Input{Claimed: true, Actions: []Action{{ID: 3, Name: Retry, Who: "op"}}})
			for !s.run.State.Ended() {
				s.next(s.came(nil))
			}
			if s.run.State != Succeeded {
				t.Errorf("after a retry the run is %s, want succeeded", s.run.State)
			}
		})
	}
}

func TestBeforeItsPivotARunIsCompensated(t *testing.T) {
	s := newPivoted(t)
	s.next(s.came(refusedForGood))
	s.next(s.came(nil))
	if s.run.State != Compensated || s.run.Step("remove").Begun() {
		t.Errorf("the run is %s, want compensated", s.run.State)
	}
	s = newPivoted(t)
	s.next(Input{Actions: []Action{{ID: 1, Name: Cancel, Who: "shop"}}})
	s.next(s.came(nil))
	s.next(s.came(nil))
	if s.run.State != Compensated || s.run.Step("remove").Begun() {
		t.Errorf("the cancelled run is %s, want compensated", s.run.State)
	}
}

func TestAPivotIsDefinedWithFind(t *testing.T) {
	do := func(context.Context, *thing) error { return nil }
	find := func(context.Context, *thing) (Found, error) { return Absent, nil }
	for what, step := range map[string]Step[thing]{
		"needs Find":              {Name: "a", Do: do, Pivot: "for ever"},
		"may not be Optional":     {Name: "a", Do: do, Find: find, Pivot: "for ever", Optional: true},
		"one of Undo, NoUndo and": {Name: "a", Do: do, Find: find, Pivot: "for ever", NoUndo: "reads"},
	} {
		_, err := Define(Workflow[thing]{
			Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
			Retry:  func(context.Context, thing, string) (Request, error) { return Request{}, nil },
			Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s }, Steps: []Step[thing]{step},
		})
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want an error that contains %q", err, what)
		}
	}
}
