package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

func readBack(t *testing.T, s fixture) {
	n := s.create(t, nil)
	if got, want := show(t, s.read(t, n.Run.ID)), show(t, n.Run); got != want {
		t.Errorf("created:\n got %s\nwant %s", got, want)
	}
	cp := checkpoint(n)
	failure := saga.Failure{Code: "x", Detail: "ü", FixBy: saga.FixByOperator, At: epoch}
	cp.Run.Reason, cp.Run.Cause = &saga.Reason{Kind: saga.WaitsForRetry, Failure: failure, Until: &epoch}, &failure
	cp.Run.LeftBehind = []saga.LeftBehind{{Step: "a", Kind: "customer"}}
	cp.Run.State, cp.Run.Worked, cp.Run.Probes, cp.Run.TakeOvers = saga.Waiting, time.Second, 3, 1
	if result := s.commit(t, cp); result != (saga.CommitResult{}) {
		t.Fatalf("committing: %+v", result)
	}
	want := *cp.Run
	want.Version, want.Objects = 2, cp.Objects
	if got := s.read(t, n.Run.ID); show(t, got) != show(t, &want) {
		t.Errorf("committed:\n got %s\nwant %s", show(t, got), show(t, &want))
	}
	if epoch, version, err := s.Tip(t.Context(), n.Run.ID); epoch != 1 || version != 2 || err != nil {
		t.Errorf("its tip: epoch %d, version %d, %v; want 1 and 2", epoch, version, err)
	}
	events, err := s.Events(t.Context(), n.Run.ID, 1, 10)
	if err != nil || len(events) != 1 || fmt.Sprint(events[0]) != fmt.Sprint(cp.Events[0]) {
		t.Errorf("events %v, %v; want %v", events, err, cp.Events)
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

func fence(t *testing.T, s fixture) {
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
			t.Errorf("%s: %v, and its neighbour %v; want ErrFenced and nil", what, results[0].Err, results[1].Err)
		}
		if after := show(t, s.read(t, n.Run.ID)); after != before {
			t.Errorf("%s: something was written:\n %s\n %s", what, before, after)
		}
	}
	events, err := s.Events(t.Context(), n.Run.ID, 0, 10)
	if err != nil || len(events) != 1 {
		t.Errorf("events of a fenced run: %v, %v; want the first alone", events, err)
	}
}

func badRow(t *testing.T, s fixture) {
	bad, good := checkpoint(s.create(t, nil)), checkpoint(s.create(t, nil))
	bad.Events[0].Seq = 1 // is taken
	results := s.Commit(t.Context(), epoch, []saga.Checkpoint{bad, good})
	if !errors.Is(results[0].Err, saga.ErrBadRow) || results[1].Err != nil {
		t.Errorf("got %v and %v, want ErrBadRow and nil", results[0].Err, results[1].Err)
	}
	if got := s.read(t, good.Run.ID).Version; got != 2 {
		t.Errorf("the good run has version %d, want 2", got)
	}
	if got := s.read(t, bad.Run.ID).Step("a").State; got != saga.StepRunning {
		t.Errorf("the bad run's step is %s: half of its checkpoint was written", got)
	}
}

func filters(t *testing.T, s fixture) {
	a, b := s.create(t, nil), s.create(t, func(r *saga.Run) {
		r.Merchant, r.User, r.Workflow, r.CreatedAt = "m2", "u2", "w2", epoch.Add(time.Hour)
	})
	s.commit(t, checkpoint(a))
	for want, filters := range map[string][]saga.Filter{
		a.Run.ID:            {{Merchant: "m"}, {User: "u"}, {Workflow: "w"}, {Customer: "c-" + a.Run.ID}, {Before: b.Run.ID}},
		b.Run.ID:            {{Merchant: "m2"}, {User: "u2"}, {Workflow: "w2"}, {Since: epoch.Add(time.Minute)}},
		b.Run.ID + a.Run.ID: {{}, {State: saga.Running}},
		"":                  {{State: saga.Stuck}, {Project: "x"}, {Subscription: "x"}, {Merchant: "m", User: "u2"}},
	} {
		for _, f := range filters {
			f.Limit = 10
			runs, err := s.Runs(t.Context(), f)
			var ids strings.Builder
			for _, r := range runs {
				ids.WriteString(r.ID)
			}
			if err != nil || ids.String() != want {
				t.Errorf("%+v: %s, %v; want %s", f, ids.String(), err, want)
			}
		}
	}
}
