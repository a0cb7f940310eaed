package saga

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `stepped` contains one run and a simulated clock, and makes the run's decisions one by one.
type stepped struct {
	t   *testing.T
	m   Machine
	run *Run
	now time.Time

	calls []Call // the calls of the last decision
}

func newStepped(t *testing.T) *stepped {
	t.Helper()
	s := &stepped{t: t, now: time.Unix(100000, 0), m: Machine{
		Def:    new(called).definition(t),
		Limits: Limits{LateWindow: 90 * time.Second, Deadline: 15 * time.Minute, GiveUpAfter: 24 * time.Hour},
	}}
	var err error
	if s.run, _, err = s.m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, s.now); err != nil {
		t.Fatal(err)
	}
	s.next(Input{})
	return s
}

func (s *stepped) next(in Input) Decision {
	in.Now = s.now
	d := s.m.Next(s.run, in)
	s.run, s.calls = d.Run, d.Calls
	return d
}

// The method `came` returns an Input that contains the outcome of the call in flight.
func (s *stepped) came(failed *Classification) Input {
	s.t.Helper()
	i := slices.IndexFunc(s.run.Steps, func(row StepRow) bool { return row.InFlight != "" })
	if i < 0 {
		s.t.Fatal("no call is in flight")
	}
	row := s.run.Steps[i]
	c := Call{Step: row.Name, Kind: row.InFlight, Attempt: row.Attempts}
	if c.Undoes() {
		c.Attempt = row.Undos
	}
	return Input{Outcomes: []Outcome{{Call: c, StartedAt: s.now, EndedAt: s.now, Err: failed}}}
}

// The method `compensated` drives the run to the state Compensated: Do gets no answer, and then the undo and its verification
// succeed.
func (s *stepped) compensated() {
	s.t.Helper()
	s.next(s.came(&Classification{Class: upstream.Permanent, MaybeDone: true}))
	s.next(s.came(nil))
	s.now = s.now.Add(91 * time.Second)
	s.next(Input{Claimed: true})
	s.next(s.came(nil))
	if s.run.State != Compensated || s.run.Rechecks != len(recheckAfter) {
		s.t.Fatalf("the run is %s with %d re-checks to come", s.run.State, s.run.Rechecks)
	}
}

// A decision reuses the state that the previous decision computed. If a step has changed the state in between, the decision
// computes the state again.
func TestACallIsGivenWhatTheStepsBeforeItAdded(t *testing.T) {
	do := func(context.Context, *thing) error { return nil }
	def, err := Define(Workflow[thing]{
		Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
		Retry:  func(context.Context, thing, string) (Request, error) { return Request{}, nil },
		Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
		Steps: []Step[thing]{
			{Name: "first", Do: do, NoUndo: "a test"},
			{Name: "second", After: []string{"first"}, Do: do, NoUndo: "a test"},
			{Name: "third", After: []string{"second"}, Do: do, NoUndo: "a test"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := Machine{Def: def, Limits: Limits{GiveUpAfter: time.Hour}}
	run, _, err := m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	d := m.Next(run, Input{Now: time.Unix(2, 0)})
	for _, added := range []string{"", `{"from":"second"}`} {
		c := d.Calls[0]
		d = m.Next(d.Run, Input{Now: time.Unix(3, 0), State: d.State, Outcomes: []Outcome{{
			Call: c, StartedAt: time.Unix(2, 0), EndedAt: time.Unix(3, 0), Output: json.RawMessage(added),
		}}})
	}
	if c := d.Calls[0]; c.Step != "third" || string(c.State) != `{"from":"second","id":"i"}` {
		t.Errorf("step %s is given %s", c.Step, c.State)
	}
}

func TestARetryOfAWaitingRunGivesItNewTime(t *testing.T) {
	s := newStepped(t)
	s.next(s.came(&Classification{Class: upstream.Transient, RetryAfter: time.Hour}))
	s.now = s.now.Add(20 * time.Minute)
	s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: "op"}}})
	s.now = s.now.Add(time.Second)
	s.next(s.came(&Classification{Class: upstream.Transient}))
	if s.run.Cause != nil || s.run.Worked > time.Minute {
		t.Errorf("a second after the retry the run has worked %v and fails with %+v", s.run.Worked, s.run.Cause)
	}
}

