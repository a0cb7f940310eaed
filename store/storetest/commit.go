package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func commitEveryField(t *testing.T, s fixture) {
	n := s.create(t, func(r *saga.Run) { r.Cloud, r.Fingerprint = "default", "f" })
	if got, want := show(t, s.read(t, n.Run.ID)), show(t, n.Run); got != want {
		t.Errorf("the created run:\n got %s\nwant %s", got, want)
	}
	cp := checkpoint(n)
	failure := saga.Failure{Code: "x", Detail: "ü", FixBy: saga.FixByOperator, At: epoch}
	cp.Run.Reason, cp.Run.Cause = &saga.Reason{Kind: saga.WaitsForRetry, Failure: failure, Until: &epoch}, &failure
	cp.Run.LeftBehind = []saga.LeftBehind{{Step: "a", Kind: "customer"}}
	cp.Run.State, cp.Run.Worked, cp.Run.Rechecks, cp.Run.TakeOvers = saga.Waiting, time.Second, 3, 1
	cp.Run.AttentionAt, cp.Run.User = &epoch, "made-by-the-run"
	cp.Run.Hold, cp.Run.Looked = &saga.Reason{Kind: saga.WaitsForOperator, Failure: failure}, true
	cp.Steps[0] = saga.StepRow{
		Name: "a", State: saga.StepUnknown, Attempts: 2, Undos: 1, Output: []byte(`{"x":1}`), Error: &failure, StartedAt: &epoch, EndedAt: &epoch,
		RetryAt: &epoch, Unknowns: 1, UnknownAt: &epoch, UndoneAt: &epoch, InFlight: saga.CallUndo,
	}
	cp.Run.Steps[0] = cp.Steps[0]
	filled(t, *cp.Run, "RetryOf", "WaitsFor", "RetriedBy", "EndedAt", "Objects", "Handed") // only Take changes Handed
	filled(t, cp.Steps[0], "Position", "After", "Optional", "Pivot")
	filled(t, cp.Objects[0], "RemovedAt")
	if result := s.commit(t, cp); result != (saga.CommitResult{}) {
		t.Fatalf("committing returned %+v; want an empty result", result)
	}
	want := *cp.Run
	want.Version, want.Objects = 2, cp.Objects
	if got := s.read(t, n.Run.ID); show(t, got) != show(t, &want) {
		t.Errorf("the committed run:\n got %s\nwant %s", show(t, got), show(t, &want))
	}
	if epoch, version, err := s.Tip(t.Context(), n.Run.ID); epoch != 1 || version != 2 || err != nil {
		t.Errorf("Tip returned epoch %d, version %d, %v; want epoch 1 and version 2", epoch, version, err)
	}
	events, err := s.Events(t.Context(), n.Run.ID, 1, 10)
	if err != nil || len(events) != 1 || fmt.Sprint(events[0]) != fmt.Sprint(cp.Events[0]) {
		t.Errorf("events %v, %v; want %v", events, err, cp.Events)
	}
}

// The function `filled` checks that a test has set every field of a struct, except the named fields. If a field is added to the
// struct, the test fails until the test sets this field.
func filled(t *testing.T, all any, but ...string) {
	t.Helper()
	value := reflect.ValueOf(all)
	for field, v := range value.Fields() {
		if v.IsZero() && !slices.Contains(but, field.Name) {
			t.Errorf("the test does not set the field %s.%s", value.Type().Name(), field.Name)
		}
	}
}

