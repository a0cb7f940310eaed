package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tenantry/tenantry/orchestrator/saga"
)

// Store combines the methods that the engine, the steps and the service need.
type Store interface {
	saga.Store
	saga.Queue
	// Token returns the user's token that is stored for a run. If no token is stored, Token returns saga.ErrNoToken.
	Token(ctx context.Context, runID string) (string, error)
	// DeleteExpiredTokens deletes the tokens that expired before now.
	DeleteExpiredTokens(ctx context.Context, now time.Time) error
}

// Conformance tests whether a store does what saga.Store and saga.Queue specify. Each part of the test begins with an empty store.
// The name of a part consists of a method and the situation in which the method is called. The function Wakes tests the messages
// between replicas.
func Conformance(t *testing.T, open func(testing.TB) Store, disable Disable) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, fixture)
	}{
		{"Commit: every field is set", commitEveryField},
		{"Commit: the version, epoch or replica does not match", commitFenced},
		{"Commit: one of two checkpoints has a bad row", commitBadRow},
		{"Commit: another run holds the subject", commitSubjectHeld},
		{"Commit: the checkpoint changes pinned fields", commitPinned},
		{"Commit: the checkpoint contains an object twice", commitObjectTwice},
		{"Create, Commit and Run: the caller changes its values after the call", commitCopies},
		{"Create: the times have nanoseconds", createFineTimes},
		{"Runs: every filter is used", runsFiltered},
		{"Latest: several runs have one object", latestOfObjects},
		{"Runs: the time in the id of a run is before the creation of the run", runsOlderID},
		{"Runs and Events: the result has several pages", runsInPages},
		{"all methods that read: the run does not exist", readsOfNoRun},

		{"Create: 200 concurrent calls have the same key", createOneKey},
		{"Create: the run has already been inserted", createTwice},
		{"Create: 50 concurrent calls have the same subject", createOneSubject},
		{"Create: the run is a retry", createRetry},
		{"Create: another run has the subject", createSubjectBusy},
		{"Create: another run with the subject has just ended", createAfterEnd},
		{"Create: two runs have no key, or two merchants use the same key", createKeyless},
		{"Token: a checkpoint has deleted the token", tokenDropped},
		{"DeleteExpiredTokens: before and after a token expires", deleteExpiredTokens},

		{"Claim: a run waits for another run", claimBehind},
		{"Run: one of two predecessors has ended", runAfterPredecessor},
		{"Claim: some runs are leased or not due", claimNotDue},
		{"Claim: more runs are due than the limit", claimOldest},
		{"Claim: several merchants have due runs", claimTurns},
		{"Claim: a merchant has leased runs", claimUnderWay},
		{"Claim: a run has an unconsumed action", claimWoken},
		{"Claim and Due: an upstream is down", claimUpstreamDown},
		{"Claim and Due: an upstream is down, and a run has expired", claimExpired},
		{"Claim: a run has expired while it waits for another run", claimExpiredBehind},
		{"Due and LiveRuns: the runs are in several states", countsOfRuns},
		{"Claim: the run has been claimed and taken over several times", claimCounted},
		{"Take: a run that is not due, with the right and with another version", takeOne},
		{"Take: two replicas take a run at the same time", takeOneAtOnce},
		{"Claim: a run with an action waits for another run", claimActionBehind},
		{"Claim: a younger run holds the subject", claimYoungHolder},
		{"Claim: a run that has ended is due", claimEnded},
		{"Claim: the replica never joined", claimNotJoined},
		{"Claim: two replicas claim runs at the same time", claimAtOnce},

		{"Renew: the lease has ended", renewEnded},
		{"Renew: another replica is dead", renewOtherDead},
		{"HandBack and Leave: the replica executes only one of its two runs", handBackAndLeave},
		{"HandBack: one of three runs must be released", handBackStray},
		{"Join: the replica has already joined", joinRepeated},

		{"AddAction: the run is leased, and then released", addAction},
		{"AddAction: several actions are for the same version of the run", addActionIfVersion},
		{"Actions: two actions were added at the same moment", actionsAtOnce},
		{"Actions: an action has an earlier time than the action before it", actionsOutOfTime},
		{"Commit: an action arrives just before the run is released", commitMissedAction},
		{"Commit: a fenced checkpoint consumes an action", commitFencedActions},

		{"Commit and FollowUps: every field of a follow-up is set", followUpEveryField},
		{"FollowUps: other merchants and workflows have follow-ups", followUpsOfOthers},
		{"Commit: a follow-up is put again", followUpReplaced},
		{"Commit: a follow-up is dropped", followUpDropped},
		{"Commit: a fenced checkpoint has follow-ups", followUpFenced},
		{"Commit: a follow-up cannot be stored", followUpBadRow},
		{"Commit: one of two checkpoints with follow-ups has a bad row", followUpUnwritten},
		{"Commit: a run with follow-ups has a successor and an action", followUpResults},
		{"Commit: two runs change the same follow-ups at the same time", followUpsAtOnce},
		{"TakeFollowUps: some follow-ups are held, not due, or of a disabled merchant", takeDue},
		{"TakeFollowUps: the follow-up was taken before", takeAgain},
		{"TakeFollowUps: several replicas take follow-ups at the same time", takeAtOnce},
		{"HoldFollowUp: a follow-up is held, and the hold is lifted", holdFollowUp},
		{"HoldFollowUp: a run executes the follow-up", holdExecuted},
		{"Runs: the run of a follow-up was compensated", runsOfFollowUps},
	} {
		t.Run(part.name, func(t *testing.T) {
			f := fixture{open(t), disable}
			f.join(t, "r1", epoch.Add(time.Hour))
			part.run(t, f)
		})
	}
}

