package saga

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// RunState is where a run stands.
type RunState string

// The states of a run. Succeeded and Compensated are ends; a Stuck run waits for an operator and keeps its subject.
const (
	Pending      RunState = "pending"
	Running      RunState = "running"
	Waiting      RunState = "waiting" // for a time, a predecessor, an upstream or an operator: Reason tells
	Compensating RunState = "compensating"
	Succeeded    RunState = "succeeded"
	Compensated  RunState = "compensated" // it failed, and nothing that it made is left but LeftBehind
	Stuck        RunState = "stuck"       // a compensation is refused for good
)

// Ended tells whether the run is over.
func (s RunState) Ended() bool { return s == Succeeded || s == Compensated }

// StepState is where a step of a run stands.
type StepState string

// The states of a step.
const (
	StepPending    StepState = "pending"
	StepRunning    StepState = "running"
	StepUnknown    StepState = "unknown" // sent, no answer: looked up before it is repeated or undone
	StepSucceeded  StepState = "succeeded"
	StepSkipped    StepState = "skipped"
	StepFailed     StepState = "failed"
	StepUndoing    StepState = "undoing"
	StepUndone     StepState = "undone"
	StepUndoFailed StepState = "undo_failed"
)

// OnFailure says what happens to a run whose step failed for good.
type OnFailure string

// A failed run compensates by itself, or waits for an operator.
const (
	FailureCompensates OnFailure = "compensate"
	FailureHolds       OnFailure = "hold"
)

// Run is one execution of a workflow. What is pinned at acceptance (Workflow to Input, and the rows of Steps) never changes.
type Run struct {
	ID              string
	Workflow        string
	WorkflowVersion int
	Merchant        string
	Cloud           string
	Subject         string // runs with the same subject go one after another
	User            string
	Doubles         string // with User: what a second success would double
	OnFailure       OnFailure
	Input           json.RawMessage
	Key             string // the merchant's idempotency key
	Fingerprint     string // of the request that the key came with
	RetryOf         string // the compensated run that this one repeats
	CreatedAt       time.Time

	State      RunState
	Reason     *Reason  // why it waits or is stuck
	Hold       *Reason  // why no new call is started before an operator acts; it becomes Reason when no call is in flight
	Cause      *Failure // why it compensates; nil while it goes forward
	WaitsFor   string   // the run about the same subject before this one
	LeftBehind []LeftBehind
	RetriedBy  string // the run that repeats this one
	UpdatedAt  time.Time
	EndedAt    *time.Time
	DueAt      *time.Time    // when it is to be worked on once it is unleased; nil: not before somebody wakes it
	Worked     time.Duration // how long it could work since BudgetFrom: the deadline counts that
	BudgetFrom time.Time     // when it was accepted, or last retried by a person: GiveUpAfter counts from then
	Rechecks   int           // re-checks for late effects that are still to come
	TakeOvers  int           // claims since a step last came to a result
	Looked     bool          // the re-check under way has chosen the steps that are undone again

	HoldsSubject bool // of all live runs about the subject only this one may start calls; the others wait

	Replica string // who holds the lease; empty: nobody
	Epoch   int64  // how often somebody took it
	Version int64  // how often it was written under any epoch
	Seq     int64  // of its last event

	Steps   []StepRow
	Objects []Object
}

// StepRow is the record of one step of a run.
type StepRow struct {
	Name      string
	Position  int
	After     []string
	Optional  bool
	State     StepState
	Attempts  int // of Do
	Undos     int // attempts of Undo
	Output    json.RawMessage
	Error     *Failure   // of the last attempt, if that failed
	StartedAt *time.Time // of the first attempt
	EndedAt   *time.Time
	RetryAt   *time.Time
	Unknowns  int        // attempts of Do whose outcome was never learnt
	UnknownAt *time.Time // when the last attempt, of Do or Undo, without a known outcome can have been sent at the latest
	UndoneAt  *time.Time // when the last successful Undo began
	InFlight  CallKind   // the call that was asked for and has no outcome yet
}