func show(t *testing.T, r *saga.Run) string {
	t.Helper()
	encoded, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

func commitFenced(t *testing.T, s fixture) {
	n := s.create(t, nil)
	before := show(t, s.read(t, n.Run.ID))
	for what, spoil := range map[string]func(*saga.Checkpoint){
		"another version": func(cp *saga.Checkpoint) { cp.Run.Version = 7 },
		"another epoch":   func(cp *saga.Checkpoint) { cp.Run.Epoch = 7 },
		"another replica": func(cp *saga.Checkpoint) { cp.Replica = "r2" },
		"no such run":     func(cp *saga.Checkpoint) { cp.Run.ID = newID() },
	} {
		cp := checkpoint(n)
		spoil(&cp)
		good := checkpoint(s.create(t, nil))
		results := s.Commit(t.Context(), epoch, []saga.Checkpoint{cp, good})
		if !errors.Is(results[0].Err, saga.ErrFenced) || results[1].Err != nil {
			t.Errorf("%s: the bad and the good checkpoint returned %v and %v; want ErrFenced and nil", what, results[0].Err, results[1].Err)
		}
		if after := show(t, s.read(t, n.Run.ID)); after != before {
			t.Errorf("%s: the fenced checkpoint must not change the run:\nbefore %s\nafter %s", what, before, after)
		}
	}
	events, err := s.Events(t.Context(), n.Run.ID, 0, 10)
	if err != nil || len(events) != 1 {
		t.Errorf("events after the fenced checkpoints: %v, %v; want only the first event", events, err)
	}
}

func commitBadRow(t *testing.T, s fixture) {
	bad, good := checkpoint(s.create(t, nil)), checkpoint(s.create(t, nil))
	bad.Events[0].Seq = 1 // already used
	results := s.Commit(t.Context(), epoch, []saga.Checkpoint{bad, good})
	if !errors.Is(results[0].Err, saga.ErrBadRow) || results[1].Err != nil {
		t.Errorf("the bad and the good checkpoint returned %v and %v; want ErrBadRow and nil", results[0].Err, results[1].Err)
	}
	if got := s.read(t, good.Run.ID).Version; got != 2 {
		t.Errorf("the run with the good checkpoint has version %d; want 2", got)
	}
	if got := s.read(t, bad.Run.ID).Step("a").State; got != saga.StepRunning {
		t.Errorf("the step is %s after the refused checkpoint; want running", got)
	}
}

// commitCopies shows that the caller and the store share no memory.
func commitCopies(t *testing.T, s fixture) {
	n := s.create(t, nil)
	cp := checkpoint(n)
	cp.Run.Cause, cp.Steps[0].Error = &saga.Failure{Code: "x"}, &saga.Failure{Code: "x"}
	s.commit(t, cp)
	before := show(t, s.read(t, n.Run.ID))
	for _, run := range []*saga.Run{n.Run, cp.Run, s.read(t, n.Run.ID)} {
		run.State, run.Input[0], *run.DueAt = "changed", 'X', epoch.Add(time.Hour)
		run.Steps[0].State, *run.Steps[0].StartedAt = "changed", epoch.Add(time.Hour)
		run.Steps[1].After[0] = "changed"
		if run.Cause != nil {
			run.Cause.Code, run.Steps[0].Error.Code, run.Steps[0].Output[0] = "changed", "changed", 'X'
		}
	}
	cp.Events[0].Who, cp.Objects[0].Name = "changed", "changed"
	if after := show(t, s.read(t, n.Run.ID)); after != before {
		t.Errorf("the stored run must not change when the caller changes its copy:\nbefore %s\nafter %s", before, after)
	}
	events, err := s.Events(t.Context(), n.Run.ID, 1, 10)
	if err != nil || len(events) != 1 || events[0].Who != "" {
		t.Errorf("events %+v, %v; want the second event unchanged", events, err)
	}
}

func createFineTimes(t *testing.T, s fixture) {
	fine := epoch.Add(1500 * time.Nanosecond).In(time.FixedZone("", 3600))
	n := s.create(t, func(r *saga.Run) { r.CreatedAt, r.DueAt, r.Worked = fine, &fine, 1500 })
	run, want := s.read(t, n.Run.ID), epoch.Add(time.Microsecond)
	if run.CreatedAt != want || *run.DueAt != want || run.Worked != time.Microsecond {
		t.Errorf("created at %v, due at %v, worked for %v; want %v, %v, 1µs", run.CreatedAt, run.DueAt, run.Worked, want, want)
	}
}

// commitPinned shows that a checkpoint does not change the fields that were pinned when the run was accepted.
func commitPinned(t *testing.T, s fixture) {
	n := s.create(t, nil)
	want := s.read(t, n.Run.ID)
	cp := checkpoint(n)
	cp.Objects, cp.Events = nil, nil
	cp.Run.Workflow, cp.Run.Input, cp.Run.Subject, cp.Run.Key, cp.Run.CreatedAt = "w2", []byte("{}"), "s2", "k2", time.Time{}
	cp.Run.Seq = want.Seq
	changed := n.Run.Steps[0]
	changed.Position, changed.After, changed.Optional, changed.Pivot = 5, []string{"b/x"}, true, true
	cp.Steps = []saga.StepRow{changed}
	s.commit(t, cp)
	want.Version = 2
	if got := s.read(t, n.Run.ID); show(t, got) != show(t, want) {
		t.Errorf("the run after the checkpoint:\n got %s\nwant %s", show(t, got), show(t, want))
	}
}

// commitObjectTwice shows that a checkpoint with two states of the same object stores the last state. If an object is already
// stored, a checkpoint changes only the time of the object's removal.
func commitObjectTwice(t *testing.T, s fixture) {
	n := s.create(t, nil)
	cp := checkpoint(n)
	first := saga.Object{Step: "a", Kind: "project", ID: "1", Name: "first", Origin: saga.Own}
	second := saga.Object{Step: "a", Kind: "project", ID: "1", Name: "second", Origin: saga.Adopted}
	other := saga.Object{Step: "a", Kind: "customer", ID: "2", Origin: saga.Own}
	cp.Objects = []saga.Object{first, other, second}
	s.commit(t, cp)
	cp.Run.Version, cp.Events = 2, nil
	first.RemovedAt = &epoch
	cp.Objects = []saga.Object{first}
	s.commit(t, cp)
	second.RemovedAt = &epoch
	got, want := s.read(t, n.Run.ID), saga.Run{Objects: []saga.Object{other, second}}
	if show(t, &saga.Run{Objects: got.Objects}) != show(t, &want) {
		t.Errorf("objects %+v, want %+v", got.Objects, want.Objects)
	}
}

// commitSubjectHeld shows that a checkpoint cannot take a subject that another run holds.
func commitSubjectHeld(t *testing.T, s fixture) {
	s.create(t, func(r *saga.Run) { r.Subject = "m:c" })
	n := s.create(t, func(r *saga.Run) { r.Subject, r.HoldsSubject = "m:c", false })
	cp := checkpoint(n)
	cp.Run.HoldsSubject = true
	if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{cp}); !errors.Is(r[0].Err, saga.ErrBadRow) {
		t.Errorf("committing a checkpoint that takes another run's subject: %v; want ErrBadRow", r[0].Err)
	}
	if got := s.read(t, n.Run.ID); got.HoldsSubject || got.Version != 1 {
		t.Errorf("the run after the refused checkpoint: %+v; want Version 1, and HoldsSubject false", got)
	}
}
