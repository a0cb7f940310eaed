package saga

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// RunState is the state of a run.
type RunState string

// The states of a run. Succeeded and Compensated are final. A Stuck run waits for an operator and keeps its subject.
const (
	Pending      RunState = "pending"
	Running      RunState = "running"
	Waiting      RunState = "waiting" // for a time, a predecessor, an upstream or an operator: see Reason
	Compensating RunState = "compensating"
	Succeeded    RunState = "succeeded"
	Compensated  RunState = "compensated" // it failed, and all that it made is removed, except LeftBehind
	Stuck        RunState = "stuck"       // an undo is refused for good
)

// Ended reports whether the run is over.
func (s RunState) Ended() bool { return s == Succeeded || s == Compensated }

// StepState is the state of a step of a run.
type StepState string

// The states of a step.
const (
	StepPending    StepState = "pending"
	StepRunning    StepState = "running"
	StepUnknown    StepState = "unknown" // sent without an answer: looked up before it is repeated or undone
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

// Run is one execution of a workflow. The fields Workflow to Input, and the set of steps, are fixed when the run is accepted.
type Run struct {
	ID              string
	Workflow        string
	WorkflowVersion int
	Merchant        string
	Cloud           string
	Subject         string // runs with the same subject execute one at a time
	User            string
	Doubles         string // with User: what a second successful run would make again
	OnFailure       OnFailure
	Input           json.RawMessage
	Key             string // the merchant's idempotency key
	Fingerprint     string // of the request that was sent with the key
	RetryOf         string // the compensated run that this one repeats
	CreatedAt       time.Time

	State      RunState
	Reason     *Reason  // why it waits or is stuck
	Hold       *Reason  // why no new call is started until an operator acts; it becomes Reason when no call is in flight
	Cause      *Failure // why it compensates; nil while it goes forward
	WaitsFor   string   // the earlier run about the same subject that goes first; empty: none
	LeftBehind []LeftBehind
	RetriedBy  string // the run that repeats this one
	UpdatedAt  time.Time
	EndedAt    *time.Time
	DueAt      *time.Time    // when it may be claimed, if it has no lease; nil: not until something wakes it
	Worked     time.Duration // how long it could work since BudgetFrom; Limits.Deadline applies
	BudgetFrom time.Time     // when it was accepted or last retried by a person; Limits.GiveUpAfter counts from then
	Rechecks   int           // re-checks for late effects that are still to come
	TakeOvers  int           // claims since a step last had an outcome
	Looked     bool          // the current re-check has chosen the steps that it undoes again

	HoldsSubject bool // no other live run about the subject may start calls

	Replica string // the replica that has the lease; empty: none
	Epoch   int64  // the number of leases so far
	Version int64  // raised by every write, whatever its epoch
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
	Unknowns  int        // attempts of Do whose outcome is unknown
	UnknownAt *time.Time // the latest time at which an attempt of Do or Undo with unknown outcome can have been sent
	UndoneAt  *time.Time // when the last successful Undo began
	InFlight  CallKind   // the call whose intent is stored and which has no outcome yet
}

func (s *StepRow) item() string {
	_, item, _ := strings.Cut(s.Name, "/")
	return item
}

// Begun reports whether Do may have been called.
func (s *StepRow) Begun() bool { return s.Attempts > 0 }

// Done reports whether the steps that are After this one may start.
func (s *StepRow) Done() bool { return s.State == StepSucceeded || s.State == StepSkipped }

// effectiveUntil returns when the late window of the last unanswered call ends; zero: there was no such call.
func (s *StepRow) effectiveUntil(lateWindow time.Duration) (at time.Time) {
	if s.UnknownAt != nil {
		at = s.UnknownAt.Add(lateWindow)
	}
	return at
}

// over reports whether no call of the run will ever be made again: it has ended, and no re-check is to come.
func (r *Run) over() bool { return r.State == Succeeded || r.State == Compensated && r.Rechecks == 0 }

// AtRest reports whether the run's state stays as it is until an operator or merchant acts: the run has ended, is stuck, or waits
// for an operator and has no call in flight. Re-checks of a compensated run may still remove late effects. They change its events
// and objects, not its state.
func (r *Run) AtRest() bool {
	return r.State.Ended() || r.State == Stuck || r.held() && !r.inFlight()
}

// Step returns the row with this name; nil if the run has none.
func (r *Run) Step(name string) *StepRow {
	i := slices.IndexFunc(r.Steps, func(s StepRow) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Steps[i]
}

// WaitBehind sets the run about the same subject that goes before this one. A Store calls it whenever it reads a waiting run,
// because the stored predecessor may have been cancelled while an earlier run is still live.
func (r *Run) WaitBehind(runID string) {
	r.WaitsFor = runID
	if r.Reason != nil && r.Reason.Kind == WaitsForPredecessor {
		r.Reason.Detail = "run " + runID + " about the same subject goes first"
	}
}

// Rechecking reports whether a re-check of the ended run may still change something upstream: one of its calls is in flight, or was
// not answered and its late window is not over.
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

// Origin says whether the run may remove an object.
type Origin string

// The run made an own object, and removes it when it compensates. An adopted object was there before, and is never removed.
const (
	Own     Origin = "own"
	Adopted Origin = "adopted"
)

// LeftBehind is an object that stays upstream because an operator skipped its undo. Only Step is set if the run does not know the
// object, because an answer was lost.
type LeftBehind struct {
	Step string `json:"step"`
	Kind string `json:"kind,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Clone returns a copy of a run, so that its executor can continue to change the original.
func (r *Run) Clone() *Run {
	c := *r
	c.Steps = slices.Clone(r.Steps)
	c.Objects = slices.Clone(r.Objects)
	c.LeftBehind = slices.Clone(r.LeftBehind)
	return &c
}

// AsStored returns a copy of the run as a Store would return it: the objects in order and without duplicates.
func (r *Run) AsStored() *Run {
	c := r.Clone()
	byID := func(a, b Object) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) }
	slices.SortStableFunc(c.Objects, byID)
	c.Objects = slices.CompactFunc(c.Objects, func(a, b Object) bool { return byID(a, b) == 0 })
	return c
}