// A replica may retry a run that was held because replicas ended. Such a retry does not start the run's time limits again.
func TestARetryOfAReplicaGivesNoNewTime(t *testing.T) {
	s := newStepped(t)
	accepted := s.run.BudgetFrom
	for range maxTakeOvers {
		s.run.TakeOvers++ // Queue.Claim increments TakeOvers
		s.next(Input{Claimed: true})
	}
	if !s.run.LostTooManyReplicas() {
		t.Fatalf("the run is %s, with the reason %+v", s.run.State, s.run.Reason)
	}
	s.now = s.now.Add(time.Hour)
	s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: ByReplica("r")}}})
	if s.run.State != Running || !s.run.BudgetFrom.Equal(accepted) {
		t.Errorf("the run is %s, and its limit counts from %v, want %v", s.run.State, s.run.BudgetFrom, accepted)
	}
}

func TestWhatCannotBeStoredLeavesNoCallInFlight(t *testing.T) {
	t.Run("a re-check", func(t *testing.T) {
		s := newStepped(t)
		s.compensated()
		s.now = s.now.Add(10 * time.Minute)
		s.next(Input{Claimed: true})
		refused := s.m.Next(s.run, Input{Now: s.now, Outcomes: s.came(nil).Outcomes})
		d := s.m.Unstorable(s.run, refused, s.now)
		if !d.Release || d.Run.Rechecks != len(recheckAfter) || d.Run.DueAt == nil || !d.Run.DueAt.Equal(s.now.Add(time.Hour)) {
			t.Errorf("released: %t, re-checks to come: %d, due: %v", d.Release, d.Run.Rechecks, d.Run.DueAt)
		}
		if later := s.now.Add(30 * time.Minute); d.Run.Unsettled(later, s.m.Limits.LateWindow) {
			t.Error("half an hour later, the run still blocks other runs with its subject")
		}
		s.run, s.now = d.Run, s.now.Add(30*time.Hour)
		refused = s.m.Next(s.run, Input{Now: s.now, Claimed: true})
		if d = s.m.Unstorable(s.run, refused, s.now); d.Run.Rechecks != len(recheckAfter)-1 {
			t.Errorf("after a day there are still %d re-checks to come", d.Run.Rechecks)
		}
	})
	t.Run("an undo", func(t *testing.T) {
		s := newStepped(t)
		s.next(s.came(&Classification{Class: upstream.Permanent, MaybeDone: true}))
		refused := s.m.Next(s.run, Input{Now: s.now, Outcomes: s.came(nil).Outcomes})
		d := s.m.Unstorable(s.run, refused, s.now)
		if !d.Release || !d.Run.AtRest() || d.Run.Reason.Code != "not-storable" {
			t.Errorf("released: %t, at rest: %t, reason %+v", d.Release, d.Run.AtRest(), d.Run.Reason)
		}
		if !slices.ContainsFunc(d.Steps, func(r StepRow) bool { return r.Name == "make" && r.InFlight == "" && r.UnknownAt != nil }) {
			t.Errorf("the write has %+v, want the step without its call", d.Steps)
		}
	})
	t.Run("a do", func(t *testing.T) {
		s := newStepped(t)
		refused := s.m.Next(s.run, Input{Now: s.now, Outcomes: s.came(nil).Outcomes})
		s.run = s.m.Unstorable(s.run, refused, s.now).Run
		d := s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: "op"}}})
		if len(d.Calls) != 1 || !d.Calls[0].Look || s.run.TakeOvers != 0 {
			t.Errorf("after the operator's retry: calls %+v, %d take-overs; want one call that looks first", d.Calls, s.run.TakeOvers)
		}
	})
}

