package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/engine"
	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store/storetest"
)

func TestActions(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { return errNeedsPerson }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	ask := func(id string, name saga.ActionName, step string) error {
		_, err := b.Act(t.Context(), saga.Action{RunID: id, Name: name, Step: step, Who: "op", Why: "because"})
		return err
	}
	run := b.until(t, b.start(t, nil).ID, saga.Waiting)
	want(t, "reason", run.Reason.Kind, saga.WaitsForOperator)
	want(t, "actions", run.Actions(), []saga.ActionName{saga.Retry, saga.Compensate, saga.Cancel})
	if err := ask(run.ID, saga.SkipStep, "b"); err == nil || !strings.HasSuffix(err.Error(), "no step can be skipped now") {
		t.Errorf("skipping a step that is not optional: got %v", err)
	}

	delete(w.hooks, "do b")
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	w.hooks["undo b"] = func(context.Context, int) error { return errRefused }
	if err := ask(run.ID, saga.Retry, ""); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Stuck)
	want(t, "stuck with", run.Reason.Step+", actions "+fmt.Sprint(run.Actions()), "b, actions [retry skip]")
	if err := ask(run.ID, saga.SkipStep, "c"); err == nil || !strings.HasSuffix(err.Error(), `"c" cannot be skipped now; steps that can be skipped: b`) {
		t.Errorf("skipping another step: got %v", err)
	}
	if err := ask(run.ID, saga.SkipStep, "b"); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Compensated)
	want(t, "left behind", run.LeftBehind, []saga.LeftBehind{{Step: "b", Kind: "thing", ID: "b"}})
	want(t, "what is left", w.present(), []string{"b"})

	delete(w.hooks, "do c")
	successor, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "again"})
	if err != nil {
		t.Fatal(err)
	}
	b.until(t, successor.ID, saga.Succeeded)
	byKey, err := b.store.RunOfKey(t.Context(), "m", run.Key)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the key stands for", byKey.ID, successor.ID)
	if _, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry}); err == nil {
		t.Error("a run was retried twice")
	}
}

func TestARetryThatALaterRunMakesNeedlessNamesThatRun(t *testing.T) {
	w := newWorld()
	w.hooks["do c"] = func(context.Context, int) error { return errRefused }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.until(t, b.start(t, nil).ID, saga.Compensated)
	delete(w.hooks, "do c")
	later := b.until(t, b.start(t, nil).ID, saga.Succeeded)
	_, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "again"})
	accepted := later.CreatedAt.UTC().Format(time.RFC3339)
	want(t, "error", fmt.Sprint(err), "retry refused: run "+later.ID+" of the same user (accepted "+accepted+
		") has already succeeded with the same effect; if the effect is wanted twice, the portal must order again with a new key")
}

func TestHoldAndCancel(t *testing.T) {
	w := newWorld()
	entered, gate := make(chan struct{}), make(chan struct{})
	w.hooks["do a"] = func(context.Context, int) error { entered <- struct{}{}; <-gate; return nil }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.start(t, nil)
	<-entered
	if _, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Hold, Who: "op", Why: "look first"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { v, err := b.store.Actions(t.Context(), run.ID); return err == nil && len(v) == 0 })
	close(gate)
	run = b.until(t, run.ID, saga.Waiting)
	want(t, "held", string(run.Reason.Code)+": "+run.Reason.Detail, "held: look first")
	want(t, "done before", w.present(), []string{"a"})
	if _, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Cancel, Who: "m", Why: "changed my mind"}); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Compensated)
	want(t, "cause", string(run.Cause.Code), "cancelled")
	want(t, "what is left", w.present(), []string(nil))
}

func TestAnActionThatComesTooLateChangesNothingThatIsShown(t *testing.T) {
	b := serve(t, open(t, storetest.SQLite(t)), newWorld(), nil)
	run := b.until(t, b.start(t, nil).ID, saga.Succeeded)
	now := run.UpdatedAt.Add(time.Minute)
	if err := b.store.AddAction(t.Context(), now, saga.Action{RunID: run.ID, Name: saga.Hold, Who: "op", At: now}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { v, err := b.store.Actions(t.Context(), run.ID); return err == nil && len(v) == 0 })
	later, err := b.store.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "updated at", later.UpdatedAt, run.UpdatedAt)
}

