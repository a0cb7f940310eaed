package saga

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tenantry/tenantry/orchestrator/upstream"
)

// Request is a request to start a new run.
type Request struct {
	ID          string // the run's id, which the caller chooses; ids sort by time
	Workflow    string
	Merchant    string
	Cloud       string
	Subject     string
	User        string
	Doubles     string // name of the effect for User, such as "plan ID": see Run.Doubles
	OnFailure   OnFailure
	Input       any // the initial state of the run
	Key         string
	Fingerprint string
	Who         string // the caller; stored in the run's first event
	RetryOf     string
	Why         string

	Token          string // the user's token, which is stored encrypted until it is used or has expired
	TokenExpiresAt time.Time
	Password       string // the password of a new user; never stored: see ErrNoPassword
}

// Accept returns a new run, and the first event of the run. From now on, the steps of the run are fixed. No step of the new run has
// begun, and no replica has a lease on the run.
func (m Machine) Accept(q Request, now time.Time) (*Run, Event, error) {
	if m.Def == nil {
		return nil, Event{}, fmt.Errorf("accepting run %s: this release has no workflow %q", q.ID, q.Workflow)
	}
	input, err := json.Marshal(q.Input)
	if err != nil {
		return nil, Event{}, fmt.Errorf("accepting run %s: encoding the input: %w", q.ID, err)
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

// Queued returns a copy of the new run r. The copy waits for the predecessor, another run with the same subject.
func Queued(r *Run, predecessor string) *Run {
	waiting := *r
	waiting.Steps = slices.Clone(r.Steps)
	waiting.WaitsFor, waiting.HoldsSubject, waiting.DueAt = predecessor, false, nil
	waiting.queue(r.CreatedAt)
	return &waiting
}

// The method `queue` makes the run wait for its predecessor. The field WaitsFor contains the predecessor's id.
func (r *Run) queue(since time.Time) {
	r.State = Waiting
	r.Reason = &Reason{Kind: WaitsForPredecessor, Failure: Failure{Code: "subject-busy", FixBy: FixByNobody, At: since}}
	r.WaitBehind(r.WaitsFor)
}
