package saga

import (
	"cmp"
	"encoding/json"
	"fmt"
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
	Waiting      RunState = "waiting" // the run waits for a time, a predecessor, an upstream or an operator: see Reason
	Compensating RunState = "compensating"
	Succeeded    RunState = "succeeded"
	Compensated  RunState = "compensated" // the run failed, and its objects are removed, except the objects in LeftBehind
	Stuck        RunState = "stuck"       // an undo was refused permanently
)

// Ended reports whether the run has succeeded or is compensated.
func (s RunState) Ended() bool { return s == Succeeded || s == Compensated }

// StepState is the state of a step of a run.
type StepState string

// The states of a step.
const (
	StepPending    StepState = "pending"
	StepRunning    StepState = "running"
	StepUnknown    StepState = "unknown" // a call had no answer: the effect is looked up before the call is repeated
	StepSucceeded  StepState = "succeeded"
	StepSkipped    StepState = "skipped"
	StepFailed     StepState = "failed"
	StepUndoing    StepState = "undoing"
	StepUndone     StepState = "undone"
	StepUndoFailed StepState = "undo_failed"
)

// OnFailure is the reaction of a run to a step that has failed permanently.
type OnFailure string

// The values of OnFailure: the failed run compensates by itself, or waits for an operator.
const (
	FailureCompensates OnFailure = "compensate"
	FailureHolds       OnFailure = "hold"
)

// Run is one execution of a workflow. After the run is accepted, its set of steps and the fields from Workflow to Input do not
// change. There is one exception: User is set by the step that creates the user, see [Handle.ForUser].
type Run struct {
	ID              string
	Workflow        string
	WorkflowVersion int
	Merchant        string
	Cloud           string
	Subject         string // runs with the same subject execute one at a time
	User            string
	Doubles         string // name of the effect for User; a retry is refused if a later run with the same User and Doubles has succeeded
	OnFailure       OnFailure
	Input           json.RawMessage
	Key             string // the merchant's idempotency key
	Fingerprint     string // the fingerprint of the request that was sent with the key
	RetryOf         string // the id of the compensated run that this run repeats
	CreatedAt       time.Time

	State      RunState
	Reason     *Reason  // reason why the run waits or is stuck
	Hold       *Reason  // reason why an operator must act before a new call starts; becomes Reason when no call is in flight
	Cause      *Failure // the failure that caused the compensation; nil: the run goes forward
	WaitsFor   string   // the id of the run with the same subject that must end first; empty: none
	LeftBehind []LeftBehind
	RetriedBy  string // the id of the run that repeats this run
	UpdatedAt  time.Time
	EndedAt    *time.Time
	DueAt      *time.Time    // time from which a run without a lease can be leased; nil: only after something wakes the run
	Worked     time.Duration // time since BudgetFrom during which the run was able to work; limited by Limits.Deadline
	BudgetFrom time.Time     // start of Limits.GiveUpAfter: time of acceptance, or last time at which a person let the run continue
	Rechecks   int           // the number of re-checks that are still to come
	Handed     int           // the number of times that a password was handed over: see Take.Handed
	TakeOvers  int           // the number of leases since the last outcome of a step
	Looked     bool          // the current re-check has chosen the steps to undo again

	AttentionAt *time.Time // the time from which the run needs the attention of a person; may be in the future; nil: nobody needs to act

	HoldsSubject bool // if true, no other run with the same subject may start calls

	Replica string // the replica that has the lease; empty: none
	Epoch   int64  // the number of leases on the run so far
	Version int64  // increased by every write of the run, in any epoch
	Seq     int64  // the number of the run's last event

	Steps   []StepRow
	Objects []Object
}

// StepRow is the record of one step of a run.
type StepRow struct {
	Name      string
	Position  int
	After     []string
	Optional  bool
	Pivot     bool // after the first call of Do, the run only goes forward
	State     StepState
	Attempts  int // attempts of Do
	Undos     int // attempts of Undo
	Output    json.RawMessage
	Error     *Failure   // the error of the last attempt, if the attempt failed
	StartedAt *time.Time // time at which the first attempt began
	EndedAt   *time.Time
	RetryAt   *time.Time
	Unknowns  int        // the number of attempts of Do whose outcome is unknown
	UnknownAt *time.Time // the latest time at which a request with an unknown outcome may have been sent
	UndoneAt  *time.Time // time at which the last successful Undo began
	InFlight  CallKind   // kind of the call in flight: its intent is stored, and it has no outcome yet; empty: no call is in flight
}

func (s *StepRow) item() string {
	_, item, _ := strings.Cut(s.Name, "/")
	return item
}

// Begun reports whether Do may have been called.
func (s *StepRow) Begun() bool { return s.Attempts > 0 }

// awaitsPassword reports whether the step waits until the caller repeats the request with the password.
func (s *StepRow) awaitsPassword() bool {
	return s.RetryAt != nil && s.Error != nil && s.Error.AwaitsPassword && !s.Done()
}

// Done reports whether the step has succeeded or was skipped. The steps that depend on a done step may start.
func (s *StepRow) Done() bool { return s.State == StepSucceeded || s.State == StepSkipped }

