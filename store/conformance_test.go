package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenantry/tenantry/orchestrator/saga"
	"github.com/tenantry/tenantry/store"
	"github.com/tenantry/tenantry/store/storetest"
)

// Both databases have to behave alike: each test here runs on each.
func conforms(t *testing.T, test func(t *testing.T, s *store.Store)) {
	for name, database := range map[string]func(testing.TB) string{
		"SQLite": storetest.SQLite, "PostgreSQL": storetest.PostgreSQL,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, database(t), secret)
			if _, err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Join(t.Context(), "r1", epoch.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// epoch is when every test begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// leased is a new run that replica r1 works on.
func leased(change func(*saga.Run)) saga.NewRun {
	id := newID()
	due := epoch
	run := &saga.Run{
		ID: id, Workflow: "w", WorkflowVersion: 1, Merchant: "m", Subject: "m:" + id, User: "u", Plan: "p", Key: id,
		Input: []byte(`{"a":1}`), CreatedAt: epoch, UpdatedAt: epoch, BudgetFrom: epoch, DueAt: &due, State: saga.Running,
		HoldsSubject: true, OnFailure: saga.FailureCompensates, Replica: "r1", Epoch: 1, Version: 1, Seq: 1,
		Steps: []saga.StepRow{
			{Name: "a", State: saga.StepRunning, Attempts: 1, StartedAt: &due},
			{Name: "b/x", Position: 1, After: []string{"a"}, Optional: true, State: saga.StepPending},
		},
	}
	if change != nil {
		change(run)
	}
	return saga.NewRun{Run: run, Events: []saga.Event{{RunID: id, Seq: 1, At: epoch, Kind: saga.EventAccepted, Who: "me"}}}
}

// checkpoint says that step a of a run has succeeded.
func checkpoint(n saga.NewRun) saga.Checkpoint {
	run := *n.Run
	run.Steps = slices.Clone(run.Steps)
	run.Steps[0].State, run.Steps[0].Output, run.Steps[0].EndedAt = saga.StepSucceeded, []byte(`{"b":2}`), &epoch
	run.Seq = 2
	event := saga.Event{RunID: run.ID, Seq: 2, At: epoch, Epoch: 1, Kind: saga.EventSucceeded, Step: "a", Attempt: 1, StartedAt: epoch}
	object := saga.Object{Step: "a", Kind: "customer", ID: "c-" + run.ID, Name: "C", Origin: saga.Own}
	return saga.Checkpoint{
		Run: &run, Replica: "r1", Steps: run.Steps[:1], Events: []saga.Event{event}, Objects: []saga.Object{object},
	}
}

func create(t *testing.T, s *store.Store, n saga.NewRun) {
	t.Helper()
	if err := s.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *store.Store, id string) *saga.Run {
	t.Helper()
	run, err := s.Run(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestACheckpointIsReadBackAsItWasWritten(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leased(nil)
		create(t, s, n)
		if got, want := fmt.Sprintf("%+v", *read(t, s, n.Run.ID)), fmt.Sprintf("%+v", *n.Run); got != want {
			t.Errorf("created:\n got %s\nwant %s", got, want)
		}
		cp := checkpoint(n)
		failure := saga.Failure{Code: "x", Detail: "ü", FixBy: saga.FixByOperator, At: epoch}
		cp.Run.Reason, cp.Run.Cause = &saga.Reason{Kind: saga.WaitsForRetry, Failure: failure, Until: &epoch}, &failure
		cp.Run.LeftBehind = []saga.LeftBehind{{Step: "a", Kind: "customer"}}
		cp.Run.State, cp.Run.Worked, cp.Run.Probes, cp.Run.TakeOvers = saga.Waiting, time.Second, 3, 1
		if results := s.Commit(t.Context(), epoch, []saga.Checkpoint{cp}); results[0] != (saga.CommitResult{}) {
			t.Fatalf("committing: %+v", results[0])
		}
		want := *cp.Run
		want.Version, want.Objects = 2, cp.Objects
		got := read(t, s, n.Run.ID)
		if show(*got) != show(want) {
			t.Errorf("committed:\n got %s\nwant %s", show(*got), show(want))
		}
		events, err := s.Events(t.Context(), n.Run.ID, 1, 10)
		if err != nil || len(events) != 1 || fmt.Sprint(events[0]) != fmt.Sprint(cp.Events[0]) {
			t.Errorf("events %v, %v; want %v", events, err, cp.Events)
		}
	})
}

func show(r saga.Run) string {
	encoded, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

func TestEveryPartOfTheFenceHolds(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leased(nil)
		create(t, s, n)
		before := fmt.Sprintf("%+v", *read(t, s, n.Run.ID))
		for what, spoil := range map[string]func(*saga.Checkpoint){
			"another version": func(cp *saga.Checkpoint) { cp.Run.Version = 7 },
			"another epoch":   func(cp *saga.Checkpoint) { cp.Run.Epoch = 7 },
			"another replica": func(cp *saga.Checkpoint) { cp.Replica = "r2" },
			"no such run":     func(cp *saga.Checkpoint) { cp.Run.ID = newID() },
		} {
			cp := checkpoint(n)
			spoil(&cp)
			good := checkpoint(leasedIn(t, s))
			results := s.Commit(t.Context(), epoch, []saga.Checkpoint{cp, good})
			if !errors.Is(results[0].Err, saga.ErrFenced) || results[1].Err != nil {
				t.Errorf("%s: %v, and its neighbour %v; want ErrFenced and nil", what, results[0].Err, results[1].Err)
			}
			if after := fmt.Sprintf("%+v", *read(t, s, n.Run.ID)); after != before {
				t.Errorf("%s: something was written:\n %s\n %s", what, before, after)
			}
		}
		events, err := s.Events(t.Context(), n.Run.ID, 0, 10)
		if err != nil || len(events) != 1 {
			t.Errorf("events of a fenced run: %v, %v; want the first alone", events, err)
		}
	})
}

func leasedIn(t *testing.T, s *store.Store) saga.NewRun {
	n := leased(nil)
	create(t, s, n)
	return n
}

func TestABadRowFailsItsRunAlone(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		bad, good := checkpoint(leasedIn(t, s)), checkpoint(leasedIn(t, s))
		bad.Events[0].Seq = 1 // is taken
		results := s.Commit(t.Context(), epoch, []saga.Checkpoint{bad, good})
		if !errors.Is(results[0].Err, saga.ErrBadRow) || results[1].Err != nil {
			t.Errorf("got %v and %v, want ErrBadRow and nil", results[0].Err, results[1].Err)
		}
		if got := read(t, s, good.Run.ID).Version; got != 2 {
			t.Errorf("the good run has version %d, want 2", got)
		}
		if got := read(t, s, bad.Run.ID).Step("a").State; got != saga.StepRunning {
			t.Errorf("the bad run's step is %s: half of its checkpoint was written", got)
		}
	})
}

