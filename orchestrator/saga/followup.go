package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// FollowUp is a run that is to be started later. A FollowUp is stored in the same commit as the end of another run: see Workflow.Then.
// While a FollowUp waits, no run executes for it, and its subject is free. There is at most one FollowUp for each Workflow and ID.
//
// When the follow-up is due, a replica starts a run for it. When this run ends, it must drop the follow-up, or store the follow-up
// again with a later DueAt. If the run ends without such a change, the follow-up is still due, and another run is started.
type FollowUp struct {
	Workflow string // the workflow to start
	ID       string // the id of the object that the follow-up is about, such as a subscription

	// Merchant, Cloud, Subject, User and Doubles are fields of the run to be started.
	Merchant, Cloud, Subject, User string
	Doubles                        string
	Input                          any       // the input of the run to be started; a Store returns it as json.RawMessage
	DueAt                          time.Time // time at which the run is to be started; zero in the result of Workflow.Then: drop the follow-up
	Reason                         *Failure  // the failure of the last run for this follow-up; nil: no such run was compensated

	// The Store sets RunID, TakenAt and Hold, and ignores their values in the result of Workflow.Then.

	RunID   string        // the id of the last run that was started for the follow-up; empty: no run was started yet
	TakenAt *time.Time    // time at which RunID was chosen; nil after a run has committed a change of the follow-up
	Hold    *FollowUpHold // an operator's hold: the run is not started before the hold is lifted
}

// FollowUpHold is an operator's hold on a follow-up: the follow-up is not started. Who and Why are the operator and the reason.
type FollowUpHold struct {
	Who string    `json:"who"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

// FollowUpTimeout is the time after which a taken follow-up without a live run can be taken again.
const FollowUpTimeout = time.Minute

// FollowUpStore stores follow-ups. Store.Commit puts and drops follow-ups: see Checkpoint.FollowUps.
type FollowUpStore interface {
	// TakeFollowUps chooses at most d.Limit follow-ups to be started, beginning with the earliest DueAt. For each of these follow-ups,
	// TakeFollowUps sets RunID to a new id and TakenAt to d.Now. A follow-up can be taken if it is due and not held, and its merchant is not
	// disabled. If no live run has the RunID of a taken follow-up, the follow-up can be taken again after FollowUpTimeout. If several replicas
	// call TakeFollowUps at the same time, only one of them takes a given follow-up. If TakeFollowUps returns an error, some follow-ups may
	// have been taken.
	TakeFollowUps(ctx context.Context, d DueFollowUps, newID func() string) ([]FollowUp, error)
	// FollowUps reads a merchant's follow-ups of a workflow by their ids. The result has no entry for an id without a follow-up.
	FollowUps(ctx context.Context, merchant, workflow string, ids []string) (map[string]FollowUp, error)
	// HoldFollowUp sets the hold of a follow-up. If the parameter `hold` is nil, HoldFollowUp lifts the hold. HoldFollowUp may be
	// repeated. If the merchant has no such follow-up, HoldFollowUp returns ErrNotFound. If a live run has the follow-up's RunID,
	// HoldFollowUp returns ErrChanged. If a replica took the follow-up less than FollowUpTimeout before hold.At, this replica may
	// be about to start the run, and HoldFollowUp returns ErrChanged, too.
	HoldFollowUp(ctx context.Context, merchant, workflow, id string, hold *FollowUpHold) error
}

// DueFollowUps selects due follow-ups. A follow-up is due if its DueAt is not after Now, and its workflow is in Workflows.
type DueFollowUps struct {
	Now       time.Time
	Workflows []string
	Limit     int
}

// End describes the end of a run to Workflow.Then.
type End struct {
	Cause *Failure // the failure that caused the compensation; nil: the run has succeeded
	Now   time.Time
	RunID string
}

// The method `then` computes the follow-ups of a run that ends, and encodes their inputs. `then` returns a panic of Workflow.Then
// as an error.
func (w Workflow[S]) then(state json.RawMessage, end End) (all []FollowUp, err error) {
	defer func() {
		if v := recover(); v != nil {
			all, err = nil, fmt.Errorf("computing the follow-ups panicked: %v", v)
		}
	}()
	s, err := decode[S](state)
	if err != nil {
		return nil, err
	}
	all = w.Then(*s, end)
	for i := range all {
		f := &all[i]
		if f.Workflow == "" || f.ID == "" {
			return nil, errors.New("a follow-up needs a workflow and an id")
		}
		input, err := json.Marshal(f.Input)
		if err != nil {
			return nil, fmt.Errorf("encoding the input of follow-up %s %s: %w", f.Workflow, f.ID, err)
		}
		f.Input = json.RawMessage(input)
	}
	return all, nil
}

// The method `follow` is called when a run ends, and adds the run's follow-ups to the checkpoint. If the follow-ups cannot be
// computed, the run does not end: `follow` returns false, and the run waits for an operator. A retry computes the follow-ups again.
func (t *turn) follow() bool {
	if t.Def.then == nil {
		return true
	}
	state, err := t.currentState()
	if err == nil {
		t.FollowUps, err = t.Def.then(state, End{Cause: t.run.Cause, Now: t.now, RunID: t.run.ID})
	}
	if err == nil {
		return true
	}
	t.Log = fmt.Errorf("the end of run %s: %w", t.run.ID, err)
	t.hold(Reason{Kind: WaitsForOperator, Failure: Failure{
		Code: "step-panicked", Detail: "the follow-ups of the run could not be computed; the log of the service has the cause",
		FixBy: FixByOperator, At: t.now,
	}})
	t.rest()
	return false
}
