package saga

import (
	"context"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// A compensation waits until the late window of each unanswered call has ended, even if the call's step has no undo. Otherwise, a late effect
// could appear during the next run with the same subject. Calls that only read do not count.
func TestACompensationWaitsForLateEffectsOfStepsWithoutUndo(t *testing.T) {
	do := func(context.Context, *thing) error { return nil }
	for effect, waits := range map[Effect]bool{Creates: true, Changes: true, Removes: true, Reads: false} {
		def, err := Define(Workflow[thing]{
			Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
			Retry:  func(context.Context, thing, string) (Request, error) { return Request{}, nil },
			Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
			Steps: []Step[thing]{{Name: "set", Effect: effect, Do: do, NoUndo: "a test"}},
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
		s.next(s.came(&Classification{Class: upstream.Transient, MaybeDone: true}))
		s.now = s.now.Add(30 * time.Second)
		s.next(Input{Claimed: true})
		s.next(s.came(refusedForGood))
		if got := s.run.State == Compensating && s.run.Reason.Kind == WaitsForLateWindow; got != waits {
			t.Errorf("%v: the run is %s, with the reason %+v", effect, s.run.State, s.run.Reason)
		}
		s.now = s.now.Add(61 * time.Second)
		s.next(Input{Claimed: true})
		if s.run.State != Compensated || s.run.Unsettled(s.now, s.m.Limits.LateWindow) {
			t.Errorf("%v: after the late window, the run is %s", effect, s.run.State)
		}
	}
}