func (s *StepRow) item() string {
	_, item, _ := strings.Cut(s.Name, "/")
	return item
}

// Begun tells whether Do may have been called.
func (s *StepRow) Begun() bool { return s.Attempts > 0 }

// Done tells whether what comes After may start.
func (s *StepRow) Done() bool { return s.State == StepSucceeded || s.State == StepSkipped }

// effectiveUntil is from when on the last call that was not answered takes no effect any more; zero: there was none.
func (s *StepRow) effectiveUntil(lateWindow time.Duration) (at time.Time) {
	if s.UnknownAt != nil {
		at = s.UnknownAt.Add(lateWindow)
	}
	return at
}

// over reports whether nothing will ever be called for the run again: it has ended, and no re-check is to come.
func (r *Run) over() bool { return r.State == Succeeded || r.State == Compensated && r.Rechecks == 0 }

// AtRest reports whether the run stays as it is shown until somebody acts: it has ended, is stuck, or waits for an operator and has
// no call in flight. Re-checks of a compensated run may still remove late effects: they change its events and objects, not its state.
func (r *Run) AtRest() bool {
	return r.State.Ended() || r.State == Stuck || r.held() && !r.inFlight()
}

// Step finds a row by its name; nil if the run has none.
func (r *Run) Step(name string) *StepRow {
	i := slices.IndexFunc(r.Steps, func(s StepRow) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Steps[i]
}

// WaitBehind says which run about the same subject goes before this one. A Store says so anew whenever it reads a run
// that waits: the one before may have been cancelled, while another still lives before both.
func (r *Run) WaitBehind(runID string) {
	r.WaitsFor = runID
	if r.Reason != nil && r.Reason.Kind == WaitsForPredecessor {
		r.Reason.Detail = "run " + runID + " about the same subject goes first"
	}
}

// Rechecking reports whether a re-check of the run, which has ended, may still do something upstream: a call of it is in
// flight, or was not answered and the late window is not over.
func (r *Run) Rechecking(now time.Time, lateWindow time.Duration) bool {
	return r.State == Compensated && slices.ContainsFunc(r.Steps, func(s StepRow) bool {
		lost := s.UnknownAt != nil && s.UnknownAt.After(*r.EndedAt)
		return s.InFlight != "" || lost && s.effectiveUntil(lateWindow).After(now)
	})
}

// Object is something upstream that a run made or adopted.
type Object struct {
	Step      string     `json:"step"`
	Kind      string     `json:"kind"`
	Cloud     string     `json:"cloud,omitempty"`
	ID        string     `json:"id"`
	Name      string     `json:"name,omitempty"`
	Origin    Origin     `json:"origin"`
	RemovedAt *time.Time `json:"removed_at,omitempty"`
}

// Origin tells whether the run may remove an object.
type Origin string

// An own object carries the run's mark and goes with it; an adopted one was there before and is never undone.
const (
	Own     Origin = "own"
	Adopted Origin = "adopted"
)

// LeftBehind is what an operator's skip of an undo left upstream. ID and Name are empty where the answer that would
// have told them was lost.
type LeftBehind struct {
	Step string `json:"step"`
	Kind string `json:"kind,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Clone copies a run, so that its executor may go on with the original.
func (r *Run) Clone() *Run {
	c := *r
	c.Steps = slices.Clone(r.Steps)
	c.Objects = slices.Clone(r.Objects)
	c.LeftBehind = slices.Clone(r.LeftBehind)
	return &c
}

// AsStored is a copy of the run as a Store would give it: its objects in order, each once.
func (r *Run) AsStored() *Run {
	c := r.Clone()
	byID := func(a, b Object) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) }
	slices.SortStableFunc(c.Objects, byID)
	c.Objects = slices.CompactFunc(c.Objects, func(a, b Object) bool { return byID(a, b) == 0 })
	return c
}
