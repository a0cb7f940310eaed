package saga

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

var noPassword = &Classification{Class: upstream.Transient, Failure: Failure{
	Code: "password-missing", Detail: ErrNoPassword.Error(), FixBy: FixByMerchant, AwaitsPassword: true,
}}

// A run without its password waits for its caller, and does not need attention.
func TestARunWithoutItsPasswordWaitsForItsCaller(t *testing.T) {
	s := newStepped(t)
	d := s.next(s.came(noPassword))
	if !s.run.AwaitsPassword() || !d.Release || s.run.Reason.FixBy != FixByMerchant || s.run.AttentionAt != nil {
		t.Fatalf("the run is %s, with the reason %+v and attention at %v", s.run.State, s.run.Reason, s.run.AttentionAt)
	}
	s.now = s.now.Add(time.Hour)
	s.next(Input{Claimed: true})
	if len(s.calls) != 0 || !s.run.AwaitsPassword() {
		t.Errorf("a replica without the password calls %v", s.calls)
	}
	s.next(Input{Claimed: true, Password: true})
	if len(s.calls) != 1 || s.calls[0].Kind != CallDo || s.calls[0].Look || s.run.State != Running {
		t.Errorf("the replica with the password calls %+v; the run is %s", s.calls, s.run.State)
	}
	s.next(s.came(nil))
	if s.run.State != Succeeded {
		t.Errorf("the run is %s", s.run.State)
	}
}

// If the caller never sends the password, the run is compensated when it expires.
func TestARunWithoutItsPasswordExpires(t *testing.T) {
	for _, onFailure := range []OnFailure{FailureCompensates, FailureHolds} {
		t.Run(string(onFailure), func(t *testing.T) { expiresWithoutPassword(t, onFailure) })
	}
}

func expiresWithoutPassword(t *testing.T, onFailure OnFailure) {
	s := newStepped(t)
	s.run.OnFailure = onFailure
	s.next(s.came(noPassword))
	s.now = *s.run.DueAt
	if waited := s.now.Sub(s.run.BudgetFrom); waited < s.m.Limits.GiveUpAfter {
		t.Errorf("the run is due after %v", waited)
	}
	s.next(Input{Claimed: true})
	s.next(s.came(noPassword))
	if s.run.Cause == nil || s.run.Cause.Code != "deadline-exceeded" {
		t.Errorf("the run is %s, with the cause %+v", s.run.State, s.run.Cause)
	}
}

// The type `owned` is the state of a run that creates its user.
type owned struct {
	Owner string `json:"owner"`
}

func (o *owned) SetUser(id string) { o.Owner = id }

// A run that creates its user learns the user's id from a step. The claims of the run then contain the id, but no other output of a step.
func TestAClaimContainsTheIDOfTheNewUser(t *testing.T) {
	nothing := func(context.Context, *owned) error { return nil }
	d, err := Define(Workflow[owned]{
		Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
		Retry:  func(context.Context, owned, string) (Request, error) { return Request{}, nil },
		Expect: func(owned) []Expected { return nil }, Result: func(owned) any { return nil },
		Steps: []Step[owned]{{
			Name: "make", Do: nothing, Undo: nothing,
			Find:  func(context.Context, *owned) (Found, error) { return Made, nil },
			Claim: func(o *owned, _ string) string { return "thing of " + o.Owner },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for user, claim := range map[string]string{"": "thing of nobody", "u": "thing of u"} {
		run := &Run{
			Input: []byte(`{"owner":"nobody"}`), User: user, Steps: []StepRow{{Name: "make", State: StepSucceeded, Output: []byte(`{"owner":"x"}`)}},
		}
		if claims, err := d.Claims(run, claim); !claims || err != nil {
			t.Errorf("a run for user %q does not claim %q: %v", user, claim, err)
		}
		env := &asked{}
		d.Attempt(t.Context(), Call{Kind: CallRecheck, Step: "make", Input: run.Input, State: []byte(`{"owner":"x"}`), User: user}, env)
		if env.claim != claim {
			t.Errorf("a re-check of a run for user %q asks for %q, want %q", user, env.claim, claim)
		}
	}
}

// The type `asked` is an Env that notes the claim for which a re-check asks.
type asked struct {
	Env

	claim string
}

func (a *asked) Claimed(_ context.Context, _, claim string) (Claimed, error) {
	a.claim = claim
	return Claimed{Succeeded: true}, nil
}

// If an undo keeps an object, the step counts as undone. The run lists the object in LeftBehind, and no re-check looks for the object.
func TestAnUndoMayKeepAnObject(t *testing.T) {
	s := newStepped(t)
	made := Object{Step: "make", Kind: "user", ID: "u", Name: "ada", Origin: Own}
	in := s.came(refusedForGood)
	in.Outcomes[0].Objects = []Object{made}
	s.next(in)
	in = s.came(nil)
	in.Outcomes[0].Kept = "the user has a role assignment"
	d := s.next(in)
	if s.run.State != Compensated || s.run.Step("make").State != StepUndone || s.run.Objects[0].RemovedAt != nil {
		t.Errorf("the run is %s, its objects are %+v", s.run.State, s.run.Objects)
	}
	if got, want := fmt.Sprint(s.run.LeftBehind), fmt.Sprint([]LeftBehind{{Step: "make", Kind: "user", ID: "u", Name: "ada"}}); got != want {
		t.Errorf("left behind: %s; want %s", got, want)
	}
	i := slices.IndexFunc(d.Events, func(e Event) bool { return e.Kind == EventUserKept })
	if i < 0 || d.Events[i].Why != "the user has a role assignment" {
		t.Errorf("the events are %+v", d.Events)
	}
	s.now = s.now.Add(10 * time.Minute)
	s.next(Input{Claimed: true})
	if len(s.calls) != 0 {
		t.Errorf("a re-check calls %+v", s.calls)
	}
}

// An unanswered call may have contained an earlier password. The step repeats the call after the late window, so that the new password stays.
func TestAHandedOverPasswordWaitsForALateCall(t *testing.T) {
	def, err := Define(Workflow[thing]{
		Name: "w", Version: 1, Classify: func(error) Classification { return Classification{} },
		Retry:  func(context.Context, thing, string) (Request, error) { return Request{}, nil },
		Expect: func(thing) []Expected { return nil }, Result: func(s thing) any { return s },
		Steps: []Step[thing]{{Name: "set", Effect: Changes, Do: func(context.Context, *thing) error { return nil }, NoUndo: "a test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := newStepped(t)
	s.m.Def = def
	if s.run, _, err = s.m.Accept(Request{ID: "r", Workflow: "w", Subject: "s", Input: thing{ID: "i"}}, s.now); err != nil {
		t.Fatal(err)
	}
	s.next(Input{})
	s.next(s.came(&Classification{Class: upstream.Transient, MaybeDone: true}))
	until := s.now.Add(s.m.Limits.LateWindow)
	s.now = s.now.Add(30 * time.Second)
	s.next(Input{Claimed: true})
	s.next(s.came(noPassword))
	s.next(Input{Claimed: true, Password: true})
	if len(s.calls) != 0 || s.run.AwaitsPassword() || !s.run.DueAt.Equal(until) || s.run.Reason.Code != "password-late" {
		t.Errorf("before the end of the late window: calls %+v, due at %v, reason %+v", s.calls, s.run.DueAt, s.run.Reason)
	}
	s.now = until
	s.next(Input{Claimed: true})
	if len(s.calls) != 1 {
		t.Errorf("after the late window: calls %+v", s.calls)
	}
}