// An action may arrive after the last re-check. The database may refuse the checkpoint that consumes this action.
func TestWhatCannotBeStoredOfARunThatIsOverLeavesItOver(t *testing.T) {
	s := newStepped(t)
	s.compensated()
	s.run.Rechecks = 0
	refused := s.m.Next(s.run, Input{Now: s.now, Claimed: true, Actions: []Action{{ID: 7, Name: Hold, Who: "op"}}})
	if !refused.Stores {
		t.Fatal("the action is not consumed")
	}
	d := s.m.Unstorable(s.run, refused, s.now)
	if d.Run.State != Compensated || d.Run.DueAt != nil || !slices.Equal(d.Consumed, []int64{7}) {
		t.Errorf("the run is %s, due at %v, consumed are %v", d.Run.State, d.Run.DueAt, d.Consumed)
	}
}

// A run that is held at its deadline needs an operator, even if its last failure would have passed by itself.
func TestARunThatIsHeldForItsDeadlineIsForAnOperator(t *testing.T) {
	s := newStepped(t)
	s.run.OnFailure = FailureHolds
	s.now = s.now.Add(25 * time.Hour)
	s.next(s.came(&Classification{Class: upstream.Unavailable, Failure: Failure{Code: "away", FixBy: FixByNobody}}))
	if r := s.run.Reason; r == nil || r.Code != "deadline-exceeded" || r.FixBy != FixByOperator {
		t.Errorf("the reason is %+v", r)
	}
}

// If no replica has executed a run for days, the run has expired. An expired run must not succeed by itself.
func TestAnExpiredRunStartsNoStep(t *testing.T) {
	waiting := func(t *testing.T) *stepped {
		s := newStepped(t)
		s.next(s.came(&Classification{Class: upstream.Unavailable, RetryAfter: time.Hour, Failure: Failure{Code: "away", Detail: "it is down"}}))
		if s.run.Replica != "" || s.run.State != Waiting {
			t.Fatalf("the run is %s", s.run.State)
		}
		return s
	}
	t.Run("in time", func(t *testing.T) {
		s := waiting(t)
		s.now = s.run.BudgetFrom.Add(s.m.Limits.GiveUpAfter)
		if s.next(Input{Claimed: true}); len(s.calls) != 1 || s.calls[0].Kind != CallDo {
			t.Errorf("calls %+v; want that the step is tried again", s.calls)
		}
	})
	t.Run("compensate", func(t *testing.T) {
		s := waiting(t)
		s.now = s.run.BudgetFrom.Add(s.m.Limits.GiveUpAfter + 1)
		s.next(Input{Claimed: true})
		if c := s.run.Cause; c == nil || c.Code != "deadline-exceeded" || c.FixBy != FixByOperator || c.Detail != "the run was not finished within 24h0m0s: it is down" {
			t.Errorf("the cause is %+v", c)
		}
		if len(s.calls) != 1 || s.calls[0].Kind != CallUndo {
			t.Errorf("calls %+v; want only the undo of the step that was tried", s.calls)
		}
	})
	t.Run("hold", func(t *testing.T) {
		s := waiting(t)
		s.run.OnFailure = FailureHolds
		s.now = s.now.Add(48 * time.Hour)
		s.next(Input{Claimed: true})
		if r := s.run.Reason; len(s.calls) > 0 || !s.run.held() || r.Code != "deadline-exceeded" {
			t.Errorf("calls %+v, the run is %s, the reason is %+v; want that the run waits for an operator", s.calls, s.run.State, r)
		}
		if s.next(Input{Claimed: true, Actions: []Action{{ID: 1, Name: Retry, Who: "op"}}}); len(s.calls) != 1 || s.calls[0].Kind != CallDo {
			t.Errorf("calls %+v after the operator's retry; want that the step is tried again", s.calls)
		}
	})
	t.Run("a call is in flight", func(t *testing.T) {
		s := newStepped(t)
		s.run.Steps = append(s.run.Steps, StepRow{Name: "other", State: StepPending})
		s.now = s.now.Add(48 * time.Hour)
		if s.next(Input{}); len(s.calls) > 0 || s.run.Cause != nil {
			t.Errorf("calls %+v, the cause is %+v; want that the run waits for the outcome", s.calls, s.run.Cause)
		}
		if s.next(s.came(nil)); s.run.Cause == nil {
			t.Error("the run is not compensated after the outcome")
		}
	})
	t.Run("the last call succeeds", func(t *testing.T) {
		s := newStepped(t)
		s.now = s.now.Add(48 * time.Hour)
		if s.next(s.came(nil)); s.run.State != Succeeded {
			t.Errorf("the run is %s; want that it succeeds, because no step is left", s.run.State)
		}
	})
}

