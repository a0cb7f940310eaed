package store_test

import (
	"context"
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

func TestARunBehindAnotherIsClaimedWhenThatEnds(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		first := leased(func(r *saga.Run) { r.Subject = "m:c" })
		create(t, s, first)
		waiting := func(r *saga.Run) {
			r.Subject, r.State, r.WaitsFor, r.HoldsSubject, r.Replica, r.DueAt = "m:c", saga.Waiting, first.Run.ID, false, "", nil
		}
		second, third := leased(waiting), leased(waiting)
		create(t, s, third)
		create(t, s, second) // ids decide who is older, not who came first
		if got := claim(t, s, 10); len(got) != 0 {
			t.Fatalf("claimed %v while the first runs", got)
		}
		end := checkpoint(first)
		end.Run.State, end.Run.EndedAt, end.Run.HoldsSubject, end.Run.Replica, end.Run.DueAt = saga.Succeeded, &epoch, false, "", nil
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{end}); r[0].Err != nil || !r[0].Successor {
			t.Fatalf("ending the first: %+v; want to hear of a successor", r[0])
		}
		if got := claim(t, s, 10); !slices.Equal(got, []string{second.Run.ID}) {
			t.Fatalf("claimed %v, want the older of those that wait, %s, alone", got, second.Run.ID)
		}
		run := read(t, s, second.Run.ID)
		if !run.HoldsSubject || run.WaitsFor != "" || run.Epoch != 2 {
			t.Errorf("the claimed run: %+v", run)
		}
	})
}

func claim(t *testing.T, s *store.Store, limit int) []string {
	t.Helper()
	ids, err := s.Claim(t.Context(), "r1", epoch, limit)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestOnlyWhatIsDueAndUnleasedIsClaimed(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		later := epoch.Add(time.Minute)
		due := leased(func(r *saga.Run) { r.Replica = "" })
		for _, change := range []func(*saga.Run){
			nil, // leased
			func(r *saga.Run) { r.Replica, r.DueAt = "", &later },
			func(r *saga.Run) { r.Replica, r.DueAt = "", nil },
		} {
			create(t, s, leased(change))
		}
		create(t, s, due)
		if got := claim(t, s, 10); !slices.Equal(got, []string{due.Run.ID}) {
			t.Errorf("claimed %v, want %s alone", got, due.Run.ID)
		}
	})
}

func TestTwoReplicasNeverClaimTheSame(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		if _, err := s.Join(t.Context(), "r2", epoch.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			create(t, s, leased(func(r *saga.Run) { r.Replica = "" }))
		}
		var all sync.WaitGroup
		claimed := make(chan []string, 100)
		for i := range 20 {
			all.Go(func() {
				ids, err := s.Claim(t.Context(), fmt.Sprint("r", 1+i%2), epoch, 10)
				if err != nil {
					t.Error(err)
				}
				claimed <- ids
			})
		}
		all.Wait()
		close(claimed)
		seen := map[string]bool{}
		for ids := range claimed {
			for _, id := range ids {
				if seen[id] {
					t.Errorf("run %s was claimed twice", id)
				}
				seen[id] = true
			}
		}
		for _, id := range claim(t, s, 100) { // what rows locked at that moment were skipped
			seen[id] = true
		}
		if len(seen) != 100 {
			t.Errorf("%d runs were claimed, want 100", len(seen))
		}
	})
}

func TestALeaseThatEndedIsGone(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leasedIn(t, s)
		late := epoch.Add(2 * time.Hour) // r1's lease ended an hour ago
		if _, err := s.Renew(t.Context(), "r1", late, late.Add(time.Hour)); !errors.Is(err, saga.ErrLeaseLost) {
			t.Errorf("renewing a lease that has ended: %v, want ErrLeaseLost", err)
		}
		if _, err := s.Join(t.Context(), "r2", late.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		for _, freed := range []bool{true, false} {
			renewal, err := s.Renew(t.Context(), "r2", late, late.Add(time.Hour))
			if err != nil || renewal.Freed != freed {
				t.Errorf("renewing r2: %+v, %v; want freed %t", renewal, err, freed)
			}
		}
		ids, err := s.Claim(t.Context(), "r2", late, 10)
		if err != nil || !slices.Equal(ids, []string{n.Run.ID}) {
			t.Fatalf("claimed %v, %v; want the dead replica's run", ids, err)
		}
		if r := s.Commit(t.Context(), late, []saga.Checkpoint{checkpoint(n)}); !errors.Is(r[0].Err, saga.ErrFenced) {
			t.Errorf("the dead replica wrote: %+v", r[0])
		}
		if err := s.Create(t.Context(), leased(nil)); err == nil {
			t.Error("a run was created leased to a replica that is gone")
		}
	})
}

