package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Store is what the engine, the steps and the service need of a store of runs.
type Store interface {
	saga.Store
	saga.Queue
	// Token gives the user's token that waits for a run. It returns saga.ErrNoToken if it is gone.
	Token(ctx context.Context, runID string) (string, error)
	// DeleteExpiredTokens forgets the tokens that expired before now.
	DeleteExpiredTokens(ctx context.Context, now time.Time) error
}

// Conformance tries everything that is asked of every store, each part on an empty one. Whether replicas hear one
// another is not among it: see Wakes.
func Conformance(t *testing.T, open func(testing.TB) Store) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, fixture)
	}{
		{"a checkpoint is read back as it was written", readBack},
		{"every part of the fence holds", fence},
		{"a bad row fails its run alone", badRow},
		{"no checkpoint takes a held subject", takenSubject},
		{"a checkpoint leaves what is pinned", pinned},
		{"the last word about an object counts", objects},
		{"what goes in and comes out is a copy", copies},
		{"times are kept to the microsecond", microseconds},
		{"runs are filtered", filters},
		{"the clocks of a run's id and of its creation differ", apart},
		{"runs and events come in order and in pages", pages},
		{"a run that is not there", unknown},

		{"one key is one run", oneKey},
		{"one subject has one holder", oneHolder},
		{"a retry succeeds its run", retries},
		{"a token is forgotten", tokens},
		{"a refused run leaves nothing", allOrNothing},
		{"keys are of a merchant", keyless},

		{"a run behind another is claimed when that ends", behind},
		{"a run is told what is before it by now", nextInLine},
		{"only what is due and unleased is claimed", onlyDue},
		{"the oldest are claimed first", oldestFirst},
		{"merchants take turns in a claim", turns},
		{"a merchant with runs under way comes later", underWay},
		{"what an operator woke comes first", wokenFirst},
		{"what waits for an upstream that is down is left", leftAlone},
		{"what is due and what lives can be counted", counts},
		{"a claim is counted", counted},
		{"an action reaches a run behind another", actionBehind},
		{"a run waits for a younger holder", youngHolder},
		{"an ended run is claimed without its subject", rechecks},
		{"a stranger claims nothing", strangers},
		{"two replicas never claim the same", claimedOnce},

		{"a lease that ended is gone", endedLease},
		{"handing back and leaving", handingBack},
		{"only strays are handed back", strays},
		{"a dead replica frees its runs", freed},
		{"a replica joins once", joinedTwice},

		{"actions are seen by the holder and make a resting run due", actions},
		{"actions are told in order", actionsInOrder},
		{"a run that rests is taken up for an action that it missed", missedAction},
		{"a fenced checkpoint consumes no action", fencedActions},
	} {
		t.Run(part.name, func(t *testing.T) {
			f := fixture{open(t)}
			f.join(t, "r1", epoch.Add(time.Hour))
			part.run(t, f)
		})
	}
}

// epoch is when every part begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newID makes ids that sort by time, as the engine's do.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// leased is a new run that replica r1 works on.
func leased(change func(*saga.Run)) saga.NewRun {
	id := newID()
	due := epoch
	run := &saga.Run{
		ID: id, Workflow: "w", WorkflowVersion: 1, Merchant: "m", Subject: "m:" + id, User: "u", Doubles: "p", Key: id,
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

// idle changes a new run into one that nobody works on; it is due.
func idle(r *saga.Run) { r.Replica = "" }

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

// fixture is a store with replica r1.
type fixture struct{ Store }

func (f fixture) join(t *testing.T, replica string, until time.Time) {
	t.Helper()
	if _, err := f.Join(t.Context(), replica, until); err != nil {
		t.Fatal(err)
	}
}

// create inserts a run as leased makes it.
func (f fixture) create(t *testing.T, change func(*saga.Run)) saga.NewRun {
	t.Helper()
	n := leased(change)
	f.insert(t, n)
	return n
}

func (f fixture) insert(t *testing.T, n saga.NewRun) {
	t.Helper()
	if err := f.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func (f fixture) read(t *testing.T, id string) *saga.Run {
	t.Helper()
	run, err := f.Run(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func (f fixture) commit(t *testing.T, cp saga.Checkpoint) saga.CommitResult {
	t.Helper()
	result := f.Commit(t.Context(), epoch, []saga.Checkpoint{cp})[0]
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result
}

// claim claims for r1 at epoch and sorts the ids: a store may answer in any order.
func (f fixture) claim(t *testing.T, limit int, down ...string) []string {
	t.Helper()
	ids, err := f.Claim(t.Context(), saga.Claim{Replica: "r1", Now: epoch, Limit: limit, Down: down})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(ids))
}