func TestTheRunWaitsForTheOtherCallsBeforeItIsGivenUp(t *testing.T) {
	s := newStepped(t)
	s.run.Steps = append(s.run.Steps, StepRow{Name: "other", State: StepRunning, InFlight: CallDo, Attempts: 1, StartedAt: &s.now})
	refused := s.m.Next(s.run, Input{Now: s.now, Outcomes: s.came(nil).Outcomes})
	d := s.m.Unstorable(s.run, refused, s.now)
	if d.Release || d.Run.Hold == nil || d.Run.Step("other").InFlight != CallDo || len(d.Calls) > 0 {
		t.Errorf("released: %t, hold: %v, the other step: %+v", d.Release, d.Run.Hold, d.Run.Step("other"))
	}
}

func TestAStepThatRunsWithoutACallIsUnknown(t *testing.T) {
	s := newStepped(t)
	s.run.Step("make").InFlight = "" // as stored by a release that did not store in_flight
	d := s.next(Input{Claimed: true})
	if s.run.Step("make").Unknowns != 1 || len(d.Calls) != 1 || !d.Calls[0].Look {
		t.Errorf("the step: %+v; calls: %+v", s.run.Step("make"), d.Calls)
	}
}

func TestAnEndedRunIsNotDueForEver(t *testing.T) {
	s := newStepped(t)
	s.compensated()
	s.run.Rechecks = 0
	s.m.Def = nil
	if d := s.next(Input{Claimed: true}); !d.Release || d.Run.DueAt != nil {
		t.Errorf("released: %t, due: %v", d.Release, d.Run.DueAt)
	}
}

func TestAStepOfANewerReleaseClaimsEverything(t *testing.T) {
	s := newStepped(t)
	for step, want := range map[string]bool{"make": false, "newer": true} {
		claims, err := s.m.Def.Claims(&Run{Input: []byte(`{"id": "i"}`), Steps: []StepRow{{Name: step}}}, "something else")
		if err != nil || claims != want {
			t.Errorf("step %s: got %t, %v, want %t", step, claims, err, want)
		}
	}
}

func TestWhichClaimsAreOpposites(t *testing.T) {
	of := func(value string) string { return Setting("plan of s", value) }
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"disabled p", Not("disabled p"), true},
		{"disabled p", "disabled p", false},
		{"disabled p", Not("disabled q"), false},
		{of("small"), of("large"), true},
		{of("small"), of("small"), false},
		{of("small"), Setting("plan of t", "large"), false},
		{of("small"), Not(of("small")), true},
		{of("small"), "plan of s", false},
	} {
		if there, back := opposite(c.a, c.b), opposite(c.b, c.a); there != c.want || back != c.want {
			t.Errorf("%q and %q: got %t and %t, want %t", c.a, c.b, there, back, c.want)
		}
	}
}

func TestWhatFailsBeforeTheCallAddsNoDoubtAndNoObjects(t *testing.T) {
	for name, find := range map[string]func() error{
		"an error":     func() error { return errors.New("down") },
		"a panic":      func() error { panic("find") },
		"a lost lease": func() error { return ErrLeaseLost },
	} {
		for _, kind := range []CallKind{CallDo, CallRecheck} {
			t.Run(name+" in "+string(kind), func(t *testing.T) {
				d := new(called).definition(t)
				d.steps[0].find = func(ctx context.Context, _ json.RawMessage) (Found, json.RawMessage, error) {
					CallOf(ctx).Made(Object{ID: "found"})
					return Absent, nil, find()
				}
				o := d.Attempt(t.Context(), Call{Step: "make", Kind: kind, Look: true, State: []byte(`{"id":"i"}`)}, &called{})
				if o.Err == nil || o.Err.MaybeDone || len(o.Objects) > 0 {
					t.Errorf("got %+v with objects %v", o.Err, o.Objects)
				}
			})
		}
	}
}

