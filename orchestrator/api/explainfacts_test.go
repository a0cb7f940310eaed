package api

import (
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/explain"
	"github.com/tenantry/tenantry/orchestrator/saga"
)

// A command names a project only if the failed step has made or used this project. Otherwise, an operator could rename the wrong tenant.
func TestACommandNamesNoProjectOfAnotherStep(t *testing.T) {
	s := &server{Options: Options{Now: time.Now}}
	blocked := func(step string) *saga.Run {
		return &saga.Run{
			ID: "r", State: saga.Waiting, Objects: []saga.Object{{Kind: "project", ID: "p1", Step: "create-tenant/1"}},
			Reason: &saga.Reason{Kind: saga.WaitsForOperator, Failure: saga.Failure{Code: "conflict", Step: step, FixBy: saga.FixByOperator}},
		}
	}
	for step, want := range map[string]string{"create-tenant/1": "--name NEW_NAME p1", "create-tenant/2": "--name NEW_NAME PROJECT"} {
		var commands []string
		for _, next := range s.explainRun(explain.ForOperator, blocked(step), Run{}).Next {
			commands = append(commands, text(next.Command))
		}
		if all := strings.Join(commands, "\n"); !strings.Contains(all, want+"\n") {
			t.Errorf("%s: got %s, want %s", step, all, want)
		}
	}
}

// A command names the project of the failure that the explanation is about, and not that of an earlier failure.
func TestACommandNamesTheProjectOfTheErrorThatMatters(t *testing.T) {
	s := &server{Options: Options{Now: time.Now}}
	disabled := func(step string) *saga.Failure {
		return &saga.Failure{Code: "tenant-disabled", Step: step, FixBy: saga.FixByOperator}
	}
	undoing := saga.StepRow{Name: "second", InFlight: saga.CallUndo, Error: disabled("second")}
	refused := saga.StepRow{Name: "second", State: saga.StepUndoFailed, Error: disabled("second")}
	objects := []saga.Object{{Kind: "project", ID: "p1", Step: "first"}, {Kind: "project", ID: "p2", Step: "second"}}
	for name, run := range map[string]*saga.Run{
		"an attempt is repeated": {State: saga.Compensating, Cause: disabled("first"), Steps: []saga.StepRow{undoing}},
		"an undo is refused": {
			State: saga.Stuck, Steps: []saga.StepRow{refused}, Reason: &saga.Reason{Kind: saga.WaitsForOperator, Failure: *disabled("first")},
		},
	} {
		run.ID, run.Objects = "r", objects
		if x := s.explainRun(explain.ForOperator, run, Run{}); len(x.Next) == 0 || text(x.Next[0].Command) != "openstack project set --enable p2" {
			t.Errorf("%s: got %+v", name, x.Next)
		}
	}
}

func TestTheExplanationOfARunSaysUntilWhenItWaits(t *testing.T) {
	s := &server{Options: Options{Now: time.Now}}
	at := time.Date(2026, 11, 27, 3, 10, 0, 0, time.UTC)
	later := at.Add(time.Hour)
	run := &saga.Run{
		ID: "r", State: saga.Waiting, Steps: []saga.StepRow{{Name: "a", RetryAt: &later}, {Name: "b", RetryAt: &at}},
		Reason: &saga.Reason{Kind: saga.WaitsForRetry, Until: &later, Failure: saga.Failure{Code: "keystone-busy", Service: "keystone"}},
	}
	if got := s.explainRun(explain.ForOperator, run, Run{}).What; !strings.Contains(got, "Tenantry repeats it at 2026-11-27T03:10:00Z.") {
		t.Errorf("got %s", got)
	}
}

// While an undo is refused, or an attempt is repeated, the explanation quotes the error of that step.
func TestTheExplanationQuotesTheErrorThatMatters(t *testing.T) {
	s := &server{Options: Options{Now: time.Now}}
	failed := func(detail string) *saga.Failure {
		return &saga.Failure{Code: "keystone-refused", Detail: detail, FixBy: saga.FixByOperator}
	}
	run := &saga.Run{ID: "r", State: saga.Stuck, Cause: failed("the cause"), Reason: &saga.Reason{Kind: saga.WaitsForOperator, Failure: *failed("no")}, Steps: []saga.StepRow{
		{Name: "a", State: saga.StepUndoFailed, Error: failed("a is in use")}, {Name: "b", State: saga.StepUndoFailed, Error: failed("b is in use")},
	}}
	view := Run{Actions: []string{"retry", "skip"}}
	x := s.explainRun(explain.ForOperator, run, view)
	for _, want := range []string{`step a: "a is in use"`, `step b: "b is in use"`, `the run failed. The error: "the cause"`} {
		if !strings.Contains(text(x.Why), want) {
			t.Errorf("got %s, want %s", text(x.Why), want)
		}
	}
	skips := 0
	for _, next := range x.Next {
		if strings.HasPrefix(text(next.Command), "tenantry runs skip r ") {
			skips++
		}
	}
	if skips != 2 {
		t.Errorf("got %+v, want two commands that skip an undo", x.Next)
	}
	again := &saga.Run{ID: "r", State: saga.Running, Steps: []saga.StepRow{{Name: "a", InFlight: saga.CallDo, Error: failed("a is busy")}}}
	if x := s.explainRun(explain.ForOperator, again, Run{}); !strings.Contains(text(x.Why), `step a: "a is busy"`) {
		t.Errorf("got %s", text(x.Why))
	}
}
