package saga

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Request asks for a run.
type Request struct {
	ID          string // made before, so that what the run creates can be named after it; ids sort by time
	Workflow    string
	Merchant    string
	Cloud       string
	Subject     string
	User        string
	Doubles     string // with User: what a second success would double
	OnFailure   OnFailure
	Input       any // the workflow's state as it starts
	Key         string
	Fingerprint string
	Who         string // for the event
	RetryOf     string
	Why         string

	Token          string // the user's, sealed until it is used or expired
	TokenExpiresAt time.Time
}

// Accept pins what a run is made of, and returns the first event of its history. Nothing of the run has begun, and nobody
// works on it.
func (m Machine) Accept(q Request, now time.Time) (*Run, Event, error) {
	if m.Def == nil {
		return nil, Event{}, fmt.Errorf("accepting run %s: there is no workflow %q", q.ID, q.Workflow)
	}
	input, err := json.Marshal(q.Input)
	if err != nil {
		return nil, Event{}, fmt.Errorf("accepting run %s: encoding its input: %w", q.ID, err)
	}
	rows, err := m.Def.rows(input)
	if err != nil {
		return nil, Event{}, fmt.Errorf("accepting run %s: %w", q.ID, err)
	}
	run := &Run{
		ID: q.ID, Workflow: m.Def.Name, WorkflowVersion: m.Def.Version, Merchant: q.Merchant, Cloud: q.Cloud,
		Subject: q.Subject, User: q.User, Doubles: q.Doubles, OnFailure: cmp.Or(q.OnFailure, FailureCompensates),
		Input: input, Key: q.Key, Fingerprint: q.Fingerprint, RetryOf: q.RetryOf, CreatedAt: now,
		State: Pending, DueAt: &now, UpdatedAt: now, BudgetFrom: now, HoldsSubject: true, Steps: rows,
		Version: 1, Seq: 1,
	}
	return run, Event{RunID: q.ID, Seq: 1, At: now, Kind: EventAccepted, Who: upstream.Clean(q.Who), Why: upstream.Clean(q.Why)}, nil
}

// Queued returns a copy of a run as Accept returned it, which waits for another about the same subject.
func Queued(r *Run, predecessor string) *Run {
	waiting := *r
	waiting.Steps = slices.Clone(r.Steps)
	waiting.State, waiting.HoldsSubject, waiting.DueAt = Waiting, false, nil
	waiting.Reason = &Reason{Kind: WaitsForPredecessor, Failure: Failure{
		Code: "subject-busy", FixBy: FixByNobody, At: r.CreatedAt,
	}}
	waiting.WaitBehind(predecessor)
	return &waiting
}