func TestARecheckIsNotHeldUpByWhatItHasNothingToUndoOf(t *testing.T) {
	for name, c := range map[string]struct{ other, before []string }{
		"a step before": {nil, []string{"other"}},
		"a step after":  {[]string{"make"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t)
			s.compensated()
			s.run.Step("make").After = c.before
			s.run.Steps = append(s.run.Steps, StepRow{ // stored by a release in which the step had no Undo
				Name: "other", Position: 1, After: c.other, State: StepSucceeded, Attempts: 1, StartedAt: &s.now, EndedAt: &s.now,
			})
			s.now = s.now.Add(10 * time.Minute)
			if d := s.next(Input{Claimed: true}); len(d.Calls) != 1 {
				t.Fatalf("the calls of the re-check are %+v, due again %v", d.Calls, d.Run.DueAt)
			}
			if d := s.next(s.came(nil)); d.Run.Rechecks != len(recheckAfter)-1 {
				t.Errorf("%d re-checks are still to come; due %v", d.Run.Rechecks, d.Run.DueAt)
			}
		})
	}
}

// A replica of an older release may have no code for a step of the run. This replica must leave the re-check to other replicas.
func TestARecheckOfAStepWithoutCodeIsMadeAgainLater(t *testing.T) {
	s := newStepped(t)
	s.compensated()
	undone := *s.run.Step("make")
	undone.Name, undone.Position = "other", 1
	s.run.Steps = append(s.run.Steps, undone)
	s.now = s.now.Add(10 * time.Minute)
	s.next(Input{Claimed: true})
	d := s.next(s.came(nil))
	if d.Run.Rechecks != len(recheckAfter) || d.Run.DueAt == nil || !d.Run.DueAt.Equal(s.now.Add(time.Hour)) {
		t.Errorf("%d re-checks are still to come; due %v", d.Run.Rechecks, d.Run.DueAt)
	}
	s.now = s.now.Add(25 * time.Hour)
	s.next(Input{Claimed: true})
	if d = s.next(s.came(nil)); d.Run.Rechecks != len(recheckAfter)-1 {
		t.Errorf("after a day %d re-checks are still to come; due %v", d.Run.Rechecks, d.Run.DueAt)
	}
	if why := d.Events[len(d.Events)-1].Why; why != "given up: step-unknown: this release has no code for step other; use a release that has this code" {
		t.Errorf("the re-check ended with the reason %q", why)
	}
}

// A re-check may be retried for months, and its events are never deleted. Therefore a re-check adds one event per reason, not one
// per attempt.
func TestARecheckThatCannotLookTellsItOnceAndGoesOnEveryHour(t *testing.T) {
	s := newStepped(t)
	s.compensated()
	s.now = s.now.Add(10 * time.Minute)
	down := Failure{Code: "down", Detail: "nobody answers"}
	var told []EventKind
	d := s.next(Input{Claimed: true})
	const days = 100
	attempts := 0
	for end := s.now.Add(days * 24 * time.Hour); s.now.Before(end); attempts++ {
		d = s.next(s.came(&Classification{Class: upstream.Unavailable, Failure: down}))
		for _, e := range d.Events {
			told = append(told, e.Kind)
		}
		if d.Wake == nil {
			t.Fatal("the re-check is dropped")
		}
		s.now = *d.Wake
		d = s.next(Input{Claimed: d.Release})
	}
	if len(told) != 1 || attempts > days*25 {
		t.Errorf("%d attempts in %d days added %d events", attempts, days, len(told))
	}
	down.Code = "refused"
	if d = s.next(s.came(&Classification{Class: upstream.Transient, Failure: down})); len(d.Events) != 1 {
		t.Errorf("an error with another code added the events %+v, want one event", d.Events)
	}
	s.now = *d.Wake
	s.next(Input{Claimed: true})
	if d = s.next(s.came(nil)); d.Run.Rechecks != 0 && d.Run.Rechecks != len(recheckAfter)-1 {
		t.Errorf("%d re-checks are to come", d.Run.Rechecks)
	}
}
