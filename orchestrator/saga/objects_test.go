package saga

import (
	"slices"
	"testing"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// TestAnUndoAccountsForTheObjects checks which objects of a run are stored as removed after an undo.
func TestAnUndoAccountsForTheObjects(t *testing.T) {
	refused := &Classification{Class: upstream.Permanent}
	for name, c := range map[string]struct {
		step    string
		removed []Object
		failed  *Classification
		want    []string
	}{
		"a role is revoked on a project that the run adopted":          {step: "invite", removed: []Object{{Kind: "role", ID: "theirs/u/r"}}, want: []string{"theirs/u/r"}},
		"an earlier undo revoked the role, and its answer was lost":    {step: "invite", want: []string{"theirs/u/r"}},
		"the undo of a role is refused":                                {step: "invite", failed: refused},
		"the project is removed":                                       {step: "make", removed: []Object{{Kind: "project", ID: "ours"}}, want: []string{"ours", "ours/u/r"}},
		"an earlier undo removed the project, and its answer was lost": {step: "make", want: []string{"ours", "ours/u/r"}},
		"the undo of the project is refused":                           {step: "make", failed: refused},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t)
			s.run.Steps = append(s.run.Steps, StepRow{Name: "invite", Position: 1, After: []string{"make"}})
			s.run.Objects = []Object{
				{Step: "make", Kind: "project", ID: "ours", Origin: Own},
				{Step: "adopt", Kind: "project", ID: "theirs", Origin: Adopted},
				{Step: "invite", Kind: "role", ID: "ours/u/r", Origin: Own},
				{Step: "invite", Kind: "role", ID: "theirs/u/r", Origin: Own},
				{Step: "invite", Kind: "role", ID: "theirs/v/r", Origin: Adopted},
			}
			for i := range s.run.Steps {
				row := &s.run.Steps[i]
				row.State, row.Attempts, row.StartedAt, row.InFlight = StepUndone, 1, &s.now, ""
			}
			s.run.State, s.run.Cause = Compensating, &Failure{Code: "x"}
			row := s.run.Step(c.step)
			row.State, row.Undos, row.InFlight = StepUndoing, 1, CallUndo
			d := s.next(Input{Outcomes: []Outcome{{
				Call: Call{Step: c.step, Kind: CallUndo, Attempt: 1}, StartedAt: s.now, EndedAt: s.now, Removed: c.removed, Err: c.failed,
			}}})
			if got := removedIn(s.run.Objects); !slices.Equal(got, c.want) {
				t.Errorf("the run records %q as removed, want %q", got, c.want)
			}
			if got := removedIn(d.Objects); !slices.Equal(got, c.want) {
				t.Errorf("the checkpoint removes %q, want %q", got, c.want)
			}
		})
	}
}

// If the undo of a project is skipped, LeftBehind contains the project and the roles on the project, and no other object.
func TestASkippedUndoLeavesTheObjectsThatBelongToTheObject(t *testing.T) {
	s := newStepped(t)
	s.run.Steps = append(s.run.Steps, StepRow{Name: "invite", Position: 1, After: []string{"make"}})
	s.run.Objects = []Object{
		{Step: "make", Kind: "project", ID: "ours", Name: "p", Origin: Own},
		{Step: "invite", Kind: "role", ID: "ours/u/r", Name: "member", Origin: Own},
		{Step: "invite", Kind: "role", ID: "ours/u/gone", Origin: Own, RemovedAt: &s.now},
		{Step: "invite", Kind: "role", ID: "ours2/u/r", Origin: Own},
	}
	for i := range s.run.Steps {
		row := &s.run.Steps[i]
		row.State, row.Attempts, row.StartedAt, row.Undos, row.InFlight = StepUndone, 1, &s.now, 1, ""
	}
	s.run.Step("make").State = StepUndoFailed
	s.run.State, s.run.Cause = Stuck, &Failure{Code: "x"}
	s.next(Input{Actions: []Action{{ID: 1, Name: SkipStep, Step: "make", Who: "op", Why: "it stays"}}})
	want := []LeftBehind{
		{Step: "make", Kind: "project", ID: "ours", Name: "p"},
		{Step: "make", Kind: "role", ID: "ours/u/r", Name: "member"},
	}
	if !slices.Equal(s.run.LeftBehind, want) {
		t.Errorf("left behind %+v, want %+v", s.run.LeftBehind, want)
	}
	if s.run.left(s.run.Step("invite")) || s.run.State != Compensated {
		t.Errorf("the run is %s; left behind %+v", s.run.State, s.run.LeftBehind)
	}
}

func TestAnObjectHasTheRequestOfItsCall(t *testing.T) {
	s := newStepped(t)
	in := s.came(nil)
	in.Outcomes[0].RequestID, in.Outcomes[0].Objects = "req-1", []Object{{Step: "make", Kind: "thing", ID: "i", Origin: Own}}
	d := s.next(in)
	want := Object{Step: "make", Kind: "thing", ID: "i", Origin: Own, RequestID: "req-1"}
	if !slices.Equal(s.run.Objects, []Object{want}) || !slices.Equal(d.Objects, []Object{want}) {
		t.Errorf("the run has %+v and the checkpoint %+v, want %+v in both", s.run.Objects, d.Objects, want)
	}
	if in.Outcomes[0].Objects[0].RequestID != "" {
		t.Error("the decision changed the outcome in its input")
	}
}

func removedIn(objects []Object) (ids []string) {
	for _, o := range objects {
		if o.RemovedAt != nil {
			ids = append(ids, o.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
