package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// The type `called` is a test double for a workflow and its Env. A `called` records the calls of an attempt, and returns the
// configured answers.
type called struct {
	log        []string
	found      Found
	findErr    error
	rechecking string
	claimed    Claimed
	envErr     error
}

func (c *called) Token(context.Context, string) (string, error) { return "", ErrNoToken }

func (c *called) Password(string) (string, error) { return "", ErrNoPassword }

func (c *called) Unsettled(context.Context) (string, error) {
	c.log = append(c.log, "rechecking?")
	return c.rechecking, c.envErr
}

func (c *called) Claimed(_ context.Context, _, claim string) (Claimed, error) {
	c.log = append(c.log, claim+" claimed?")
	return c.claimed, c.envErr
}

type thing struct {
	ID   string `json:"id,omitempty"`
	From string `json:"from,omitempty"`
}

// The method `definition` returns a workflow of one step.
func (c *called) definition(t *testing.T) *Definition {
	t.Helper()
	d, err := Define(Workflow[thing]{
		Name: "w", Version: 1,
		Classify: func(err error) Classification {
			return Classification{Class: upstream.Transient, MaybeDone: true, Failure: Failure{Code: "c", Detail: err.Error()}}
		},
		Retry:  func(context.Context, thing, string) (Request, error) { return Request{}, nil },
		Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
		Steps: []Step[thing]{{
			Name: "make",
			Find: func(ctx context.Context, s *thing) (Found, error) {
				c.log = append(c.log, "find")
				s.From = "find"
				CallOf(ctx).Made(Object{ID: "found"})
				return c.found, c.findErr
			},
			Claim: func(s *thing, _ string) string { return "thing " + s.ID },
			Do: func(ctx context.Context, s *thing) error {
				c.log = append(c.log, "do")
				s.From = "do"
				CallOf(ctx).Made(Object{ID: "done"})
				return nil
			},
			Undo: func(ctx context.Context, _ *thing) error {
				c.log = append(c.log, "undo")
				CallOf(ctx).Gone("thing", "x")
				return nil
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhatAnAttemptCallsAndKeeps(t *testing.T) {
	errDown := errors.New("down")
	first, again := Call{Kind: CallDo}, Call{Kind: CallDo, Look: true}
	begins, recheck := Call{Kind: CallDo, Begins: true}, Call{Kind: CallRecheck}
	for name, c := range map[string]struct {
		call  Call
		world called
		want  string
	}{
		"a first attempt":             {first, called{found: Made}, `[do] {"from":"do"} [done] []`},
		"again, absent":               {again, called{found: Absent}, `[find do] {"from":"do"} [done] []`},
		"again, foreign":              {again, called{found: Foreign}, `[find do] {"from":"do"} [done] []`},
		"again, made":                 {again, called{found: Made}, `[find] {"from":"find"} [found] []`},
		"again, usable":               {again, called{found: Usable}, `[find] {"from":"find"} [found] []`},
		"again, the read fails":       {again, called{findErr: errDown}, `[find]  [] [] c down transient`},
		"a run that begins":           {begins, called{}, `[rechecking? do] {"from":"do"} [done] []`},
		"it begins during a re-check": {begins, called{rechecking: "r1"}, `[rechecking?]  [] [] subject-rechecked a call of run r1, which has the same subject, may still take effect transient`},
		"it begins, the read fails":   {begins, called{envErr: errDown}, `[rechecking?]  [] [] c down transient`},
		"an undo":                     {Call{Kind: CallUndo}, called{found: Absent}, `[undo]  [] [x]`},
		"an undo to be verified":      {Call{Kind: CallVerify}, called{found: Absent}, `[undo]  [] [x]`},
		"a re-check, absent":          {recheck, called{found: Absent}, `[find]  [] []`},
		"a re-check, usable":          {recheck, called{found: Usable}, `[find]  [] []`},
		"a re-check, foreign":         {recheck, called{found: Foreign}, `[find]  [] []`},
		"a re-check, made":            {recheck, called{found: Made}, `[find thing i claimed? undo]  [] [x]`},
		"a re-check, a run succeeded": {recheck, called{found: Made, claimed: Claimed{Succeeded: true}}, `[find thing i claimed?]  [] []`},
		"a re-check, a live run claims it": {
			recheck,
			called{found: Made, claimed: Claimed{Live: "r2"}},
			`[find thing i claimed?]  [] [] claimed-by-a-live-run run r2, which has the same subject, may have adopted or changed the effect transient after 1h0m0s`,
		},
		"a re-check, the read fails": {recheck, called{findErr: errDown}, `[find]  [] [] c down transient`},
	} {
		world := c.world
		c.call.Step, c.call.Input, c.call.State = "make", []byte(`{"id":"i"}`), []byte(`{"id":"of a step"}`)
		o := world.definition(t).Attempt(t.Context(), c.call, &world)
		got := fmt.Sprintf("%v %s %v %v", world.log, o.Output, ids(o.Objects), ids(o.Removed))
		if o.Err != nil {
			got += fmt.Sprintf(" %s %s %s", o.Err.Failure.Code, o.Err.Failure.Detail, o.Err.Class)
			if o.Err.MaybeDone {
				got += " maybe done"
			}
			if o.Err.RetryAfter > 0 {
				got += " after " + o.Err.RetryAfter.String()
			}
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func ids(objects []Object) []string {
	all := []string{}
	for _, o := range objects {
		all = append(all, o.ID)
	}
	return all
}

func TestAStepWithUndoIsDefinedWithFindAndClaim(t *testing.T) {
	w := Workflow[thing]{
		Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
		Retry: func(context.Context, thing, string) (Request, error) { return Request{}, nil }, Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
		Steps: []Step[thing]{{Name: "make", Do: func(context.Context, *thing) error { return nil }, Undo: func(context.Context, *thing) error { return nil }}},
	}
	if _, err := Define(w); err == nil {
		t.Error("a step with Undo but without Find and Claim was accepted")
	}
}

// Next must not change the run that it gets, because the engine may call Next again with the same run.
func TestADecisionLeavesTheRunAsItWas(t *testing.T) {
	world := called{}
	d := world.definition(t)
	m := Machine{Def: d, Limits: Limits{LateWindow: time.Minute, Deadline: time.Hour, GiveUpAfter: 24 * time.Hour}}
	now := time.Unix(1000, 0)
	run, _, err := m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(of ...any) string {
		text, err := json.Marshal(of)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for n, in := range []Input{
		{},
		{Outcomes: []Outcome{{Call: Call{Step: "make", Kind: CallDo, Attempt: 1}, Err: &Classification{Class: upstream.Transient, MaybeDone: true}}}},
		{Claimed: true, Actions: []Action{{ID: 1, Name: Hold, Who: "op"}}},
		{Actions: []Action{{ID: 2, Name: Compensate, Who: "op"}}},
		{Outcomes: []Outcome{{Call: Call{Step: "make", Kind: CallUndo, Attempt: 1}, Removed: []Object{{Kind: "thing", ID: "x"}}}}},
	} {
		before := shown(run)
		in.Now = now.Add(time.Duration(n) * time.Second)
		decision := m.Next(run, in)
		if after := shown(run); after != before {
			t.Errorf("decision %d changed the run\nfrom %s\n  to %s", n, before, after)
		}
		again := m.Next(run, in)
		if a, b := shown(decision), shown(again); a != b {
			t.Errorf("decision %d differs the second time\n%s\n%s", n, a, b)
		}
		run = decision.Run
	}
	if run.State != Compensating {
		t.Errorf("the run is %s", run.State)
	}
}

// Next must not change the outcomes in its input, because the caller may still use the outcomes.
func TestADecisionLeavesTheOutcomesAsTheyCame(t *testing.T) {
	s := newStepped(t)
	s.run.Steps = append(s.run.Steps, StepRow{Name: "other", Position: 1, State: StepRunning, InFlight: CallDo, Attempts: 1, StartedAt: &s.now})
	outcomes := []Outcome{{Call: Call{Step: "other", Kind: CallDo}}, {Call: Call{Step: "make", Kind: CallDo}}}
	s.next(Input{Outcomes: outcomes})
	if outcomes[0].Call.Step != "other" {
		t.Errorf("the outcomes of %s and %s changed places", outcomes[1].Call.Step, outcomes[0].Call.Step)
	}
}

func TestEachTimeOfARunIsItsOwn(t *testing.T) {
	s := newStepped(t)
	s.m.Def.steps[0].satisfied = func(json.RawMessage, time.Time) bool { return true }
	run, _, err := s.m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	run = s.m.Next(run, Input{Now: s.now}).Run
	*run.Steps[0].StartedAt = time.Time{}
	if run.Steps[0].EndedAt.IsZero() || run.EndedAt.IsZero() {
		t.Errorf("the step ended at %v and the run at %v: these times changed together with the start of the step", run.Steps[0].EndedAt, run.EndedAt)
	}
}

// NewSubject and Claim use only the run's input. Therefore, the call that begins a run and each call of a re-check contain the
// input.
func TestACallThatAsksAboutOthersHasTheInput(t *testing.T) {
	s := newStepped(t)
	if c := s.calls[0]; !c.Begins || string(c.Input) != `{"id":"i"}` {
		t.Errorf("the first Do of the run has the input %s", c.Input)
	}
	s.compensated()
	s.now = s.now.Add(10 * time.Minute)
	if d := s.next(Input{Claimed: true}); len(d.Calls) != 1 || string(d.Calls[0].Input) != `{"id":"i"}` {
		t.Errorf("the calls of a re-check are %+v", d.Calls)
	}
}

func TestARunAboutANewSubjectWaitsForNoRecheck(t *testing.T) {
	world := called{rechecking: "r1"}
	d := world.definition(t)
	d.newSubject = func(input json.RawMessage) bool { return string(input) == `{"id":"i"}` }
	if o := d.Attempt(t.Context(), Call{Kind: CallDo, Begins: true, Step: "make", Input: []byte(`{"id":"i"}`), State: []byte("{}")}, &world); o.Err != nil {
		t.Errorf("got %+v", o.Err)
	}
}

// A panic in the code of a workflow blocks the run and does not end the replica.
func TestAPanicInAnyCodeOfAWorkflowBlocksTheRun(t *testing.T) {
	for name, breaks := range map[string]func(d *Definition){
		"NewSubject": func(d *Definition) { d.newSubject = func(json.RawMessage) bool { panic("broken") } },
		"Find": func(d *Definition) {
			d.steps[0].find = func(context.Context, json.RawMessage) (Found, json.RawMessage, error) { panic("broken") }
		},
		"Do": func(d *Definition) {
			d.steps[0].do = func(context.Context, json.RawMessage) (json.RawMessage, error) { panic("broken") }
		},
		"Classify": func(d *Definition) {
			d.steps[0].do = func(context.Context, json.RawMessage) (json.RawMessage, error) { return nil, errors.New("down") }
			d.classify = func(error) Classification { panic("broken") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &stepped{t: t, now: time.Unix(100000, 0), m: Machine{Def: new(called).definition(t), Limits: Limits{GiveUpAfter: time.Hour}}}
			breaks(s.m.Def)
			var err error
			if s.run, _, err = s.m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, s.now); err != nil {
				t.Fatal(err)
			}
			c := s.next(Input{}).Calls[0]
			c.Look = true
			o := s.m.Def.Attempt(t.Context(), c, &called{})
			o.EndedAt = s.now
			if s.next(Input{Outcomes: []Outcome{o}}); s.run.Reason == nil || s.run.Reason.Code != "step-panicked" {
				t.Errorf("the run is %s for %+v", s.run.State, s.run.Reason)
			}
		})
	}
}

// If only some runs need a step, Each returns one empty item for these runs. The name of the step then contains no slash and no
// item.
func TestAStepMayBeInSomeRunsOnly(t *testing.T) {
	type order struct{ Paint bool }
	none := func(context.Context, *order) error { return nil }
	d, err := Define(Workflow[order]{
		Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
		Retry:  func(context.Context, order, string) (Request, error) { return Request{}, nil },
		Expect: func(order) []Expected { return nil },
		Result: func(o order) any { return o },
		Steps: []Step[order]{
			{Name: "build", Do: none, NoUndo: "a test"},
			{Name: "paint", After: []string{"build"}, Do: none, NoUndo: "a test", Each: func(o *order) []string {
				if o.Paint {
					return []string{""}
				}
				return nil
			}},
			{Name: "sell", After: []string{"paint"}, Do: none, NoUndo: "a test"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for paint, want := range map[bool]string{true: "[build [] paint [build] sell [paint]]", false: "[build [] sell [build]]"} {
		run, _, err := Machine{Def: d}.Accept(Request{ID: "r", Input: order{paint}}, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		var got []any
		for _, row := range run.Steps {
			got = append(got, row.Name, row.After)
			if row.item() != "" {
				t.Errorf("step %s has the item %q", row.Name, row.item())
			}
		}
		if fmt.Sprint(got) != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}
