package saga

import "time"

// EventKind is the kind of an event in a run's history.
type EventKind string

// The kinds of events. The event of an attempt is stored together with the attempt's outcome.
const (
	EventAccepted     EventKind = "accepted"
	EventTakenOver    EventKind = "taken-over" // a new lease began while calls of the run were in flight
	EventSucceeded    EventKind = "step-succeeded"
	EventSkipped      EventKind = "step-skipped"
	EventAttempt      EventKind = "attempt-failed" // an attempt failed without an effect upstream
	EventUnknown      EventKind = "attempt-unknown"
	EventStepFailed   EventKind = "step-failed"
	EventCompensating EventKind = "compensating"
	EventUndone       EventKind = "step-undone"
	EventUserKept     EventKind = "user-kept" // the undo has kept a user who is in use: see Why
	EventUndoAttempt  EventKind = "undo-attempt-failed"
	EventUndoFailed   EventKind = "undo-failed"
	EventLateEffect   EventKind = "late-effect-removed" // after an undo, a late effect of the step was found and removed
	EventRechecked    EventKind = "rechecked"
	EventWaiting      EventKind = "waiting"
	EventAction       EventKind = "action" // an action of an operator, a merchant or a replica: see Action, Who and Why
	EventRunSucceeded EventKind = "run-succeeded"
	EventCompensated  EventKind = "run-compensated"
	EventStuck        EventKind = "run-stuck"
)

// Event is one entry of a run's history. Events are never changed or removed.
type Event struct {
	RunID     string    `json:"run_id"`
	Seq       int64     `json:"seq"` // the number of the event within the run: 1, 2, 3, ...
	At        time.Time `json:"at"`
	Epoch     int64     `json:"epoch"`
	Kind      EventKind `json:"kind"`
	Step      string    `json:"step,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	StartedAt time.Time `json:"started_at,omitzero"` // when the attempt began
	Action    string    `json:"action,omitempty"`
	Who       string    `json:"who,omitempty"`
	Why       string    `json:"why,omitempty"`
	RequestID string    `json:"request_id,omitempty"` // the id that the upstream gave to the attempt's last request
	Failure   *Failure  `json:"failure,omitempty"`
}