func TestOneKeyIsOneRun(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		var all sync.WaitGroup
		results := make(chan error, 200)
		for range 200 {
			all.Go(func() {
				results <- s.Create(t.Context(), leased(func(r *saga.Run) { r.Key = "the same" }))
			})
		}
		all.Wait()
		close(results)
		made := 0
		for err := range results {
			if err == nil {
				made++
			} else if !errors.Is(err, saga.ErrKeyUsed) {
				t.Error(err)
			}
		}
		runs, err := s.Runs(t.Context(), saga.Filter{Limit: 1000})
		if err != nil || made != 1 || len(runs) != 1 {
			t.Errorf("%d were told that they made it, %d runs exist, %v; want one", made, len(runs), err)
		}
	})
}

func TestOneSubjectHasOneHolder(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		var all sync.WaitGroup
		results := make(chan error, 50)
		for range 50 {
			all.Go(func() {
				results <- s.Create(t.Context(), leased(func(r *saga.Run) { r.Subject = "m:c" }))
			})
		}
		all.Wait()
		close(results)
		made := 0
		for err := range results {
			if err == nil {
				made++
			} else if _, busy := errors.AsType[*saga.SubjectBusyError](err); !busy {
				t.Error(err)
			}
		}
		if made != 1 {
			t.Errorf("%d runs hold the subject, want one", made)
		}
	})
}

func TestATokenIsSealedAndForgotten(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leased(nil)
		n.Token, n.TokenExpiresAt = "gAAAA-canary", epoch.Add(time.Hour)
		create(t, s, n)
		token, err := s.Token(t.Context(), n.Run.ID)
		if err != nil || token != "gAAAA-canary" {
			t.Fatalf("opened %q, %v", token, err)
		}
		cp := checkpoint(n)
		cp.DropToken = true
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{cp}); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
		if _, err := s.Token(t.Context(), n.Run.ID); !errors.Is(err, saga.ErrNoToken) {
			t.Errorf("after its use: %v, want ErrNoToken", err)
		}
		other := leased(nil)
		other.Token, other.TokenExpiresAt = "x", epoch.Add(time.Hour)
		create(t, s, other)
		if err := s.DeleteExpiredTokens(t.Context(), epoch.Add(2*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Token(t.Context(), other.Run.ID); !errors.Is(err, saga.ErrNoToken) {
			t.Errorf("after its expiry: %v, want ErrNoToken", err)
		}
	})
}

func TestARunThatWasRetriedOrHasASuccessorOfAnother(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		old := leasedIn(t, s)
		retry := func(r *saga.Run) { r.RetryOf, r.Key = old.Run.ID, old.Run.Key }
		first := leased(retry)
		create(t, s, first)
		if err := s.Create(t.Context(), leased(retry)); !errors.Is(err, saga.ErrRetried) {
			t.Errorf("a second successor: %v, want ErrRetried", err)
		}
		byKey, err := s.RunOfKey(t.Context(), "m", old.Run.Key)
		if err != nil || byKey.ID != first.Run.ID || read(t, s, old.Run.ID).RetriedBy != first.Run.ID {
			t.Errorf("the key stands for %v, %v; want the successor", byKey, err)
		}
		end := checkpoint(first)
		end.Run.State, end.Run.EndedAt, end.Run.HoldsSubject = saga.Succeeded, &epoch, false
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{end}); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
		other := leased(func(r *saga.Run) { r.RetryOf = "0" })
		if err := s.Create(t.Context(), other); !errors.Is(err, saga.ErrAlreadySucceeded) {
			t.Errorf("a retry after a success for the same user and plan: %v, want ErrAlreadySucceeded", err)
		}
	})
}

func TestRunsAreFiltered(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		a, b := leasedIn(t, s), leased(func(r *saga.Run) {
			r.Merchant, r.User, r.Workflow, r.CreatedAt = "m2", "u2", "w2", epoch.Add(time.Hour)
		})
		create(t, s, b)
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{checkpoint(a)}); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
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
	})
}