// The variable `epoch` is the time at which every part of the test begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// newID returns an id. The ids sort by the time of their creation, like the ids of the engine.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// The function `leased` returns a new run that is leased to replica r1.
func leased(change func(*saga.Run)) saga.NewRun {
	id := newID()
	due := epoch
	run := &saga.Run{
		ID: id, Workflow: "w", WorkflowVersion: 1, Merchant: "m", Subject: "m:" + id, User: "u", Doubles: "p", Key: id,
		Input: []byte(`{"a":1}`), CreatedAt: epoch, UpdatedAt: epoch, BudgetFrom: epoch, DueAt: &due, State: saga.Running,
		HoldsSubject: true, OnFailure: saga.FailureCompensates, Replica: "r1", Epoch: 1, Version: 1, Seq: 1,
		Steps: []saga.StepRow{
			{Name: "a", State: saga.StepRunning, Attempts: 1, StartedAt: &due},
			{Name: "b/x", Position: 1, After: []string{"a"}, Optional: true, Pivot: true, State: saga.StepPending},
		},
	}
	if change != nil {
		change(run)
	}
	return saga.NewRun{Run: run, Events: []saga.Event{{RunID: id, Seq: 1, At: epoch, Kind: saga.EventAccepted, Who: "me", Why: "because"}}}
}

// The function `idle` removes the lease of a new run. The run is then due.
func idle(r *saga.Run) { r.Replica = "" }

// The function `checkpoint` returns a checkpoint of a run. In the checkpoint, step a has succeeded.
func checkpoint(n saga.NewRun) saga.Checkpoint {
	run := *n.Run
	run.Steps = slices.Clone(run.Steps)
	run.Steps[0].State, run.Steps[0].Output, run.Steps[0].EndedAt = saga.StepSucceeded, []byte(`{"b":2}`), &epoch
	run.Seq = 2
	event := saga.Event{RunID: run.ID, Seq: 2, At: epoch, Epoch: 1, Kind: saga.EventSucceeded, Step: "a", Attempt: 1, StartedAt: epoch}
	object := saga.Object{Step: "a", Kind: "customer", Cloud: "default", ID: "c-" + run.ID, Name: "C", Origin: saga.Own, RequestID: "req-c"}
	return saga.Checkpoint{
		Run: &run, Replica: "r1", Steps: run.Steps[:1], Events: []saga.Event{event}, Objects: []saga.Object{object},
	}
}

// The type `fixture` is a store that replica r1 has joined.
type fixture struct {
	Store

	disable Disable
}

func (f fixture) join(t *testing.T, replica string, until time.Time) {
	t.Helper()
	if _, err := f.Join(t.Context(), replica, until); err != nil {
		t.Fatal(err)
	}
}

// The method `create` inserts a new run that is leased to replica r1.
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

// The method `claim` calls Claim for replica r1 at the time `epoch`. The result is sorted, because Claim may return the ids of the runs in
// any sequence.
func (f fixture) claim(t *testing.T, limit int, down ...string) []string {
	t.Helper()
	ids, err := f.Claim(t.Context(), saga.Claim{Due: saga.Due{Now: epoch, Down: down}, Replica: "r1", Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(ids))
}
