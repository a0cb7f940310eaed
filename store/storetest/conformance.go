package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Store has the methods that the engine, the steps and the service need.
type Store interface {
	saga.Store
	saga.Queue
	// Token returns the user's token that is stored for a run. It returns saga.ErrNoToken if it is gone.
	Token(ctx context.Context, runID string) (string, error)
	// DeleteExpiredTokens deletes the tokens that expired before now.
	DeleteExpiredTokens(ctx context.Context, now time.Time) error
}

// Conformance tests the contract of every store, each part on an empty store. A part is named by a method and the situation in
// which it is called. Messages between replicas are tested by Wakes.
func Conformance(t *testing.T, open func(testing.TB) Store) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, fixture)
	}{
		{"Commit, every field written", commitEveryField},
		{"Commit, another version, epoch or replica", commitFenced},
		{"Commit, one bad row", commitBadRow},
		{"Commit, subject held by another run", commitSubjectHeld},
		{"Commit, pinned fields changed", commitPinned},
		{"Commit, object told twice", commitObjectTwice},
		{"Create, Commit and Run, values changed afterwards", commitCopies},
		{"Create, times finer than a microsecond", createFineTimes},
		{"Runs, every filter", runsFiltered},
		{"Runs, id older than the creation", runsOlderID},
		{"Runs and Events, in pages", runsInPages},
		{"all reads, no such run", readsOfNoRun},

		{"Create, 200 at once with one key", createOneKey},
		{"Create, 50 at once with one subject", createOneSubject},
		{"Create, retry of a run", createRetry},
		{"Create, subject busy", createSubjectBusy},
		{"Create, no key or another merchant's", createKeyless},
		{"Token, dropped by a checkpoint", tokenDropped},
		{"DeleteExpiredTokens, as a token expires", deleteExpiredTokens},

		{"Claim, run behind another", claimBehind},
		{"Run, one of two before it ended", runAfterPredecessor},
		{"Claim, leased or not due", claimNotDue},
		{"Claim, more due than room", claimOldest},
		{"Claim, several merchants", claimTurns},
		{"Claim, merchant with runs under way", claimUnderWay},
		{"Claim, run with an action", claimWoken},
		{"Claim and Due, upstream down", claimUpstreamDown},
		{"Due and LiveRuns, runs in several states", countsOfRuns},
		{"Claim, run taken over before", claimCounted},
		{"Claim, action for a run behind another", claimActionBehind},
		{"Claim, subject held by a younger run", claimYoungHolder},
		{"Claim, ended run that is due", claimEnded},
		{"Claim, replica that never joined", claimNotJoined},
		{"Claim, two replicas at once", claimAtOnce},

		{"Renew, lease ended", renewEnded},
		{"Renew, another replica dead", renewOtherDead},
		{"HandBack and Leave, runs worked on", handBackAndLeave},
		{"HandBack, one stray run", handBackStray},
		{"Join, repeated", joinRepeated},

		{"AddAction, run worked on and at rest", addAction},
		{"Actions, several of one moment", actionsAtOnce},
		{"Commit, going to rest as an action comes", commitMissedAction},
		{"Commit, fenced, with actions consumed", commitFencedActions},
	} {
		t.Run(part.name, func(t *testing.T) {
			f := fixture{open(t)}
			f.join(t, "r1", epoch.Add(time.Hour))
			part.run(t, f)
		})
	}
}

// epoch is the time at which every part begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newID returns ids that sort by time, like the engine's.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// leased returns a new run that is leased to replica r1.
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

// idle changes a new run into a due one without a lease.
func idle(r *saga.Run) { r.Replica = "" }

// checkpoint returns a checkpoint in which step a of a run has succeeded.
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

// create inserts a run made by leased.
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