func TestVerbsAreSeenByTheHolderAndMakeARestingRunDue(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		n := leasedIn(t, s)
		verb := saga.Verb{RunID: n.Run.ID, Name: saga.Hold, Who: "op", Why: "nul \x00 and ü", At: epoch}
		for range 2 {
			if err := s.AddVerb(t.Context(), epoch, verb); err != nil {
				t.Fatal(err)
			}
		}
		r := s.Commit(t.Context(), epoch, []saga.Checkpoint{checkpoint(n)})
		verbs, err := s.Verbs(t.Context(), n.Run.ID)
		if err != nil || len(verbs) != 2 || !r[0].Verbs {
			t.Fatalf("the checkpoint told %+v; verbs %v, %v", r[0], verbs, err)
		}
		rest := checkpoint(n)
		rest.Run.Version, rest.Run.Replica, rest.Run.DueAt = 2, "", nil
		rest.Events[0].Seq, rest.Consumed = 3, []int64{verbs[0].ID, verbs[1].ID}
		if r := s.Commit(t.Context(), epoch, []saga.Checkpoint{rest}); r[0] != (saga.CommitResult{}) {
			t.Errorf("consuming them: %+v", r[0])
		}
		if got := claim(t, s, 10); len(got) != 0 {
			t.Errorf("claimed %v although it rests", got)
		}
		if err := s.AddVerb(t.Context(), epoch, verb); err != nil {
			t.Fatal(err)
		}
		if got := claim(t, s, 10); len(got) != 1 {
			t.Errorf("claimed %v, want the run that a verb waits for", got)
		}
		if err := s.AddVerb(t.Context(), epoch, saga.Verb{RunID: newID()}); !errors.Is(err, saga.ErrNotFound) {
			t.Errorf("a verb for no run: %v", err)
		}
	})
}

func TestHandingBackAndLeaving(t *testing.T) {
	conforms(t, func(t *testing.T, s *store.Store) {
		working, stray := leasedIn(t, s), leasedIn(t, s)
		later := epoch.Add(time.Minute)
		if err := s.HandBack(t.Context(), "r1", later, later, []string{working.Run.ID}); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, stray.Run.ID).Replica + read(t, s, working.Run.ID).Replica; got != "r1" {
			t.Errorf("replicas of both: %q, want the stray one's empty", got)
		}
		if err := s.Leave(t.Context(), "r1", later); err != nil {
			t.Fatal(err)
		}
		if got := read(t, s, working.Run.ID); got.Replica != "" || !got.DueAt.Equal(later) {
			t.Errorf("after leaving: %q, due %v", got.Replica, got.DueAt)
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

func TestThreeReplicasMigrateAtOnce(t *testing.T) {
	url := storetest.PostgreSQL(t)
	var all sync.WaitGroup
	ran := make(chan int, 3)
	for range 3 {
		s := open(t, url, secret)
		all.Go(func() {
			n, err := s.Migrate(context.Background())
			if err != nil {
				t.Error(err)
			}
			ran <- n
		})
	}
	all.Wait()
	close(ran)
	var counts []int
	for n := range ran {
		counts = append(counts, n)
	}
	slices.Sort(counts)
	if counts[0] != 0 || counts[1] != 0 || counts[2] == 0 {
		t.Errorf("migrations run by each: %v, want all by one", counts)
	}
}

func TestAnotherReplicaHearsOfVerbs(t *testing.T) {
	url := storetest.PostgreSQL(t)
	here, there := open(t, url, secret), open(t, url, secret)
	if _, err := here.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Join(t.Context(), "r1", epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan saga.Wake, 10), make(chan struct{})
	go func() { defer close(done); _ = there.Listen(ctx, func(w saga.Wake) { heard <- w }) }()
	<-heard // it listens
	n := leasedIn(t, here)
	if err := here.AddVerb(t.Context(), epoch, saga.Verb{RunID: n.Run.ID, Name: saga.Hold}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if want := (saga.Wake{Kind: saga.WakeVerb, RunID: n.Run.ID}); got != want {
			t.Errorf("heard %v, want %v", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Error("heard nothing")
	}
	cancel()
	<-done
}