// effectiveUntil returns the end of the late window of the last unanswered call. If all calls were answered, the result is zero.
func (s *StepRow) effectiveUntil(lateWindow time.Duration) (at time.Time) {
	if s.UnknownAt != nil {
		at = s.UnknownAt.Add(lateWindow)
	}
	return at
}

// The method `over` reports whether the run will make no more calls: it has ended, and no re-check will follow.
func (r *Run) over() bool { return r.State == Succeeded || r.State == Compensated && r.Rechecks == 0 }

// AwaitsPassword reports whether the run waits until the caller repeats the request with the password.
func (r *Run) AwaitsPassword() bool {
	return r.State == Waiting && r.Reason != nil && r.Reason.Kind == WaitsForPassword
}

// The method `pivot` returns the step that prevents the compensation of the run: a pivot whose Do may have been called. If there is
// no such step, the result is nil.
func (r *Run) pivot() *StepRow {
	i := slices.IndexFunc(r.Steps, func(s StepRow) bool { return s.Pivot && s.Begun() })
	if i < 0 {
		return nil
	}
	return &r.Steps[i]
}

// AtRest reports whether the run has ended, is stuck, or waits for an operator without a call in flight. The state of such a run
// changes only if an operator, a merchant or a replica requests an action. Re-checks of a compensated run may still remove late
// effects. A re-check changes the run's events and objects, but not its state.
func (r *Run) AtRest() bool {
	return r.State.Ended() || r.State == Stuck || r.held() && !r.inFlight()
}

// Step returns the row of the step with this name, or nil if the run has no such step.
func (r *Run) Step(name string) *StepRow {
	i := slices.IndexFunc(r.Steps, func(s StepRow) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &r.Steps[i]
}

// WaitBehind makes the run wait for the run with the id runID, which has the same subject. A Store calls WaitBehind whenever it
// reads a waiting run. The stored predecessor may have been cancelled. The run must then wait for an older run that is still live.
func (r *Run) WaitBehind(runID string) {
	r.WaitsFor = runID
	if r.Reason != nil && r.Reason.Kind == WaitsForPredecessor {
		r.Reason.Detail = fmt.Sprintf("run %s, which has the same subject, must end first", runID)
	}
}

// Unsettled reports whether a call of the ended run may still change something upstream. There are two such kinds of calls: a
// re-check's call in flight, and an unanswered call whose late window has not ended. In a succeeded run, an unanswered call was
// repeated, and the repetition succeeded. A later run may undo the effect. If the unanswered call then takes effect, the effect
// exists again. A compensated run has waited for the late windows of its calls, so only the calls of its re-checks count.
func (r *Run) Unsettled(now time.Time, lateWindow time.Duration) bool {
	return r.State.Ended() && slices.ContainsFunc(r.Steps, func(s StepRow) bool {
		lost := s.UnknownAt != nil && (r.State == Succeeded || s.UnknownAt.After(*r.EndedAt))
		return s.InFlight != "" || lost && s.effectiveUntil(lateWindow).After(now)
	})
}

// Object is an object upstream that a run made or adopted. If an object belongs to another object, its id begins with the other
// object's id and a slash. A run that records such an object also records the other object. For example, the role assignment
// PROJECT/USER/ROLE belongs to the project PROJECT. Removing an object also removes the objects that belong to it.
type Object struct {
	Step   string `json:"step"`
	Kind   string `json:"kind"`
	Cloud  string `json:"cloud,omitempty"`
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Origin Origin `json:"origin"`
	// RequestID is the id that the upstream gave to a request: the last request of the call that recorded the object. This request
	// made the object. If the run adopted the object, or if the answer to an earlier request was lost, this request found the
	// object instead.
	RequestID string     `json:"request_id,omitempty"`
	RemovedAt *time.Time `json:"removed_at,omitempty"`
}

// partOf reports whether the object belongs to another object.
func (o *Object) partOf(other *Object) bool { return strings.HasPrefix(o.ID, other.ID+"/") }

// Origin says whether the run may remove an object.
type Origin string

// Own means that the run made the object, and removes the object when the run compensates. Adopted means that the object existed
// before, and that the run never removes the object.
const (
	Own     Origin = "own"
	Adopted Origin = "adopted"
)

// LeftBehind is an object that stays upstream because an operator skipped the undo of a step, or because the undo kept the object. The
// object is an object of this step, or belongs to an object of this step. If the answer to a call was lost, the run may not know the step's
// object. Then only Step is set.
type LeftBehind struct {
	Step string `json:"step"` // the step whose undo was skipped, or has kept the object
	Kind string `json:"kind,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Clone returns a copy of the run that does not change while the executor changes the original.
func (r *Run) Clone() *Run {
	c := *r
	c.Steps = slices.Clone(r.Steps)
	c.Objects = slices.Clone(r.Objects)
	c.LeftBehind = slices.Clone(r.LeftBehind)
	return &c
}

// AsStored returns a copy of the run as a Store would return it: the objects are sorted and have no duplicates.
func (r *Run) AsStored() *Run {
	c := r.Clone()
	byID := func(a, b Object) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) }
	slices.SortStableFunc(c.Objects, byID)
	c.Objects = slices.CompactFunc(c.Objects, func(a, b Object) bool { return byID(a, b) == 0 })
	return c
}