func TestAPanicHoldsTheRun(t *testing.T) {
	w := newWorld()
	w.hooks["do b"] = func(context.Context, int) error { panic("boom") }
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	run := b.until(t, b.start(t, nil).ID, saga.Waiting)
	want(t, "reason", string(run.Reason.Code), "step-panicked")
}

func TestDefineRefusesWhatCannotRun(t *testing.T) {
	do := func(context.Context, *state) error { return nil }
	good := saga.Step[state]{Name: "a", Do: do, NoUndo: "it does nothing"}
	for what, steps := range map[string][]saga.Step[state]{
		"no step":              nil,
		"no name":              {{Do: do, NoUndo: "x"}},
		"a slash in a name":    {{Name: "a/b", Do: do, NoUndo: "x"}},
		"no Do":                {{Name: "a", NoUndo: "x"}},
		"no Undo or NoUndo":    {{Name: "a", Do: do}},
		"both Undo and NoUndo": {{Name: "a", Do: do, Undo: do, NoUndo: "x"}},
		"a name twice":         {good, good},
		"an unknown After":     {{Name: "a", Do: do, NoUndo: "x", After: []string{"b"}}},
		"a circle": {
			{Name: "a", Do: do, NoUndo: "x", After: []string{"b"}}, {Name: "b", Do: do, NoUndo: "x", After: []string{"a"}},
		},
	} {
		w := newWorld().workflow()
		w.Steps = steps
		if _, err := saga.Define(w); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	w := newWorld().workflow()
	w.Steps = []saga.Step[state]{good}
	if _, err := saga.Define(w); err != nil {
		t.Error(err)
	}
}

func TestAReleaseThatDoesNotKnowAStepHoldsTheRun(t *testing.T) {
	w := newWorld()
	database := storetest.SQLite(t)
	b := serve(t, open(t, database), w, nil)
	w.hooks["do b"] = func(context.Context, int) error { return errDown }
	run := b.until(t, b.start(t, nil).ID, saga.Waiting)
	b.stop()
	older := serve(t, open(t, database), w, func(o *engine.Options) {
		d := w.workflow()
		d.Steps = slices.DeleteFunc(d.Steps, func(s saga.Step[state]) bool { return s.Name == "b" || s.Name == "c" })
		o.Workflows = []*saga.Definition{must(saga.Define(d))}
	})
	waitFor(t, func() bool {
		r, err := older.store.Run(t.Context(), run.ID)
		return err == nil && r.Reason != nil && r.Reason.Code == "step-unknown"
	})
}

func TestARunThatKeepsKillingItsReplicaIsHeld(t *testing.T) {
	w := newWorld()
	b := serve(t, open(t, storetest.SQLite(t)), w, nil)
	now := time.Now()
	run := &saga.Run{
		ID: newID(), Workflow: "toy", WorkflowVersion: 1, Subject: "s", Input: []byte("{}"), CreatedAt: now, UpdatedAt: now,
		BudgetFrom: now, DueAt: &now, State: saga.Running, HoldsSubject: true, TakeOvers: 2, Version: 1,
		// Two replicas were killed at this step.
		Steps: []saga.StepRow{{Name: "a", State: saga.StepRunning, Attempts: 1, InFlight: saga.CallDo}},
	}
	if err := b.store.Create(t.Context(), saga.NewRun{Run: run}); err != nil {
		t.Fatal(err)
	}
	run = b.until(t, run.ID, saga.Waiting)
	want(t, "reason, calls", string(run.Reason.Code)+fmt.Sprint(w.calls()), "taken-over-too-often[]")
	if _, err := b.Act(t.Context(), saga.Action{RunID: run.ID, Name: saga.Retry, Who: "op", Why: "once more"}); err != nil {
		t.Fatal(err)
	}
	b.until(t, run.ID, saga.Succeeded)
}
